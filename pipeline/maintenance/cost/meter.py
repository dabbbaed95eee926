"""Measures once a minute what every container takes of its machine."""

from __future__ import annotations

from pipeline.deploy.services import Services
from pipeline.domain.cost import ledger
from pipeline.domain.environment import Environment
from pipeline.errors import PushliveError, StoreUnavailable
from pipeline.maintenance.damage import Damage
from pipeline.maintenance.job import Job
from pipeline.ports.adapters import Adapters
from pipeline.store.costs import Ledgers


class MeterCost(Job):
    """On every engine in use. One that does not answer is left out: its time is in no hour, and shown as not
    measured. Each look is one write, so that a keeper that dies measures nothing twice."""

    def __init__(self, services: Services, adapters: Adapters, damage: Damage) -> None:
        self._store, self._adapters, self._damage = services.store, adapters, damage
        self._ledgers = Ledgers(services.store.facts)

    def run(self) -> list[str]:
        clock = self._adapters.clock
        self.waited = 0.0
        environments = {
            (one.pipeline, one.name): one
            for one in self._damage.each(lambda name: self._store.environments(name).values())
        }
        hour = self._ledgers.current(clock.now())
        for key in sorted(self._adapters.engines.in_use()):
            began = clock.monotonic()
            try:
                hour = self._look(hour, key, environments)
            except StoreUnavailable:
                raise
            except PushliveError:  # reconciliation reports an engine that does not answer
                self.waited += clock.monotonic() - began
        self._ledgers.put(hour)
        return []

    def _look(
        self, hour: ledger.Hour, key: str, environments: dict[tuple[str, str], Environment]
    ) -> ledger.Hour:
        metering = self._adapters.engines.of(key).metering
        found = [(one, ledger.purpose_of(one, environments)) for one in metering.taken()]
        size = metering.machine_size()
        return ledger.looked(hour, key, size, found, self._adapters.clock.now()) if size else hour
