"""The story of one run: build ▶ dev ▶ qa ▶ live.

``Runner.work`` is what a worker does when the bell rings for a pipeline: take up one run that is due, carry it as
far as it goes, and ring again if more is due.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from pipeline.config.models import Pipeline
from pipeline.deploy import admission, engine_addresses
from pipeline.deploy.admission import supersede
from pipeline.deploy.build_stage import BuildStage
from pipeline.deploy.failure_card import card, compared
from pipeline.deploy.heartbeat import LeaseHeartbeat
from pipeline.deploy.reconciler import Reconciler
from pipeline.deploy.rollout import Rollout
from pipeline.deploy.run_context import RunContext
from pipeline.deploy.services import Services
from pipeline.domain import budget as budgets
from pipeline.domain import gates as gates_rules
from pipeline.domain import slots, transitions
from pipeline.domain.environment import SLOTS, Environment
from pipeline.domain.events import Event
from pipeline.domain.release import Release
from pipeline.domain.run import Ending, Kind, Outcome, Push, Run, State
from pipeline.errors import (
    AppFailed,
    Cancelled,
    ConfigError,
    DamagedRecord,
    EngineFailed,
    Held,
    LeaseLost,
    NotFound,
    PushliveError,
    StoreUnavailable,
    Superseded,
    TryAgain,
)
from pipeline.lib import codec
from pipeline.lib.retry import Backoff, Retry, poll
from pipeline.lib.units import show_duration
from pipeline.notify import messages
from pipeline.ports.adapters import Adapters
from pipeline.runlog import file as file_module
from pipeline.store import Lease, Transaction

MAX_ATTEMPTS = 5  # workers that a run may cost before it is set aside
BACKOFF = Backoff(1.0, factor=3.0, ceiling=30.0)  # while a part does not answer: a minute in all
RETRIES = 5
REVERT_PATIENCE = 30.0  # seconds that a revert waits for whoever acts in its environment to give up


class Parked(Exception):
    """A signal, no error: the run waits for another run's lease or for a person, and stays as it is recorded."""


