"""Measures once a minute what every container takes of its machine."""

from __future__ import annotations

from collections.abc import Iterable

from pipeline.config.cost.prices import Costs
from pipeline.deploy.services import Services
from pipeline.domain import slots
from pipeline.domain.cost import ledger, load
from pipeline.domain.cost.load import Key, Load
from pipeline.domain.environment import SLOTS, Environment
from pipeline.errors import ConfigError, PushliveError, StoreUnavailable
from pipeline.maintenance.damage import Damage
from pipeline.maintenance.job import Job
from pipeline.ports.adapters import Adapters
from pipeline.store.costs import Ledgers
from pipeline.store.costs.loads import Loads
from pipeline.store.costs.stored import StoredBytes


class MeterCost(Job):
    """On every engine in use. One that does not answer is left out: its time is in no hour, and shown as not
    measured. Each look is one write of the hour, then one of the loads, so that a keeper that dies measures nothing
    twice."""

    def __init__(self, services: Services, adapters: Adapters, damage: Damage) -> None:
        self._services, self._adapters, self._damage = services, adapters, damage
        self._ledgers, self._loads = Ledgers(services.store.facts), Loads(services.store.facts)
        self._stored = StoredBytes(services.store.facts)

    def run(self) -> list[str]:
        clock = self._adapters.clock
        self.waited = 0.0
        environments = {
            (one.pipeline, one.name): one
            for one in self._damage.each(lambda name: self._services.store.environments(name).values())
        }
        hour, labels, loads = self._ledgers.current(clock.now()), self._labels(), dict[Key, Load]()
        for key in sorted(self._adapters.engines.in_use()):
            began = clock.monotonic()
            try:
                hour, found = self._look(hour, key, environments, labels)
                loads = load.added(loads, found)
            except StoreUnavailable:
                raise
            except PushliveError:  # reconciliation reports an engine that does not answer
                self.waited += clock.monotonic() - began
        self._ledgers.put(hour)
        self._loads.add(loads, clock.now())
        self._ledgers.fold(clock.now())  # one day with each look, also of those that an earlier version left
        return []

    def _labels(self) -> frozenset[str]:
        try:
            return self._services.configurations.current()[1].costs.labels
        except ConfigError:
            return Costs().labels

    def _look(
        self,
        hour: ledger.Hour,
        key: str,
        environments: dict[tuple[str, str], Environment],
        labels: frozenset[str],
    ) -> tuple[ledger.Hour, dict[Key, Load]]:
        metering = self._adapters.engines.of(key).metering
        found = [(one, ledger.purpose_of(one, environments)) for one in metering.taken()]
        size, now = metering.machine_size(labels), self._adapters.clock.now()
        stored = self._stored.of(key, now)
        hour = ledger.with_storage(hour, key, stored, ledger.since_last(hour, key, now))
        hour = ledger.with_traffic(hour, key, self._sent(key, environments.values()))
        if size is None:
            return ledger.without_size(hour, key), {}
        taken = [one for one, _ in found]
        passed, used = ledger.since_last(hour, key, now), ledger.used(hour, key, taken, now)
        shared = {key for key, one in environments.items() if one.shift}
        loads = load.sampled(found, used, passed, shared) if passed else {}
        found += ledger.sleeping(environments.values(), key)
        return ledger.looked(hour, key, size, found, now), loads

    def _sent(self, key: str, environments: Iterable[Environment]) -> dict[tuple[str, str, str], int]:
        """Bytes by slot. A proxy that does not answer sends on, and tells it later."""
        traffic, found = self._adapters.engines.of(key).traffic, dict[tuple[str, str, str], int]()
        try:
            for one in environments:
                for slot in SLOTS if one.engine == key else ():
                    sent = traffic.sent(slots.slot_ref(one, slot))
                    if sent is None:
                        return {}
                    found[one.pipeline, one.name, slot] = sent
        except StoreUnavailable:
            raise
        except PushliveError:
            return {}
        return found
