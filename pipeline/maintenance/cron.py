"""Starts what is due by a schedule, and records how it ended."""

from __future__ import annotations

from collections.abc import Callable

from pipeline.deploy.cron.runs import CronRuns
from pipeline.deploy.services import Services
from pipeline.errors import DamagedRecord, EngineAway, PushliveError, StoreUnavailable
from pipeline.maintenance.damage import Damage
from pipeline.maintenance.job import Changes, Job
from pipeline.ports.adapters import Adapters


class Cron(Job):
    """Needs no lease of an environment: a run of the pipeline may be at work there for long. ``leads``: whether this
    keeper still has its lease."""

    def __init__(self, services: Services, adapters: Adapters, damage: Damage) -> None:
        self._services, self._adapters, self._damage = services, adapters, damage
        self._store, self._changes = services.store, Changes()
        self.leads: Callable[[], bool] = lambda: True

    def run(self) -> list[str]:
        said: list[str] = []
        self.waited = 0.0
        problems: list[str] = []
        away: set[str] = set()  # engines that do not answer: each is asked once a round
        for environment in self._damage.each(lambda name: self._store.environments(name).values()):
            if environment.engine in away:
                continue
            began = self._adapters.clock.monotonic()
            try:
                engine = self._adapters.engines.of(environment.engine)
                runs = CronRuns(self._services, engine, self._adapters.clock, environment, self.leads)
                said += runs.tick()
            except EngineAway:
                away.add(environment.engine)
                self.waited += self._adapters.clock.monotonic() - began
            except StoreUnavailable:
                raise
            except DamagedRecord as error:
                self._damage.add(error)
            except PushliveError as error:
                problems.append(f"{environment.id}: what is due by a schedule was not looked at: {error}")
        return said + self._changes.report("; ".join(problems))
