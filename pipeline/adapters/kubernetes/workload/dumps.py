"""Backups of accessories on a cluster, through commands in their pods."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from functools import partial

from pipeline.adapters.kubernetes.workload.accessories import KubeAccessories
from pipeline.adapters.kubernetes.workload.terminals import KubeTerminals
from pipeline.adapters.whole_streams import SESSION, Begin, End, whole_input, whole_output
from pipeline.domain.accessories import AccessoryRef
from pipeline.domain.engine_types import SlotRef
from pipeline.domain.environment import SLOTS
from pipeline.errors import EngineFailed
from pipeline.ports.clock import Watch


class KubeDumps(KubeTerminals, KubeAccessories):
    """See ``ports.Accessories``."""

    def dump_accessory(self, ref: AccessoryRef, argv: tuple[str, ...], watch: Watch) -> Generator[bytes]:
        yield from whole_output(*self._inside(ref), argv, watch)

    def load_accessory(
        self, ref: AccessoryRef, argv: tuple[str, ...], pieces: Iterable[bytes], size: int, watch: Watch
    ) -> None:
        whole_input(*self._inside(ref), argv, pieces, size, watch)

    def _inside(self, ref: AccessoryRef) -> tuple[Begin, End]:
        state, slot = self.accessory_state(ref), SlotRef("", ref.environment, 0, SLOTS[0], ref.engine)
        if state.state != "running":
            raise EngineFailed(
                f"the accessory {ref.id} does not run: its pod {state.container} is {state.state}.",
                advice=f"`pushlive accessory start {ref.name} {ref.environment}` starts it.",
            )
        return (
            partial(self.exec_session, slot, state.container),
            partial(self.end_session, slot, SESSION, state.container),
        )
