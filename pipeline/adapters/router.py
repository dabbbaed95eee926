"""Every environment's own engine behind one port: each call goes to the engine that its place names, each question to
the probe that knows the way there."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from pipeline.config.engines import DOCKER
from pipeline.domain.engine_types import Answer, CommandResult, Replica, Route, SlotRef, SlotSpec
from pipeline.domain.environment import Slot
from pipeline.ports.builder import Emit
from pipeline.ports.clock import Watch
from pipeline.ports.engine import Engine
from pipeline.ports.probe import Probe

Pair = tuple[Engine, Probe]


class Engines:
    """The Engine and the Probe for all. ``make``: both of one engine, from its key; called once for each key.
    ``keys``: of all that may hold anything."""

    def __init__(self, make: Callable[[str], Pair], keys: Callable[[], Iterable[str]]) -> None:
        self._make, self._keys = make, keys
        self._made: dict[str, Pair] = {}

    def pair(self, key: str) -> Pair:
        """One engine with its probe. Raises ConfigError where there is no way to it."""
        if key not in self._made:
            self._made[key] = self._make(key)
        return self._made[key]

    def _of(self, ref: SlotRef) -> Engine:
        return self.pair(ref.engine)[0]

    # --- ports.Engine

    def prepare(self, ref: SlotRef, hosts: tuple[str, ...]) -> None:
        self._of(ref).prepare(ref, hosts)

    def fits(self, spec: SlotSpec) -> None:
        self._of(spec.ref).fits(spec)

    def start(self, spec: SlotSpec, watch: Watch) -> None:
        self._of(spec.ref).start(spec, watch)

    def ready(self, spec: SlotSpec, emit: Emit, watch: Watch) -> tuple[Replica, ...]:
        return self._of(spec.ref).ready(spec, emit, watch)

    def expose(self, spec: SlotSpec) -> None:
        self._of(spec.ref).expose(spec)

    def preview(self, spec: SlotSpec) -> Route:
        return self._of(spec.ref).preview(spec)

    def public(self, spec: SlotSpec) -> Route:
        return self._of(spec.ref).public(spec)

    def switch(self, spec: SlotSpec) -> None:
        self._of(spec.ref).switch(spec)

    def unroute(self, ref: SlotRef) -> None:
        self._of(ref).unroute(ref)

    def serving(self, ref: SlotRef) -> Slot | None:
        return self._of(ref).serving(ref)

    def replicas(self, ref: SlotRef) -> tuple[Replica, ...]:
        return self._of(ref).replicas(ref)

    def missing(self, spec: SlotSpec) -> tuple[str, ...]:
        return self._of(spec.ref).missing(spec)

    def restore(self, spec: SlotSpec) -> bool:
        return self._of(spec.ref).restore(spec)

    def drift(self, spec: SlotSpec) -> tuple[str, ...]:
        return self._of(spec.ref).drift(spec)

    def revert_drift(self, spec: SlotSpec) -> None:
        self._of(spec.ref).revert_drift(spec)

    def open_sessions(self, ref: SlotRef) -> int:
        return self._of(ref).open_sessions(ref)

    def drain(self, ref: SlotRef, limit: float, watch: Watch) -> int:
        return self._of(ref).drain(ref, limit, watch)

    def detach(self, ref: SlotRef, mark: str) -> int:
        return self._of(ref).detach(ref, mark)

    def stop(self, ref: SlotRef) -> None:
        self._of(ref).stop(ref)

    def command(
        self, spec: SlotSpec, name: str, argv: tuple[str, ...], env: dict[str, str], emit: Emit, watch: Watch
    ) -> CommandResult:
        return self._of(spec.ref).command(spec, name, argv, env, emit, watch)

    def forget_command(self, spec: SlotSpec, name: str) -> None:
        self._of(spec.ref).forget_command(spec, name)

    def command_runs(self, ref: SlotRef) -> frozenset[int]:
        return self._of(ref).command_runs(ref)

    def forget_commands(self, ref: SlotRef, run: int) -> None:
        self._of(ref).forget_commands(ref, run)

    def logs(self, ref: SlotRef, lines: int) -> tuple[str, ...]:
        return self._of(ref).logs(ref, lines)

    def remove(self, ref: SlotRef) -> None:
        self._of(ref).remove(ref)

    def slots(self) -> Iterable[SlotRef]:
        return [ref for key in self._keys() for ref in self.pair(key)[0].slots()]

    # --- ports.Probe

    def get(self, route: Route, path: str, timeout: float) -> Answer:
        return self.pair(route.engine)[1].get(route, path, timeout)

    def tcp(self, address: str, port: int, timeout: float, engine: str = DOCKER) -> float:
        return self.pair(engine)[1].tcp(address, port, timeout)
