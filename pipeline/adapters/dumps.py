"""Backups of accessories through commands in their containers, the same on each engine."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from functools import partial
from typing import Protocol

from pipeline.adapters.whole_streams import SESSION, Begin, End, whole_input, whole_output
from pipeline.domain.accessories import AccessoryRef, AccessoryState
from pipeline.domain.engine_types import SlotRef
from pipeline.domain.environment import SLOTS
from pipeline.errors import EngineFailed
from pipeline.ports.clock import Watch
from pipeline.ports.terminal import Session, Wanted


class Engine(Protocol):
    """What of an engine is needed."""

    def accessory_state(self, ref: AccessoryRef) -> AccessoryState: ...

    def exec_session(self, ref: SlotRef, replica: str, wanted: Wanted) -> Session: ...

    def end_session(self, ref: SlotRef, session: str, replica: str = "") -> None: ...


class Dumps:
    """See ``ports.Accessories``."""

    def dump_accessory(
        self: Engine, ref: AccessoryRef, argv: tuple[str, ...], watch: Watch
    ) -> Generator[bytes]:
        yield from whole_output(*_inside(self, ref), argv, watch)

    def load_accessory(
        self: Engine,
        ref: AccessoryRef,
        argv: tuple[str, ...],
        pieces: Iterable[bytes],
        size: int,
        watch: Watch,
    ) -> None:
        whole_input(*_inside(self, ref), argv, pieces, size, watch)


def described(state: AccessoryState) -> str:
    """Why one that does not run does not."""
    if state.state == "missing":
        return f"{state.container} does not exist"
    if state.out_of_memory:
        return f"{state.container} ran out of memory"
    if state.exit_code is not None:
        return f"{state.container} exited with {state.exit_code}"
    return f"{state.container} is {state.state}"


def _inside(engine: Engine, ref: AccessoryRef) -> tuple[Begin, End]:
    state, slot = engine.accessory_state(ref), SlotRef("", ref.environment, 0, SLOTS[0], ref.engine)
    if state.state != "running":
        raise EngineFailed(
            f"the accessory {ref.id} does not run: {described(state)}.",
            advice=f"`pushlive accessory start {ref.name} {ref.environment}` starts it.",
        )
    return (
        partial(engine.exec_session, slot, state.container),
        partial(engine.end_session, slot, SESSION, state.container),
    )
