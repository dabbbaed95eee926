"""Visitors of an environment in maintenance read its notice, and only as long as it lasts.

It does so beside runs and reconciliation, which a run keeps out of its environment for minutes.
"""

from __future__ import annotations

from dataclasses import replace

from pipeline.deploy.services import Services
from pipeline.deploy.visitors.notices import settle
from pipeline.domain.environment import Environment
from pipeline.errors import PushliveError, StoreUnavailable
from pipeline.maintenance.damage import Damage
from pipeline.maintenance.job import Job
from pipeline.ports.adapters import Adapters
from pipeline.store import Transaction


class Notices(Job):
    """An engine that does not answer is asked once a round; reconciliation reports it."""

    def __init__(self, services: Services, adapters: Adapters, damage: Damage) -> None:
        self._store, self._adapters, self._damage = services.store, adapters, damage

    def run(self) -> list[str]:
        self.waited = 0.0
        said, away = list[str](), set[str]()
        for environment in self._damage.each(lambda name: self._store.environments(name).values()):
            said += self._end(environment)
            if environment.active is None or environment.engine in away:
                continue
            began = self._adapters.clock.monotonic()
            try:
                traffic = self._adapters.engines.of(environment.engine).traffic
                settle(self._store, traffic, environment.pipeline, environment.name)
            except StoreUnavailable:
                raise
            except PushliveError:
                away.add(environment.engine)
                self.waited += self._adapters.clock.monotonic() - began
        return said

    def _end(self, environment: Environment) -> list[str]:
        """If its time is over."""
        now = self._adapters.clock.now()
        if environment.maintenance is None or not environment.maintenance.is_over(now):
            return []

        def act(tx: Transaction) -> bool:
            found = tx.environment(environment.name)
            if found.maintenance != environment.maintenance:
                return False  # a person has ended or changed it meanwhile
            tx.put_environment(replace(found, maintenance=None))
            return True

        ended = self._store.transact(environment.pipeline, act)
        return [f"{environment.id} is no longer in maintenance: its time is over"] if ended else []
