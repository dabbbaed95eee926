"""Writes the records of runs that have ended and of what people did, and removes old ones."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.deploy.services import Services
from pipeline.errors import DamagedRecord, PushliveError, StoreUnavailable
from pipeline.evidence import upkeep
from pipeline.evidence.acts import everything
from pipeline.evidence.late import NOTED, missing
from pipeline.evidence.recorder import Recorder
from pipeline.evidence.upkeep import RUN
from pipeline.maintenance.damage import Damage
from pipeline.maintenance.job import Changes, Job
from pipeline.ports.adapters import Adapters

ONCE = 20  # records that one round writes at most; those that have to wait do not count
ENTRIES = 100  # of the audit log that one round looks at; more are waiting only after an upgrade
REMOVE_EVERY = 3600.0  # seconds
FIRST, LATER = (
    200,
    50,
)  # runs of each pipeline that are looked at for missing records: after a start, and then


class WriteEvidence(Job):
    def __init__(self, services: Services, adapters: Adapters, damage: Damage) -> None:
        self._store, self._keep, self._clock = services.store, services.settings.evidence_keep, adapters.clock
        self._recorder, self._data = Recorder(services, adapters), services.settings.data
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
        removed = upkeep.remove_before(everything(self._data), before, serving)
        return (
            [f"removed the records of {upkeep.text_of(removed)} (PUSHLIVE_EVIDENCE_KEEP)"] if removed else []
        )


class CatchUp(Job):
    """Notes the records of ended runs that are missing, whatever the cause: they are written then as those of runs that
    have just ended."""

    def __init__(self, services: Services, adapters: Adapters, damage: Damage) -> None:
        self._services, self._store, self._clock = services, services.store, adapters.clock
        self._damage, self._newest = damage, FIRST

    def run(self) -> list[str]:
        now, newest = self._clock.now(), self._newest
        self._newest = LATER
        try:
            due = self._store.evidence_due()
        except DamagedRecord:
            return []  # what writes them says so
        return [said for name in self._store.pipelines() for said in self._caught_up(name, newest, due, now)]

    def _caught_up(
        self, pipeline: str, newest: int, due: tuple[tuple[str, str, int], ...], now: float
    ) -> Iterator[str]:
        runs = missing(self._services, pipeline, newest, now)
        found = [run.number for run in runs if (RUN, pipeline, run.number) not in due]
        if found:
            self._store.facts.set(NOTED, str(now))
        for number in found:
            self._store.note_evidence(RUN, pipeline, number)
        if found:
            named = " to ".join(f"{pipeline}#{number}" for number in dict.fromkeys((found[0], found[-1])))
            yield (
                f"{named}: {len(found)} ended without a record; "
                f"{'it is' if len(found) == 1 else 'they are'} written now, later than the end, which it says"
            )


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
