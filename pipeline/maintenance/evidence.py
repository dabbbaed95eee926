"""Writes the records of runs that have ended and of what people did, and removes old ones."""

from __future__ import annotations

from pipeline.deploy.services import Services
from pipeline.errors import DamagedRecord, PushliveError, StoreUnavailable
from pipeline.evidence.recorder import Recorder
from pipeline.maintenance.damage import Damage
from pipeline.maintenance.job import Changes, Job
from pipeline.ports.adapters import Adapters

ONCE = 20  # records that one round writes at most; those that have to wait do not count
ENTRIES = 100  # of the audit log that one round looks at; more are waiting only after an upgrade
REMOVE_EVERY = 3600.0  # seconds


class WriteEvidence(Job):
    def __init__(self, services: Services, adapters: Adapters, damage: Damage) -> None:
        self._store, self._keep, self._clock = services.store, services.settings.evidence_keep, adapters.clock
        self._recorder = Recorder(services, adapters)
        self._damage, self._problems, self._of_acts = damage, Changes(), Changes()
        self._removed = -REMOVE_EVERY

    def run(self) -> list[str]:
        problems = [*self._problems.report(self._write_due()), *self._of_acts.report(self._write_acts())]
        return [*problems, *self._remove()]

    def _write_acts(self) -> str:
        """What could not be written, in words; "" if nothing."""
        try:
            self._recorder.write_acts(ENTRIES)
        except StoreUnavailable:
            raise
        except PushliveError as error:
            return str(error)
        return ""

    def _write_due(self) -> str:
        """What could not be written, in words; "" if nothing."""
        problem, waiting = "", 0
        for number, one in enumerate(self._due()):
            if number - waiting == ONCE:
                break
            try:
                waiting += not self._recorder.write_due(*one)
            except DamagedRecord as error:
                self._damage.add(error)
            except StoreUnavailable:
                raise
            except PushliveError as error:
                problem = problem or str(error)
        return problem

    def _due(self) -> tuple[tuple[str, str, int], ...]:
        try:
            return self._recorder.due()
        except DamagedRecord as error:
            self._damage.add(error)
            return ()

    def _remove(self) -> list[str]:
        """Once an hour. What serves keeps its records."""
        now = self._clock.monotonic()
        if not self._keep or now - self._removed < REMOVE_EVERY:
            return []
        self._removed = now
        found = self._damage.each(lambda name: self._store.environments(name).values())
        serving = frozenset((one.pipeline, one.serving) for one in found if one.serving is not None)
        before = self._clock.now() - self._keep
        removed = {
            "runs": self._recorder.records.remove_before(before, serving),
            "acts": self._recorder.acts.remove_before(before, serving),
        }
        return [
            f"removed {count} records of {what} (PUSHLIVE_EVIDENCE_KEEP)"
            for what, count in removed.items()
            if count
        ]


class WriteBakes(Job):
    """The records of bakes. They are found by what environments remember, so that no crash loses one."""

    def __init__(self, services: Services, adapters: Adapters, damage: Damage) -> None:
        self._store, self._damage, self._problems = services.store, damage, Changes()
        self._recorder = Recorder(services, adapters)
        self._written: set[tuple[str, int]] = set()  # environments and runs

    def run(self) -> list[str]:
        problem = ""
        for environment in self._damage.each(lambda name: self._store.environments(name).values()):
            for bake in environment.bakes:
                key = (environment.id, bake.run)
                if bake.outcome is None or key in self._written:
                    continue
                try:
                    self._recorder.write_bake(environment, bake)
                    self._written.add(key)
                except DamagedRecord as error:
                    self._damage.add(error)
                except StoreUnavailable:
                    raise
                except PushliveError as error:
                    problem = problem or str(error)
        return self._problems.report(problem)
