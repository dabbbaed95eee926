"""Starts web containers again that run and do not answer, for services with `liveness: restart`. On a cluster the pod's
own liveness probe does it."""

from __future__ import annotations

from pipeline.config.engines import kind_of
from pipeline.deploy.heartbeat import holding
from pipeline.deploy.slot.in_turn import exchanging
from pipeline.domain.environment import Environment, SlotRecord, SlotState
from pipeline.domain.slots import slot_ref, spec_of
from pipeline.domain.watching import liveness
from pipeline.errors import LeaseLost, TryAgain
from pipeline.maintenance.health import Watches
from pipeline.notify import messages
from pipeline.ports.engine import Engine
from pipeline.store import Transaction


class Revive(Watches):
    """One replica of an environment in a round, under the environment's lease: never while a run, a restart or a
    restore is at work there."""

    def _one(self, environment: Environment) -> list[str]:
        slot = environment.slots.get(environment.active or "")
        if slot is None or slot.state != SlotState.SERVING or not kind_of(environment.engine).proxied:
            return []
        health = environment.health.get(environment.active or "")
        if health is None or not health.out:
            return []
        service = (
            self._store.release(environment.pipeline, slot.release).environments[environment.name].service
        )
        after, now = service.liveness.restart, self._adapters.clock.now()
        if not after or not service.web:
            return []
        names = liveness.silent(environment, after, service.ready, now)
        if not names or exchanging(self._store, environment):
            return []
        lease = self._store.leases.take(f"env:{environment.id}", "liveness")
        if lease is None:
            return []
        try:
            with holding(self._store, lease) as held:
                engine = held.fenced(self._adapters.engines.of(environment.engine))
                return self._start_again(engine, environment, slot, names)
        except (LeaseLost, TryAgain):
            return []  # another process is at work there now

    def _start_again(
        self, engine: Engine, environment: Environment, slot: SlotRecord, names: tuple[str, ...]
    ) -> list[str]:
        """The first of them that still does not answer. It is recorded first: a keeper that dies here does not start
        it again and again."""
        ref = slot_ref(environment, environment.active or "")
        release = self._store.release(environment.pipeline, slot.release)
        spec = spec_of(ref, release, slot.run, slot.secrets)
        checked = {one.name: one for one in engine.traffic.health(spec)}
        running = [one.name for one in engine.slots.replicas(ref) if one.state == "running"]
        hang = (name for name in names if name in running and name in checked and not checked[name].healthy)
        name = next(hang, "")
        if not name:
            return []
        said = self._masked(environment.pipeline)(checked[name].said) or "its check fails"
        if not self._record(environment, slot, name, said):
            return []
        began = self._adapters.clock.monotonic()
        engine.restarts.revive(spec, name)
        self.waited += self._adapters.clock.monotonic() - began
        return [f"{environment.id}: {name} did not answer and was started again: {said}"]

    def _record(self, environment: Environment, slot: SlotRecord, name: str, said: str) -> bool:
        """False if something else serves by now."""
        recorded = False

        def act(tx: Transaction) -> None:
            nonlocal recorded
            found, now = tx.environment(environment.name), self._adapters.clock.now()
            recorded = (found.active, found.slots.get(found.active or "")) == (environment.active, slot)
            if not recorded:
                return
            changed = liveness.revived(found, name, now)
            tx.put_environment(changed)
            if changed.revived[name].count == 1:
                messages.restarted(tx, changed, name, said, now)

        self._store.transact(environment.pipeline, act)
        return recorded
