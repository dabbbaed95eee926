"""Looks at the processes beside the web one: one that was ready may stop working later."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.domain import outages
from pipeline.domain.engine_types import ProcessReplica
from pipeline.domain.environment import SLOTS, Environment, SlotRecord, SlotState
from pipeline.domain.health import Seen
from pipeline.domain.run import State
from pipeline.domain.slots import slot_ref
from pipeline.domain.watching import bake
from pipeline.domain.watching.seen import how_it_ended
from pipeline.errors import NotFound
from pipeline.maintenance.health import Watches
from pipeline.notify import messages
from pipeline.store import Transaction


class WatchProcesses(Watches):
    """Those of the slot that serves, once its run has started them."""

    def _one(self, environment: Environment) -> list[str]:
        slot = environment.slots.get(environment.active or "")
        if slot is None or slot.state != SlotState.SERVING or not self._started(environment, slot):
            return []
        seen, now = self._look(environment, slot), self._adapters.clock.now()
        busy, spared = self._is_busy(environment), self._spared(environment, now)
        if _observed(environment, seen, now, busy, spared) == environment:
            return []
        said: list[str] = []

        def act(tx: Transaction) -> None:
            said.clear()
            found = tx.environment(environment.name)
            if (found.active, found.slots.get(found.active or "")) != (environment.active, slot):
                return
            changed = _observed(found, seen, now, busy, spared)
            if changed != found:
                tx.put_environment(changed)
                said.extend(_told(tx, found, changed, now))

        self._store.transact(environment.pipeline, act)
        return said

    def _started(self, environment: Environment, slot: SlotRecord) -> bool:
        """Between the switch and their start none runs, and that is as it should be."""
        try:
            run = self._store.run(environment.pipeline, slot.run)
        except NotFound:
            return True
        return run.state == State.ENDED or run.passed(environment.name, "processes")

    def _look(self, environment: Environment, slot: SlotRecord) -> dict[str, tuple[Seen, ...]]:
        release = self._store.release(environment.pipeline, slot.release)
        wanted = release.environments[environment.name].service.processes_in_use
        if not wanted:
            return {}
        engine = self._adapters.engines.of(environment.engine)
        there = engine.processes.processes(slot_ref(environment, SLOTS[0]))
        found = [one for one in there if one.slot == environment.active]
        return {name: tuple(_seen(name, one.replicas, found)) for name, one in wanted.items()}


def _observed(
    environment: Environment, seen: dict[str, tuple[Seen, ...]], now: float, busy: bool, spared: float
) -> Environment:
    changed = outages.processes_observed(environment, seen, now)
    return bake.looked(changed, now, busy=busy, spared=spared) if seen else changed


def _seen(process: str, wanted: int, found: list[ProcessReplica]) -> Iterator[Seen]:
    own = [one for one in found if one.process == process]
    for one in own:
        runs, ended = one.state == "running", how_it_ended(one)
        yield Seen(one.name, runs, ended, one.restarts, out_of_memory=one.out_of_memory)
    for number in range(len(own), wanted):
        yield Seen(f"{process}-{number + 1}", False, "it is missing")


def _told(tx: Transaction, before: Environment, after: Environment, now: float) -> Iterator[str]:
    for name, failing in after.failing.items():
        if name not in before.failing:
            messages.process_failing(tx, after, name)
            yield f"{after.id} is degraded: {name} of r{failing.release}: {failing.said}"
    for name, told in before.failing.items():
        if name not in after.failing:
            messages.process_up(tx, after, name, told, now)
            yield f"{after.id}: {name} is no longer reported, with r{after.serving}"
