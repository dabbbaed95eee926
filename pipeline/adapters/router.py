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

    def _of(self, place: SlotRef) -> Engine:
        return self.pair(place.engine)[0]

    # --- ports.Engine

    def prepare(self, place: SlotRef, hosts: tuple[str, ...]) -> None:
        self._of(place).prepare(place, hosts)

    def fits(self, spec: SlotSpec) -> None:
        self._of(spec.place).fits(spec)

    def start(self, spec: SlotSpec, watch: Watch) -> None:
        self._of(spec.place).start(spec, watch)

    def ready(self, spec: SlotSpec, emit: Emit, watch: Watch) -> tuple[Replica, ...]:
        return self._of(spec.place).ready(spec, emit, watch)

    def expose(self, spec: SlotSpec) -> None:
        self._of(spec.place).expose(spec)

    def preview(self, spec: SlotSpec) -> Route:
        return self._of(spec.place).preview(spec)

    def public(self, spec: SlotSpec) -> Route:
        return self._of(spec.place).public(spec)

    def switch(self, spec: SlotSpec) -> None:
        self._of(spec.place).switch(spec)

    def unroute(self, place: SlotRef) -> None:
        self._of(place).unroute(place)

    def serving(self, place: SlotRef) -> Slot | None:
        return self._of(place).serving(place)

    def replicas(self, place: SlotRef) -> tuple[Replica, ...]:
        return self._of(place).replicas(place)

    def missing(self, spec: SlotSpec) -> tuple[str, ...]:
        return self._of(spec.place).missing(spec)

    def restore(self, spec: SlotSpec) -> bool:
        return self._of(spec.place).restore(spec)

    def drift(self, spec: SlotSpec) -> tuple[str, ...]:
        return self._of(spec.place).drift(spec)

    def revert_drift(self, spec: SlotSpec) -> None:
        self._of(spec.place).revert_drift(spec)

    def open_sessions(self, place: SlotRef) -> int:
        return self._of(place).open_sessions(place)

    def drain(self, place: SlotRef, limit: float, watch: Watch) -> int:
        return self._of(place).drain(place, limit, watch)

    def detach(self, place: SlotRef, mark: str) -> int:
        return self._of(place).detach(place, mark)

    def stop(self, place: SlotRef) -> None:
        self._of(place).stop(place)

    def command(
        self, spec: SlotSpec, name: str, argv: tuple[str, ...], env: dict[str, str], emit: Emit, watch: Watch
    ) -> CommandResult:
        return self._of(spec.place).command(spec, name, argv, env, emit, watch)

    def forget_command(self, spec: SlotSpec, name: str) -> None:
        self._of(spec.place).forget_command(spec, name)

    def command_runs(self, place: SlotRef) -> frozenset[int]:
        return self._of(place).command_runs(place)

    def forget_commands(self, place: SlotRef, run: int) -> None:
        self._of(place).forget_commands(place, run)

    def logs(self, place: SlotRef, lines: int) -> tuple[str, ...]:
        return self._of(place).logs(place, lines)

    def remove(self, place: SlotRef) -> None:
        self._of(place).remove(place)

    def slots(self) -> Iterable[SlotRef]:
        return [place for key in self._keys() for place in self.pair(key)[0].slots()]

    # --- ports.Probe

    def get(self, route: Route, path: str, timeout: float) -> Answer:
        return self.pair(route.engine)[1].get(route, path, timeout)

    def tcp(self, address: str, port: int, timeout: float, engine: str = DOCKER) -> float:
        return self.pair(engine)[1].tcp(address, port, timeout)