class Runner:
    """``accept``: takes a push that a fetch found; ``stopping``: whether this worker is to hand its run back at
    the next stage."""

    def __init__(
        self,
        services: Services,
        adapters: Adapters,
        accept: Callable[[Push], object],
        stopping: Callable[[], bool],
    ) -> None:
        self._services, self._adapters = services, adapters
        self._store, self._settings, self._vault = services.store, services.settings, services.vault
        self._configured = services.configurations.by_hash
        self._accept, self._stopping = accept, stopping

    def work(self, pipeline: str, *, urgent: bool = False, worker: str = "") -> Run | None:
        """Takes up one due run and carries it; None where nothing is due or all of it is in other hands."""
        for number in self._store.due(pipeline):
            if self._stopping():
                return None
            if urgent and not self._is_revert(pipeline, number):
                continue
            lease = self._store.leases.take(f"run:{pipeline}#{number}", worker)
            if lease:
                run = self._unless_damaged(pipeline, number, lease)
                if run:
                    return run
        return None

    def _is_revert(self, pipeline: str, number: int) -> bool:
        try:
            return self._store.run(pipeline, number).kind == Kind.REVERT
        except DamagedRecord:
            return False

    def _unless_damaged(self, pipeline: str, number: int, lease: Lease) -> Run | None:
        """``_hold``; a run whose own record cannot be read keeps no other from its turn. The keeper says so."""
        try:
            return self._hold(pipeline, number, lease)
        except DamagedRecord:
            return None

    def _hold(self, pipeline: str, number: int, lease: Lease) -> Run | None:
        """The run as this worker left it; None where it could do nothing for it now."""
        with LeaseHeartbeat(self._store) as heartbeat:
            heartbeat.hold(lease)
            try:
                run = self._claim(pipeline, number, lease)
            except (NotFound, LeaseLost):
                return None
            if run is None:
                return None
            file = file_module.RunLog(
                file_module.path(self._settings.data, pipeline, number), self._settings.log_limit
            )
            work = RunContext(self._store, self._adapters.clock, run, lease, heartbeat, file)
            try:
                self._carry(work)
            except Parked:
                return None
            except LeaseLost:
                return work.run
            except TryAgain:
                self._give_back(work)
                return work.run  # still due: the sweep rings for it
            finally:
                file.close()
        if self._store.due(pipeline):
            self._adapters.queue.notify(pipeline)
        return work.run

    def _claim(self, pipeline: str, number: int, lease: Lease) -> Run | None:
        def act(transaction: Transaction) -> Run | None:
            run = transaction.run(number)
            if run.state not in (State.QUEUED, State.RUNNING):
                transaction.not_due(number)
                return None
            now = self._adapters.clock.now()
            queued = run.queued + (now - run.parked if run.parked else 0.0)
            run = transitions.move(
                run,
                State.RUNNING,
                started=run.started or now,
                attempts=run.attempts + 1,
                queued=queued,
                parked=0.0,
            )
            transaction.put_run(run)
            return run

        return self._store.transact(pipeline, act, fence=lease)

    def _give_back(self, work: RunContext) -> None:
        """A store that did not answer is no worker that died: the attempt does not count."""
        try:
            work.update(attempts=max(0, work.run.attempts - 1))
        except (TryAgain, LeaseLost):
            return

    # ── the story ────────────────────────────────────────────────────────────

    def _carry(self, work: RunContext) -> None:
        if work.run.ending:  # an earlier worker got that far
            self._fail(work, work.run.ending)
            return
        try:
            self._mask(work)
            self._not_too_often(work.run)
            self._patiently(work)
        except StoreUnavailable:
            raise
        except PushliveError as error:
            with suppress(DamagedRecord):  # then nobody can say what was begun there; the error names it
                self._leave(work, error)
            self._fail(work, work.run.ending or _ending(work.run, error))

    def _mask(self, work: RunContext) -> None:
        """Nothing that this run says has a secret's value in it."""
        mask, unread = self._vault.mask(work.run.pipeline)
        work.redact(mask)
        if unread:
            text = f"the values of {', '.join(unread)} cannot be read, so they are not masked in what this run says"
            work.note(text, work.run.stage, "warning")

    def _leave(self, work: RunContext, error: PushliveError) -> None:
        """What earlier workers of this run began and could not finish is put back before the run ends."""
        run = work.run
        environment = self._store.environment(run.pipeline, run.stage) if run.stage else None
        if environment is None or run.release is None or not slots.unfinished(environment, run):
            return
        release = self._store.release(run.pipeline, run.release)
        lease = self._take_environment(work, environment)
        work.hold_lease(lease)
        try:
            self._rollout(work, release, run.stage).abandon(error, _ending(run, error))
        finally:
            work.drop_lease(lease)

    def _rollout(self, work: RunContext, release: Release, name: str) -> Rollout:
        last = name == work.run.stages[-1]
        failed_for, vault = self._settings.failed_for, self._vault
        return Rollout(work, self._adapters, release, name, vault=vault, last=last, failed_for=failed_for)

    def _patiently(self, work: RunContext) -> None:
        """The whole way; passing trouble is met by going it again, since every step finds what is there."""
        retry = Retry(BACKOFF, self._adapters.clock, retries=RETRIES)
        while True:
            try:
                self._through(work)
                return
            except StoreUnavailable:
                raise
            except TryAgain as error:
                pause = retry.pause()
                if pause is None:
                    raise
                work.note(f"{error.message} Tried again in {pause:g} s.", work.run.stage, "warning")
                self._pause(work, pause)

    def _pause(self, work: RunContext, seconds: float) -> None:
        """Cut short by whoever cancels the run, and by a worker that is to end: the run goes on in another one."""
        until = self._adapters.clock.monotonic() + seconds
        while self._adapters.clock.monotonic() < until and not self._stopping():
            work.still_wanted()
            self._adapters.clock.sleep(min(1.0, until - self._adapters.clock.monotonic()))

    def _through(self, work: RunContext) -> None:
        pipeline = self._pipeline(work.run)
        release = self._release(work, pipeline)
        for name in work.run.stages[1:] if work.run.stages[0] == "build" else work.run.stages:
            if not self._passed(work.run, name):
                self._environment(work, pipeline, release, name)
        self._finish(work, release)

    def _pipeline(self, run: Run) -> Pipeline:
        config = self._configured(run.config)
        if run.pipeline not in config.pipelines:
            raise ConfigError(
                f"{run.pipeline} is not in pipelines.yaml any more.", advice="Put it back, then retry."
            )
        return config.pipelines[run.pipeline]

    def _not_too_often(self, run: Run) -> None:
        if run.attempts > MAX_ATTEMPTS:
            raise EngineFailed(
                f"{run.id} was taken up {run.attempts - 1} times and its worker died each time; it is set aside.",
                advice="See the workers' output for the cause, then `pushlive retry`.",
            )

    def _release(self, work: RunContext, pipeline: Pipeline) -> Release:
        run = work.run
        if run.stages[0] == "build" and not any(s.step == "push" and s.ok for s in run.steps):
            stage = BuildStage(work, self._adapters, pipeline, self._settings, self._vault)
            try:
                stage.go()
            except Superseded:
                self._take_head(run, stage.head)
                raise
            self._stage_done(work, "build", f"r{work.run.release} ready")
            self._forecast(work)
        release = self._store.release(run.pipeline, work.run.release or 0)
        for name in run.stages:
            if name != "build" and not self._passed(work.run, name):
                self._vault.choose(release, name)  # what is missing is said before the first environment
        return release

    def _forecast(self, work: RunContext) -> None:
        """Says ahead of time what the last runs let expect."""
        recent = self._store.recent(work.run.pipeline, 20)
        usual = budgets.usual(recent, work.run.stages)
        budget = self._configured(work.run.config).budget_of(work.run.pipeline)
        if usual > budget.deploy:
            text = f"the last deploys took about {show_duration(usual)}; the budget is {show_duration(budget.deploy)}"
            work.note(text, "build", "warning")

    def _take_head(self, run: Run, head: str) -> None:
        """Its commit is the head no more: the head gets a run, should its own delivery be lost."""
        others = (one for one in self._store.recent(run.pipeline, 50) if one.number != run.number)
        if admission.carrying(others, run.ref, head):
            return  # the head's own delivery came first
        push = Push(
            run.pipeline,
            run.repository,
            run.ref,
            head,
            f"head:{run.id}",
            run.pusher,
            received=self._adapters.clock.now(),
        )
        try:
            self._accept(push)
        except NotFound:
            return  # the pipeline was taken out of the configuration meanwhile

    def _passed(self, run: Run, name: str) -> bool:
        return any(step.stage == name and step.step == "verify" and step.ok for step in run.steps)

    def _environment(self, work: RunContext, pipeline: Pipeline, release: Release, name: str) -> None:
        """One environment: the gate, the lease, the rollout."""
        if self._stopping():
            raise self._parked(work)
        environment = self._record(work, release, name)
        if work.run.stage != name:
            work.update(stage=name)
        self._may_enter(work, pipeline, environment, release)
        lease = self._take_environment(work, environment)
        work.hold_lease(lease)
        work.environment = name
        try:
            # Again, now that nobody else acts here: whoever was waited for may have changed the answer.
            environment = self._on_its_engine(work, release, self._record(work, release, name))
            self._may_enter(work, pipeline, environment, release)
            self._mend(work, environment, lease)
            self._rollout(work, release, name).go(_ending)
        except Held:
            self._wait_at(work, pipeline, name)
            raise self._parked(work) from None  # the hold is lifted already: in again
        finally:
            work.environment = ""
            work.drop_lease(lease)
        hosts = release.environments[name].hosts
        self._stage_done(work, name, engine_addresses.address(self._settings, environment, hosts))

    def _record(self, work: RunContext, release: Release, name: str) -> Environment:
        limit, key = len(self._settings.port_range), release.environments[name].engine.key
        return self._store.ensure_environment(work.run.pipeline, name, limit, key)

    def _on_its_engine(self, work: RunContext, release: Release, environment: Environment) -> Environment:
        """The record, on the engine that the release was made for; ConfigError while something is on another one."""
        key = release.environments[environment.name].engine.key
        if environment.engine == key:
            return environment
        engine_addresses.refuse_move(environment, release, key)
        work.still_ours()
        self._adapters.engines.of(environment.engine).slots.remove(
            slots.slot_ref(environment, SLOTS[0])
        )  # its routes, and no slot

        def move(transaction: Transaction, run: Run) -> Run:
            transaction.put_environment(replace(transaction.environment(environment.name), engine=key))
            return run

        work.change(move)
        return self._record(work, release, environment.name)

    def _mend(self, work: RunContext, environment: Environment, lease: Lease) -> None:
        """A proxy that lost its state may serve the very slot that is to be emptied: it is brought to the record before
        anything is begun, as the keeper would have done."""
        work.still_ours()
        place = slots.slot_ref(environment, SLOTS[0])
        try:
            if self._adapters.engines.of(place.engine).traffic.serving(place) == environment.active:
                return
            for text in Reconciler(self._services, self._adapters, environment, lease).repair():
                work.note(text, environment.name, "warning")
        except StoreUnavailable:
            raise
        except PushliveError as error:  # the new release may be just what mends it
            work.note(f"{environment.name}: {error.message}", environment.name, "warning")

    def _may_enter(
        self, work: RunContext, pipeline: Pipeline, environment: Environment, release: Release
    ) -> None:
        run = work.run
        if any(slots.switched(environment, run, slot) for slot in SLOTS):
            return  # it is in already, and was taken up again after a crash: what is left is to verify
        # Before this run holds the environment, a newer one that switched may just be at it, and may go back.
        others = self._store.open_runs(run.pipeline) if work.environment else ()
        gates_rules.refuse_overtaken(environment, run, others)
        entry = gates_rules.quarantined(environment, release)
        if entry:
            raise AppFailed(
                f"r{release.number} has the image and configuration of r{entry.release}, which is in quarantine in "
                f"{environment.name}: {entry.reason}",
                advice=f"Push a fix; or `pushlive unquarantine {run.pipeline} r{entry.release} "
                f"--env {environment.name}`, then `pushlive retry {run.id}`.",
            )
        if gates_rules.gate(pipeline, environment, run):
            self._wait_at(work, pipeline, environment.name)

    def _wait_at(self, work: RunContext, pipeline: Pipeline, name: str) -> None:
        """Records that the run waits and raises Parked; returns where nothing keeps it out any more."""
        now = self._adapters.clock.now()
        gates: list[gates_rules.Gate] = []

        def wait(transaction: Transaction, current: Run) -> Run:
            gate = gates_rules.gate(pipeline, transaction.environment(name), current)
            gates[:] = [gate] if gate else []
            if current.cancel:
                raise Cancelled(f"{current.id} was cancelled: {current.cancel}.")
            if gate is None:
                return current
            for older in gates_rules.waiting_at(transaction.open(), name):
                if older.number < current.number:
                    supersede(transaction, older, f"{current.id} waits before {name} instead", now)
            transaction.not_due(current.number)
            text = f"waits before {name}: {gate.why}. To go on with r{current.release}: "
            text += f"pushlive {gate.command} {current.pipeline}"
            transaction.event(current.number, Event("gate", now, text, name))
            waiting = transitions.move(current, State.WAITING, gate=name, gate_since=now, attempts=0)
            return messages.waits(
                transaction, waiting, gate.why, f"pushlive {gate.command} {current.pipeline}"
            )

        work.change(wait)
        if gates:
            raise Parked(gates[0].why)

    def _take_environment(self, work: RunContext, environment: Environment) -> Lease:
        def take() -> Lease | None:
            lease = self._store.leases.take(f"env:{environment.id}", work.run.id)
            if lease is None:
                work.still_wanted()
            return lease

        timeout = REVERT_PATIENCE if work.run.kind == Kind.REVERT else 1.0
        lease = poll(take, 0.02, self._adapters.clock, timeout=timeout)
        if lease is None:
            raise self._parked(work)
        return lease

    def _parked(self, work: RunContext) -> Parked:
        # A clean hand-back is no crashed attempt.
        work.update(attempts=0, parked=self._adapters.clock.now() if work.run.image_ready else 0.0)
        return Parked(f"{work.run.id} waits for its turn")

    # ── ends ─────────────────────────────────────────────────────────────────

    def _stage_done(self, work: RunContext, name: str, text: str) -> None:
        run, now = work.run, self._adapters.clock.now()
        steps = [{"step": s.step, "seconds": s.seconds, "ok": s.ok} for s in run.steps if s.stage == name]
        budget = self._configured(run.config).budget_of(run.pipeline)
        rest = budgets.left(run, budget, now)
        seconds = sum(float(str(step["seconds"])) for step in steps)
        data = {"steps": steps, "seconds": seconds, "left": rest, "done": True}
        work.emit(Event("stage", now, f"{text} · {show_duration(rest)} left", name, data=data))
        if rest < 0:
            over = budgets.overspender(run.steps)
            work.note(f"over the {show_duration(budget.deploy)} budget; most went to {over}", name, "warning")

    def _finish(self, work: RunContext, release: Release) -> None:
        run, now = work.run, self._adapters.clock.now()
        budget = self._configured(run.config).budget_of(run.pipeline)
        spent, whole = budgets.spent(run, now), max(0.0, now - run.accepted - run.human)
        where = run.stages[-1]
        text = f"{release.name} ({run.short}) serves {where}, {show_duration(whole)} after "
        text += "the push" if run.kind == Kind.PUSH else "it was asked for"
        if run.kind != Kind.REVERT:
            text += f"; deploy {show_duration(spent)} of {show_duration(budget.deploy)}"
        if whole > budget.whole:
            text += f" · SERIOUS: over {show_duration(budget.whole)} from push to live"
        more = self._next_words(run, where)
        event = Event("end", now, f"{run.id} is live: {text}", data={"outcome": "live", "more": more})
        work.change(
            lambda tx, run: messages.ended(
                tx, work.masked_run(transitions.end(run, Outcome.LIVE, text, now))
            ),
            event,
        )

    def _next_words(self, run: Run, where: str) -> list[str]:
        environment = self._store.environment(run.pipeline, where)
        if run.kind == Kind.REVERT:
            return [f"{where} is held; when the fix may go there: pushlive resume {run.pipeline}"]
        target = slots.revert_target(environment) if environment else None
        if target is None:
            return ["the first release here: there is nothing to revert to yet"]
        return [f"to go back to r{target}: pushlive revert {run.pipeline}"]

    def _fail(self, work: RunContext, ending: Ending) -> None:
        outcome, reason, failure = ending.outcome, ending.reason, ending.failure
        now = self._adapters.clock.now()
        if failure:
            failure = compared(failure, work.run, self._store)
        text = f"{work.run.id} {outcome}" + ("" if failure else f": {reason}")
        data = {"outcome": outcome.value}
        if failure:
            data["failure"] = codec.plain(failure)
        event = Event("end", now, text, work.run.stage, data=data)

        def end(tx: Transaction, run: Run) -> Run:
            ended = transitions.end(run, outcome, reason, now, failure=failure, ending=None)
            return messages.ended(tx, work.masked_run(ended))

        work.change(end, event)


def _ending(run: Run, error: PushliveError) -> Ending:
    """The run's end where that error stops it."""
    outcome = _OUTCOMES.get(type(error), Outcome.FAILED)
    failure = card(run, error) if outcome == Outcome.FAILED else None
    return Ending(outcome, error.message, failure)


_OUTCOMES: dict[type[PushliveError], Outcome] = {Superseded: Outcome.SUPERSEDED, Cancelled: Outcome.CANCELLED}
