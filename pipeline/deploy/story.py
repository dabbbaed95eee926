"""The story of one claimed run: build ▶ dev ▶ qa ▶ live."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from pipeline.config.models import Budget, Pipeline
from pipeline.config.previews.names import is_preview, pipeline_of
from pipeline.config.workload.bake import Bake
from pipeline.config.workload.judge import OBSERVE
from pipeline.deploy import admission, endings, engine_addresses, hosts
from pipeline.deploy.accessories import AccessoryCare
from pipeline.deploy.branch_head import BranchHead
from pipeline.deploy.build_stage import BuildStage
from pipeline.deploy.cost.admission import CapAdmission, Request
from pipeline.deploy.cost.giving_way import GivingWay
from pipeline.deploy.entry import Entry, parked, take_environment
from pipeline.deploy.explaining.cache_misses import CacheMisses
from pipeline.deploy.heartbeat import fenced
from pipeline.deploy.parity.guard import ParityGuard
from pipeline.deploy.previews.emptying import Emptying
from pipeline.deploy.reconciler import Reconciler, share_of
from pipeline.deploy.rollout import Rollout
from pipeline.deploy.run_context import RunContext
from pipeline.deploy.services import Services
from pipeline.deploy.sleep.sleeper import Sleeper
from pipeline.deploy.slot.room import Room
from pipeline.domain import budget as budgets
from pipeline.domain import slots
from pipeline.domain.environment import SLOTS, Environment
from pipeline.domain.going_back import returning
from pipeline.domain.release import Release
from pipeline.domain.run import Kind, Push, Run
from pipeline.domain.shifting import rule as shifting
from pipeline.errors import (
    ConfigError,
    DamagedRecord,
    EngineFailed,
    Held,
    NotFound,
    PushliveError,
    StoreUnavailable,
    TryAgain,
)
from pipeline.lib.retry import Backoff, Retry
from pipeline.lib.units import show_duration
from pipeline.ports.adapters import Adapters
from pipeline.store import Lease, Transaction

MAX_ATTEMPTS = 5  # workers that may die with a run before it is set aside
# While something does not answer: a minute in all. The pauses stay short, since the run's budget is five minutes.
BACKOFF = Backoff(1.0, factor=2.0, ceiling=5.0)
RETRIES = 15


class Story:
    """``accept``: takes a push that a fetch found; ``stopping``: whether this worker is to hand its run back at
    the next stage."""

    def __init__(
        self,
        context: RunContext,
        services: Services,
        adapters: Adapters,
        accept: Callable[[Push], object],
        stopping: Callable[[], bool],
    ) -> None:
        self._context, self._services, self._adapters = context, services, adapters
        self._store, self._settings, self._vault = services.store, services.settings, services.vault
        self._accept, self._stopping = accept, stopping

    def carry(self) -> None:
        """Carries the run as far as it goes now. Raises Parked, LeaseLost and StoreUnavailable; any other error ends
        the run."""
        context = self._context
        if context.run.ending:  # an earlier worker decided it
            endings.fail(context, context.run.ending)
            return
        try:
            self._redact_secrets()
            self._limit_attempts()
            self._with_retries()
        except StoreUnavailable:
            raise
        except PushliveError as error:
            with suppress(
                DamagedRecord
            ):  # then it is unknown what was started there; the error names the record
                self._abandon(error)
            endings.fail(context, context.run.ending or endings.ending_of(context.run, error))

    def _redact_secrets(self) -> None:
        """From now on no secret's value gets into what this run says."""
        context = self._context
        mask, unread = self._vault.mask(context.run.pipeline)
        context.redact(mask)
        if unread:
            text = f"cannot read the values of {', '.join(unread)}: they are not masked in this run's output"
            context.note(text, context.run.stage, "warning")

    def _limit_attempts(self) -> None:
        run = self._context.run
        if run.attempts > MAX_ATTEMPTS:
            raise EngineFailed(
                f"{run.id} was started {run.attempts - 1} times, and its worker died each time; it is set aside.",
                advice=f"See the workers' output for the cause, then `pushlive retry '{run.id}'`.",
            )

    def _abandon(self, error: PushliveError) -> None:
        """Puts back what earlier workers of this run began and could not finish, before the run ends."""
        context, run = self._context, self._context.run
        environment = self._store.environment(run.pipeline, run.stage) if run.stage else None
        if environment is None or run.release is None or not slots.unfinished(environment, run):
            return
        release = self._store.release(run.pipeline, run.release)
        with context.holding(take_environment(context, environment)):
            self._rollout(release, run.stage).abandon(error, endings.ending_of(run, error))

    def _rollout(self, release: Release, name: str, pipeline: Pipeline | None = None) -> Rollout:
        last, failed_for = name == self._context.run.stages[-1], self._settings.failed_for
        config = release.environments[name]
        warm, configurations = config.service.keep_warm, self._services.configurations
        taken = hosts.elsewhere(self._store, configurations, release.pipeline, name, config.hosts)
        return Rollout(
            self._context,
            self._adapters,
            release,
            name,
            vault=self._vault,
            care=AccessoryCare(self._services, self._adapters.engines, self._adapters.clock),
            room=Room(self._context, self._adapters.engines, configurations),
            last=last,
            failed_for=failed_for,
            keep_warm=warm if pipeline is None or pipeline.keeps_warm(name) else 0.0,
            bake=pipeline.bake_of(name) if pipeline else Bake(),
            judge=pipeline.environment(name).judge if pipeline else OBSERVE,
            shift=pipeline.environment(name).shift if pipeline else None,
            metrics=pipeline.environment(name).metrics if pipeline else None,
            elsewhere=taken,
            left_files=self._settings.data / "left-files",
            data=self._data_command(release.pipeline),
        )

    def _data_command(self, name: str) -> tuple[str, ...]:
        """What fills the data of a preview; () for every other pipeline."""
        if not is_preview(name):
            return ()
        own = self._services.configurations.by_hash(self._context.run.config).pipelines.get(pipeline_of(name))
        return own.previews.data if own and own.previews else ()

    # ── the whole way ────────────────────────────────────────────────────────

    def _with_retries(self) -> None:
        """The whole way. After passing trouble it is gone again: every step finds what is there already."""
        context = self._context
        retry = Retry(BACKOFF, self._adapters.clock, retries=RETRIES)
        while True:
            try:
                self._all_stages()
                return
            except StoreUnavailable:
                raise
            except TryAgain as error:
                pause = retry.pause()
                if pause is None:
                    raise
                context.note(f"{error.message} Trying again in {pause:g} s.", context.run.stage, "warning")
                self._pause(pause)

    def _pause(self, seconds: float) -> None:
        """Cut short if the run is cancelled, and if this worker is to stop: another one goes on with the run."""
        clock = self._adapters.clock
        until = clock.monotonic() + seconds
        while clock.monotonic() < until and not self._stopping():
            self._context.still_wanted()
            clock.sleep(min(1.0, until - clock.monotonic()))

    def _all_stages(self) -> None:
        run, pipeline = self._context.run, self._pipeline()
        release = self._release(pipeline)
        for name in run.stages:
            if name != "build" and not self._context.run.passed(name, "verify"):
                self._environment(pipeline, release, name)
        endings.finish(self._context, self._budget(), release)

    def _pipeline(self) -> Pipeline:
        run = self._context.run
        config = self._services.configurations.by_hash(run.config)
        if run.pipeline not in config.pipelines:
            raise ConfigError(
                f"{run.pipeline} is no longer in pipelines.yaml.",
                advice=f"Add it again, then `pushlive retry '{run.id}'`.",
            )
        return config.pipelines[run.pipeline]

    def _budget(self) -> Budget:
        run = self._context.run
        return self._services.configurations.by_hash(run.config).budget_of(run.pipeline)

    # ── build ────────────────────────────────────────────────────────────────

    def _release(self, pipeline: Pipeline) -> Release:
        """The run's release, built if the run has not built it yet."""
        context = self._context
        if context.run.stages[0] == "build" and not context.run.passed("build", "push"):
            self._build(pipeline)
        run = context.run
        release = self._store.release(run.pipeline, run.release or 0)
        for name in run.stages:
            if name != "build" and not run.passed(name, "verify"):
                self._vault.choose(release, name)  # a missing secret is reported before the first environment
        return release

    def _build(self, pipeline: Pipeline) -> None:
        context = self._context
        branch = BranchHead(
            context,
            self._adapters.source,
            pipeline.source,
            lambda head: self._accept_head(context.run, head),
        )
        misses = CacheMisses(context, self._adapters.source, self._services.configurations)
        BuildStage(context, self._adapters, pipeline, self._settings, self._vault, branch, misses).go()
        endings.stage_done(context, self._budget(), "build", f"r{context.run.release} ready")
        self._forecast()

    def _accept_head(self, run: Run, head: str) -> None:
        """The head gets a run, unless one has it or is about to fetch it."""
        if not self._is_source_in_force(run):
            return  # a head of another branch, which nobody pushed to deploy
        others = [
            one for one in self._store.recent(run.pipeline, 50, readable=True) if one.number != run.number
        ]
        if admission.carrying(others, run.ref, head) or admission.is_fetched_later(others, run):
            return
        commit = self._adapters.source.commit(run.pipeline, self._pipeline().source, head)
        push = Push(
            run.pipeline, run.repository, run.ref, head, admission.own_delivery(run, head),
            received=self._adapters.clock.now(), skip=commit.skip,
        )  # fmt: skip
        with suppress(NotFound):  # the pipeline was taken out of the configuration meanwhile
            self._accept(push)

    def _is_source_in_force(self, run: Run) -> bool:
        """Whether pipelines.yaml still deploys the branch that the run was pushed to."""
        try:
            now = self._services.configurations.current()[1].pipelines.get(run.pipeline)
        except ConfigError:
            return False
        own = self._pipeline().source
        return now is not None and now.source == own and run.ref == f"refs/heads/{own.branch}"

    def _forecast(self) -> None:
        """Warns if the last runs took longer than the budget."""
        run, budget = self._context.run, self._budget()
        usual = budgets.usual(self._store.recent(run.pipeline, 20, readable=True), run.stages)
        if usual > budget.deploy:
            text = f"the last deploys took about {show_duration(usual)}; the budget is {show_duration(budget.deploy)}"
            self._context.note(text, "build", "warning")

    # ── one environment ──────────────────────────────────────────────────────

    def _environment(self, pipeline: Pipeline, release: Release, name: str) -> None:
        """The gate, the lease, the rollout."""
        context = self._context
        if self._stopping():
            raise parked(context)
        emptying = Emptying(context, self._services, self._adapters, name)
        emptying.go()
        environment = self._record(release, name)
        if context.run.stage != name:
            context.update(stage=name)
            self._tell_returning(environment, release)
        entry = Entry(context, pipeline, release, self._services)
        entry.enter(environment, ())
        lease = take_environment(context, environment)
        with context.holding(lease, name):
            try:
                # Again under the lease: the run that was here before may have changed the answer.
                emptying.insist()
                environment = self._on_its_engine(release, self._record(release, name))
                entry.enter(environment, self._store.open_runs(environment.pipeline))
                entry.log_approvals(name)
                ParityGuard(context, self._services, self._adapters).go(environment, release)
                self._admit(pipeline, release, environment)
                if not self._may_sleep_on(release, environment):
                    environment = self._woken(release, environment, lease)
                    self._repair(environment, lease)
                self._roll_out(release, name, pipeline, entry, lease)
            except Held:
                entry.wait_at(name)
                raise parked(context) from None  # the hold is lifted already: the run is due again
        names = release.environments[name].hosts
        address = engine_addresses.NO_WEB
        if release.environments[name].service.web:
            address = engine_addresses.address(self._settings, environment, names)
        endings.stage_done(context, self._budget(), name, address)

    def _admit(self, pipeline: Pipeline, release: Release, environment: Environment) -> None:
        """Raises CapReached if the release would cost more there than the month may."""
        context, run = self._context, self._context.run
        if any(one.run == run.number for one in environment.slots.values()):
            return  # it was admitted: this run is taken up again after a crash
        before = release if environment.serving == release.number else None
        try:
            if before is None and environment.serving is not None:
                before = self._store.release(run.pipeline, environment.serving)
            config, name = self._services.configurations.current()[1], environment.name
        except (ConfigError, NotFound, DamagedRecord):  # what it adds cannot be known
            return
        giving_way = GivingWay(self._services, self._adapters.engines, context.clock)
        request = Request(
            run.id,
            environment,
            pipeline,
            before.environments[name].service if before and name in before.environments else None,
            release.environments[name].service,
            refusable=run.kind != Kind.REVERT,
        )
        for text in CapAdmission(self._store, giving_way.put_to_sleep).admit(
            request, config, context.clock.now()
        ):
            context.note(text, name)

    def _roll_out(self, release: Release, name: str, pipeline: Pipeline, entry: Entry, lease: Lease) -> None:
        try:
            self._rollout(release, name, pipeline).go(entry.may_enter, endings.ending_of)
        except StoreUnavailable:
            raise
        except PushliveError:
            self._repair(self._record(release, name), lease)  # with `one`, what served was stopped before
            raise

    def _may_sleep_on(self, release: Release, environment: Environment) -> bool:
        """True for a revert of what sleeps. What it replaces is bad, perhaps so that it cannot start any more, and no
        one uses it: a request that comes meanwhile waits in the proxy until the switch. If the revert fails, it sleeps
        as before."""
        if environment.asleep is None or self._context.run.kind != Kind.REVERT:
            return False
        if (
            environment.serving == release.number
        ):  # its commands are repaired: it has to run for the verification
            return False
        ref = slots.slot_ref(environment, environment.active or SLOTS[0])
        if not self._adapters.engines.of(ref.engine).sleeping.awaits_request(ref):
            return False  # a proxy that lost its state
        text = f"r{environment.serving} sleeps and is not woken: what is requested meanwhile waits for {release.name}"
        self._context.note(text, environment.name)
        return True

    def _woken(self, release: Release, environment: Environment, lease: Lease) -> Environment:
        """The record once it does not sleep any more: until the switch, what slept answers its visitors. That it cannot
        be woken is no reason not to replace it."""
        if environment.asleep is None:
            return environment
        engine = fenced(self._adapters.engines.of(environment.engine), self._context.still_ours)
        sleeper = Sleeper(self._services, engine, self._adapters.clock, lease)
        try:
            sleeper.wake(environment, self._context.run.id)
            self._context.note(f"r{environment.serving} slept and was woken", environment.name)
        except (StoreUnavailable, TryAgain):
            raise
        except PushliveError as error:
            text = f"r{environment.serving} slept and could not be woken: {error.message}"
            self._context.note(self._context.masked(text), environment.name, "warning")
        return self._record(release, environment.name)

    def _tell_returning(self, environment: Environment, release: Release) -> None:
        """Says which configuration comes back, or goes, with a release before it enters the environment."""
        run, store = self._context.run, self._store
        if run.kind == Kind.REVERT:
            return
        found = returning.notices(
            environment,
            release,
            lambda number: store.release(run.pipeline, number),
            lambda number: store.run(run.pipeline, number),
        )
        for text in found:
            self._context.note(text, environment.name, "warning")

    def _record(self, release: Release, name: str) -> Environment:
        limit, key = len(self._settings.port_range), release.environments[name].engine.key
        return self._store.ensure_environment(self._context.run.pipeline, name, limit, key)

    def _on_its_engine(self, release: Release, environment: Environment) -> Environment:
        """The record, on the engine that the release was made for. Raises ConfigError while something runs on
        another one."""
        key = release.environments[environment.name].engine.key
        if environment.engine == key:
            return environment
        engine_addresses.refuse_move(environment, release, key)
        self._leave_engine(environment)

        def move(transaction: Transaction, run: Run) -> Run:
            transaction.put_environment(replace(transaction.environment(environment.name), engine=key))
            return run

        self._context.change(move)
        return self._record(release, environment.name)

    def _leave_engine(self, environment: Environment) -> None:
        """Removes the environment's routes there; its slots are empty. An engine that never had anything may not even
        exist."""
        self._context.still_ours()
        try:
            before = self._adapters.engines.of(environment.engine)
            if rest := before.slots.remove(slots.slot_ref(environment, SLOTS[0])):
                text = f"{environment.engine} keeps a part of it: {rest}, then remove it there"
                self._context.note(text, environment.name, "warning")
        except StoreUnavailable:
            raise
        except PushliveError as error:
            if not engine_addresses.never_used(environment):
                raise
            text = f"{environment.engine}, where nothing ever ran, was not asked to remove anything: {error.message}"
            self._context.note(text, environment.name, "warning")

    def _repair(self, environment: Environment, lease: Lease) -> None:
        """A proxy that lost its state may serve the very slot that is about to be emptied: it is reconciled first, as
        the keeper would do it."""
        context = self._context
        context.still_ours()
        ref = slots.slot_ref(environment, SLOTS[0])
        try:
            traffic, wanted = self._adapters.engines.of(ref.engine).traffic, shifting.wanted(environment)
            if traffic.serving(ref) == environment.active and traffic.shared(ref) == share_of(wanted):
                return
            for text in Reconciler(self._services, self._adapters, environment, lease).repair():
                context.note(text, environment.name, "warning")
        except StoreUnavailable:
            raise
        except PushliveError as error:  # the new release may be just what repairs it
            context.note(f"{environment.name}: {error.message}", environment.name, "warning")
