"""The runs of one environment's processes with a schedule.

Each is decided in one transaction before anything starts, and its container is named by the time of the schedule: two
keepers decide it once, and a keeper that dies in between leaves a record that the next one follows. A container that
has ended stays for a while, so that a keeper that was stopped meanwhile cannot start it again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from pipeline.config.workload.processes import Process
from pipeline.deploy.cron import history
from pipeline.deploy.data.access import InUse, VolumeAccess
from pipeline.deploy.data.unfinished import refuse
from pipeline.deploy.services import Services
from pipeline.deploy.slot.serving import spec_in
from pipeline.domain.adoption import runs_by_schedule_alone
from pipeline.domain.cron.due import GRACE, decide
from pipeline.domain.cron.records import CronEntry, CronOutcome, CronRun, CronState
from pipeline.domain.engine_types import SlotSpec
from pipeline.domain.environment import SLOTS, Environment, SlotState
from pipeline.domain.slots import slot_ref
from pipeline.domain.volumes import volumes_of
from pipeline.errors import AppFailed, ConfigError, DoesNotFit, EngineFailed, NotFound, StoreUnavailable
from pipeline.lib import schedule
from pipeline.lib.units import show_time, write_duration
from pipeline.notify import messages
from pipeline.ports.clock import Clock, Deadline
from pipeline.ports.engine import Engine
from pipeline.ports.scheduled import Job, JobState
from pipeline.store import Transaction

KEPT = 600.0  # seconds that the container of a run that has ended stays
START_WITHIN = 60.0  # seconds; other environments wait meanwhile


class CronRuns:
    """One environment. ``leads``: whether this keeper still has its lease."""

    def __init__(
        self,
        services: Services,
        engine: Engine,
        clock: Clock,
        environment: Environment,
        leads: Callable[[], bool],
    ) -> None:
        self._services, self._store, self._engine, self._clock = services, services.store, engine, clock
        self._environment, self._leads = environment, leads
        self._access = VolumeAccess(services.store, clock)
        self._ref = slot_ref(environment, SLOTS[0])

    def tick(self) -> list[str]:
        """What a person may want to know. Raises what the engine raises."""
        spec = self._serving()
        wanted = spec.config.service.cron_in_use if spec else {}
        if not wanted and not self._environment.cron:
            return []
        self._jobs = {one.job: one for one in self._engine.scheduled.jobs(self._ref)}
        said: list[str] = []
        for name in dict.fromkeys([*wanted, *self._environment.cron]):
            said += self._one(name, wanted.get(name), spec)
        self._forget_old()
        return said

    def _serving(self) -> SlotSpec | None:
        active = self._environment.active
        record = self._environment.slots.get(active) if active else None
        if active is None or record is None or record.state != SlotState.SERVING:
            return None
        try:
            return spec_in(self._services, self._environment, active)
        except NotFound:
            return None

    # ── one process ──────────────────────────────────────────────────────────

    def _one(self, name: str, process: Process | None, spec: SlotSpec | None) -> list[str]:
        state, said = self._environment.cron.get(name), list[str]()
        if state is None:  # seen for the first time: nothing before now was missed
            self._put(name, None, CronState(self._clock.now()))
            return []
        if state.running:
            state, said = self._follow(name, state, spec, process)
        if process is None or spec is None:
            if state.running is None:  # its release is gone
                self._put(name, state, None)
            return said
        now = self._clock.now()
        times = schedule.between(process.cron, process.zone, state.since, now)
        decision = decide(state, process, times, now)
        if decision.state == state:
            return said
        if not self._put(name, state, decision.state, decision.entries):
            return said
        for one in decision.entries:
            said += self._record(name, one)
        if decision.ends and (entry := self._ended(name, decision.ends, CronOutcome.REPLACED)):
            said += self._record(name, entry)
        if decision.state.running and decision.state.running != state.running:
            said += self._start(name, process, decision.state, spec)
        return said

    def _follow(
        self, name: str, state: CronState, spec: SlotSpec | None, process: Process | None
    ) -> tuple[CronState, list[str]]:
        """The run at work: found, or started now, or over."""
        run = state.running
        if run is None:
            return state, []
        job = self._jobs.get(_job(name, run))
        if job is None:
            return self._lost(name, state, run, spec, process)
        if job.exit_code is not None:
            return self._over(name, state, self._entry(run, job))
        if self._clock.now() > job.started + run.timeout:
            entry = self._ended(name, run, CronOutcome.TIMED_OUT)
            return self._over(name, state, entry) if entry else (state, [])
        if not run.started:
            seen = replace(state, running=replace(run, started=job.started, release=job.release))
            return (seen, []) if self._put(name, state, seen) else (state, [])
        return state, []

    def _lost(
        self, name: str, state: CronState, run: CronRun, spec: SlotSpec | None, process: Process | None
    ) -> tuple[CronState, list[str]]:
        """There is no container: a keeper died before it made one, or it was removed by hand."""
        now = self._clock.now()
        if run.started:
            said = "its container was removed, so its result is unknown"
            entry = CronEntry(run.at, CronOutcome.UNKNOWN, run.release, run.started, now, said=said)
            return self._over(name, state, entry)
        late = now - run.at > GRACE and process is not None and process.missed == "skip"
        if spec is None or process is None or late:
            said = run.waits or "it was not started in time"
            return self._over(name, state, CronEntry(run.at, CronOutcome.MISSED, ended=now, said=said))
        return state, self._start(name, process, state, spec)

    def _start(self, name: str, process: Process, state: CronState, spec: SlotSpec) -> list[str]:
        run = state.running
        if run is None or not self._leads():
            return []
        try:
            watch = Deadline(self._clock, START_WITHIN, "Starting a run of cron")
            with self._access.starting(self._environment.id, uses=bool(volumes_of(spec)), waits=0.0):
                refuse(self._store, volumes_of(spec))
                self._engine.scheduled.start_job(spec, _job(name, run), process.command, watch)
        except StoreUnavailable:
            raise
        except InUse:
            return []  # the next round starts it
        except (AppFailed, ConfigError, EngineFailed) as error:
            text = self._masked((error.message,))[0]
            now = self._clock.now()
            if isinstance(error, DoesNotFit) and now - run.at <= GRACE:  # while a deploy has two slots
                self._put(name, state, replace(state, running=replace(run, waits=text)))
                return []
            entry = CronEntry(run.at, CronOutcome.FAILED, spec.release, now, now, said=text)
            return self._over(name, state, entry)[1]
        return []

    def _ended(self, name: str, run: CronRun, outcome: CronOutcome) -> CronEntry | None:
        """Ends a run that takes too long, or gives way. None if it has no container."""
        job = _job(name, run)
        found = self._jobs.get(job)
        if found is None:
            return None
        self._engine.scheduled.end_job(self._ref, job)
        said = (
            f"it took longer than {write_duration(run.timeout)}" if outcome == CronOutcome.TIMED_OUT else ""
        )
        now, output = self._clock.now(), self._output(job)
        return CronEntry(run.at, outcome, found.release, found.started, now, None, output, said)

    def _entry(self, run: CronRun, job: JobState) -> CronEntry:
        outcome = CronOutcome.FAILED if job.exit_code else CronOutcome.OK
        output = self._output(job.job)
        return CronEntry(run.at, outcome, job.release, job.started, job.ended, job.exit_code, output)

    # ── the records ──────────────────────────────────────────────────────────

    def _over(self, name: str, state: CronState, entry: CronEntry) -> tuple[CronState, list[str]]:
        after = replace(state, running=None)
        if not self._put(name, state, after, (entry,)):
            return state, []
        return after, self._record(name, entry)

    def _put(
        self,
        name: str,
        before: CronState | None,
        after: CronState | None,
        entries: tuple[CronEntry, ...] = (),
    ) -> bool:
        """Changes the record if it is as this keeper knows it; what went wrong is told in the same transaction."""

        def act(transaction: Transaction) -> bool:
            found = transaction.environment(self._environment.name)
            if found.cron.get(name) != before:
                return False
            cron = {key: one for key, one in found.cron.items() if key != name}
            transaction.put_environment(replace(found, cron={**cron, name: after} if after else cron))
            for entry in entries:
                if entry.outcome.is_bad:
                    messages.cron(transaction, found, name, entry, self._text(name, entry))
            return True

        return self._store.transact(self._environment.pipeline, act)

    def _record(self, name: str, entry: CronEntry) -> list[str]:
        history.add(self._store.facts, self._environment.id, name, entry)
        bad = entry.outcome.is_bad or entry.outcome in (CronOutcome.SKIPPED, CronOutcome.REPLACED)
        return [self._text(name, entry)] if bad else []

    def _text(self, name: str, entry: CronEntry) -> str:
        what = f"{self._environment.id}: cron {name}, due at {show_time(entry.at)}"
        if entry.count > 1:
            what = f"{self._environment.id}: cron {name}, {entry.count} times until {show_time(entry.at)}"
        outcome = f"failed with exit code {entry.exit_code}" if entry.exit_code else str(entry.outcome)
        return f"{what}, {outcome}" + (f": {entry.said}" if entry.said else "")

    # ── small helpers ────────────────────────────────────────────────────────

    def _forget_old(self) -> None:
        """Containers of runs that ended a while ago. Where nothing else runs, the last one stays: it tells which
        release serves, if the store is lost."""
        at_work = {_job(name, one.running) for name, one in self._environment.cron.items() if one.running}
        spec = self._serving()
        alone = spec is not None and runs_by_schedule_alone(spec.config)
        newest = max(self._jobs.values(), key=lambda one: one.started, default=None)
        for job, one in self._jobs.items():
            if alone and one is newest:
                continue
            if one.exit_code is not None and job not in at_work and self._clock.now() - one.ended > KEPT:
                self._engine.scheduled.forget_job(self._ref, job)

    def _output(self, job: Job) -> tuple[str, ...]:
        lines = self._engine.scheduled.job_output(self._ref, job, history.LINES)
        return history.shortened(self._masked(lines))

    def _masked(self, lines: tuple[str, ...]) -> tuple[str, ...]:
        return self._services.vault.mask(self._environment.pipeline)[0].lines(lines)


def _job(name: str, run: CronRun) -> Job:
    return Job(name, int(run.at))
