"""Blue-green in one environment. A revert is the same story with an older release.

    (back) ▶ release ▶ start ▶ smoke ▶ (shift) ▶ switch ▶ processes ▶ verify

Traffic moves only by ``switch``, in part by ``shift`` before it, and only to a slot whose checks have just passed on
that very release. The intent is written before it, the outcome after it. A failure leaves the traffic as it was.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from pipeline.config.judging.metrics import Metrics
from pipeline.config.promotion.shift import Shift as ShiftPolicy
from pipeline.config.workload.bake import Bake
from pipeline.config.workload.judge import Judge
from pipeline.deploy import accessories, last_lines
from pipeline.deploy.accessories import AccessoryCare
from pipeline.deploy.data.unfinished import refuse
from pipeline.deploy.environment_record import EnvironmentRecord, MayEnter
from pipeline.deploy.previews.filling import Filling
from pipeline.deploy.run_context import RunContext, Step
from pipeline.deploy.slot import failed_slot
from pipeline.deploy.slot.counting import Counting
from pipeline.deploy.slot.in_turn import InTurn
from pipeline.deploy.slot.left_files import LeftFiles
from pipeline.deploy.slot.processes import ProcessHandover
from pipeline.deploy.slot.release_command import CommandSteps
from pipeline.deploy.slot.room import Room
from pipeline.deploy.slot.shifting import Shifting
from pipeline.deploy.slot.slot_start import SlotStart
from pipeline.deploy.smoke.checker import Checker, LastLines
from pipeline.domain import slots
from pipeline.domain.engine_types import Login, SlotSpec
from pipeline.domain.environment import Environment, Slot, SlotState, other
from pipeline.domain.going_back import release_commands
from pipeline.domain.release import Release
from pipeline.domain.run import Check, Ending, Kind, Run
from pipeline.domain.shifting import rule as shifting
from pipeline.domain.volumes import volumes_of
from pipeline.errors import (
    AccessoryFailed,
    AppFailed,
    BackFailed,
    BothFailed,
    CommandLeft,
    ConfigError,
    EngineFailed,
    Held,
    OutcomeUnknown,
    PushliveError,
    StoreUnavailable,
    TimedOut,
    TryAgain,
    WrongRelease,
)
from pipeline.lib.text import summary
from pipeline.ports.adapters import Adapters
from pipeline.ports.clock import Watch
from pipeline.ports.engine import Engine
from pipeline.secrets.vault import Vault

REASON = 200  # characters: what is kept with a quarantine may be a whole answer
SMOKE_MARGIN = 60.0  # seconds, on top of what the checks themselves may take
ACCESSORY_TIMEOUT = 900.0  # seconds, for pulling and starting all of them
SWITCH_TIMEOUT = VERIFY_TIMEOUT = 60.0  # seconds
VERIFY_REQUESTS = 3  # fresh connections on the public route after the switch


class Rollout:
    """One release into one environment. ``last``: this environment is live, so a failure puts the release in
    quarantine. ``failed_for``: seconds that a failed slot is kept; ``keep_warm``: that the slot which served before
    is; ``bake``, ``judge``: how the release is watched after its switch; ``shift``: how it takes the traffic over, and
    ``metrics``: who counts its answers meanwhile if the engine does not; ``elsewhere``: its host names that another
    environment has taken over; ``left_files``: the folder for copies of what ends with its containers; ``data``: the
    command that fills the data of a preview."""

    def __init__(
        self,
        context: RunContext,
        adapters: Adapters,
        release: Release,
        name: str,
        *,
        vault: Vault,
        care: AccessoryCare,
        room: Room,
        last: bool,
        failed_for: float,
        keep_warm: float,
        bake: Bake,
        judge: Judge,
        shift: ShiftPolicy | None = None,
        metrics: Metrics | None = None,
        elsewhere: tuple[str, ...] = (),
        left_files: Path | None = None,
        data: tuple[str, ...] = (),
    ) -> None:
        self._context, self._release, self._name = context, release, name
        self._clock, self._vault, self._accessories = adapters.clock, vault, care
        self._last, self._failed_for, self._keep_warm = last, failed_for, keep_warm
        self._bake, self._judge = bake, judge
        self._config = release.environments[name]
        self._record = EnvironmentRecord(context, name, release)
        environment = self._record.read()
        slot = slots.slot_for(environment, context.run, release.number)
        self._spec = slots.spec_of(slots.slot_ref(environment, slot), release, context.run.number)
        self._spec = replace(self._spec, elsewhere=elsewhere)
        self._engine = adapters.engines.of(self._spec.ref.engine)
        self._in_turn = InTurn(context, self._acting, self._record)
        counting = Counting(self._engine, self._clock, adapters.figures, vault, metrics)
        policy = shift or ShiftPolicy()
        self._shifting = Shifting(context, self._engine, self._acting, self._record, policy, counting)
        self._processes = ProcessHandover(context, self._acting, self._record, vault)
        self._slot_start = SlotStart(context, self._engine, self._acting, self._record, room.fit)
        ignored = self._config.service.ignore
        self._left_files = LeftFiles(context, self._engine, ignored, left_files if last else None)
        self._filling = Filling(context, self._acting, data)
        self._commands = CommandSteps(context, self._acting, self._record, vault, self._login_of, failed_for)

    def go(self, may_enter: MayEnter, ending_of: Callable[[Run, PushliveError], Ending]) -> None:
        """Raises what stopped it. What it started is then in the record, and the keeper keeps or clears it.
        ``may_enter``: whether the run may still enter; ``ending_of``: how an error ends the run."""
        try:
            self._refuse_unfinished()
            self._acting().slots.prepare(self._spec.ref, self._spec.hosts, routes=self._spec.web)
            environment, back = self._record.known, self._context.run.back
            starts = environment.serving != self._release.number
            if starts:
                self._shifting.check(self._spec)
            commands = starts or release_commands.is_undone(environment, self._release.number)
            if commands or back:
                self._await_accessories()
                self._commands.back(back)
            if commands:
                self._choose_secrets()
                self._commands.release(self._spec, self._release)
                self._filling.go(self._spec)
            if starts:
                self._start()
                self._smoke()
                self._shift(may_enter)
                self._switch(may_enter)
            self._processes.go(self._spec)
            self._verify()
            self._end_connections()
            self._left_files.copy(self._record.known)
        except StoreUnavailable:
            raise  # the worker that takes the run up next finds everything as it is
        except PushliveError as found:
            error = self._blamed(found)
            goes_on = isinstance(error, TryAgain | Held)
            if goes_on and slots.switched(self._record.read(), self._context.run, self._spec.ref.slot):
                raise  # only the verification is left; if it stays impossible, the end of the run switches back
            if isinstance(error, TryAgain) and self._has_a_share():
                raise  # it goes on where it was; if that stays impossible, the end of the run goes back
            self.abandon(error, None if goes_on else ending_of(self._context.run, error))
            raise error from found

    # ── the steps ────────────────────────────────────────────────────────────

    def _await_accessories(self) -> None:
        """The databases, caches and brokers of this environment are there before anything of the release is. A revert
        does not wait until they are ready: it may be what makes them so."""
        ref, names = self._spec.ref, accessories.used(self._config)
        if not names:
            return
        advice = "See `pushlive doctor`; `ready` under the accessory in pipelines.yaml limits how long it may take."
        with self._context.step(self._name, "accessories", ACCESSORY_TIMEOUT, advice) as step:
            self._context.still_ours()
            found = self._accessories.ensure(ref, self._config, step.watch)
            step.detail = ", ".join(names)
            self._context.redact(self._vault.mask(ref.pipeline)[0])
            if self._context.run.kind == Kind.REVERT:
                for text in self._accessories.away(ref, self._config):
                    self._context.note(text, self._name, "warning")
                return
            for record in found:
                self._accessories.await_ready(record, step.watch)

    def _blamed(self, error: PushliveError) -> PushliveError:
        """An application that fails because its database is away is not to blame."""
        if not isinstance(error, AppFailed):
            return error
        away = self._accessories.away(self._spec.ref, self._config)
        if not away:
            return error
        return AccessoryFailed(
            f"{error.message.rstrip('.')}; {'; '.join(away)}.",
            advice="`pushlive accessory status` shows them, `pushlive accessory logs NAME ENV` what one says.",
            again=True,
            facts=error.evidence[: error.facts],
            evidence=error.evidence[error.facts :],
        )

    def _choose_secrets(self) -> None:
        """Which versions of its secrets the release gets. A missing one is reported before anything is started. A
        warm slot that was given the same versions needs no values."""
        ref, chosen = self._spec.ref, self._vault.choose(self._release, self._name)
        for note in chosen.notes:
            self._context.note(note, self._name, "warning")
        plain = partial(self._vault.reveal, ref.pipeline, self._name, chosen.versions)
        reveal = accessories.revealing(plain, self._context.store, self._vault, ref, self._config)
        passwords = accessories.admitting(plain, self._config)
        self._spec = replace(
            self._spec, secrets=chosen.versions, reveal=reveal, passwords=passwords, login=self._login
        )
        if not slots.is_warm(self._record.known, ref.slot, self._release.number, chosen.versions):
            self._context.redact_also([*reveal().values(), *passwords().values()])

    def _login(self) -> Login | None:
        return self._login_of(self._spec)

    def _login_of(self, spec: SlotSpec) -> Login | None:
        login = self._vault.login(spec.ref.pipeline, spec.config.registry)
        self._context.redact_also([login.password] if login else [])
        return login

    def _refuse_unfinished(self) -> None:
        """A volume that waits for its files would be empty for the release, and no one would know. What serves already
        is left as it is."""
        if self._record.known.serving != self._release.number:
            refuse(self._context.store, volumes_of(self._spec))

    def _start(self) -> None:
        margin = self._config.engine.kind.start_margin
        advice = "Raise `service.ready` in pipelines.yaml if the application needs longer to start."
        with self._context.step(self._name, "start", self._config.service.ready + margin, advice) as step:
            self._refuse_unfinished()
            self._in_turn.begin(self._spec, step.watch)
            self._spec, warm = self._slot_start.go(self._spec, step.watch)
            if self._spec.web:
                self._acting().traffic.expose(self._spec)
            step.detail = f"{self._spec.ref.slot}, {'warm' if warm else 'new'}"
            if self._spec.replicas > 1:
                step.detail += f", {self._spec.replicas} replicas"

    def _smoke(self) -> None:
        if not (self._spec.web or self._config.smoke):
            return
        timeout = SMOKE_MARGIN + sum(check.allowance for check in self._config.smoke)
        advice = "Raise `within` of the check in pipelines.yaml if it needs longer."
        with self._context.step(self._name, "smoke", timeout, advice) as step:
            checker = self._checker(step.watch)
            results: tuple[Check, ...] = ()
            if self._spec.web:
                results = checker.identity(self._spec, self._engine.traffic.preview(self._spec))
            if all(check.ok for check in results):
                results += checker.run(self._spec, self._config.smoke)
            self._keep_checks(step, (), results)
            step.detail = (
                f"{sum(check.ok for check in results)}/{len(self._config.smoke) + int(self._spec.web)}"
            )
            what = f"{self._name} {self._release.name}"
            checker.must_pass(results, self._spec, what, self._last_lines, "It got no traffic.")

    def _shift(self, may_enter: MayEnter) -> None:
        if self._in_turn.applies or not self._shifting.applies(self._spec):
            return
        with self._context.step(self._name, "shift", self._shifting.limit(), self._engine_advice()) as step:
            self._shifting.go(self._spec, step, may_enter)

    def _switch(self, may_enter: MayEnter) -> None:
        with self._context.step(self._name, "switch", SWITCH_TIMEOUT, self._engine_advice()) as step:
            self._context.still_wanted()
            self._spec = self._slot_start.grow(self._spec, step.watch)
            slot, before = self._spec.ref.slot, self._record.known
            self._record.intend(slot, may_enter)
            self._route(self._spec)
            step.detail = f"{before.active or 'nothing'} → {slot}"
            warm = 0.0 if self._in_turn.applies else self._keep_warm
            self._record.switched(step, slot, warm, self._bake, self._judge)
        self._in_turn.tell(self._spec.ref)
        if before.active != slot:
            self._left_files.tell(before, before.active)

    def _verify(self) -> None:
        with self._context.step(self._name, "verify", VERIFY_TIMEOUT, self._engine_advice()) as step:
            if not self._spec.web:
                step.detail = "no web process"
                self._record.verified(step)
                return
            before = self._context.run.checks.get(self._name, ())
            route = self._engine.traffic.public(self._spec)
            checker = self._checker(step.watch)
            results = checker.identity(self._spec, route, VERIFY_REQUESTS)
            self._keep_checks(step, before, results)
            step.detail = f"{sum(check.ok for check in results)}/{len(results)}"
            what = f"{self._name} {self._release.name}, after the switch"
            traffic = "Traffic goes back to the release before it, if there is one."
            checker.must_pass(results, self._spec, what, self._last_lines, traffic)
            self._record.verified(step)

    def _route(self, spec: SlotSpec) -> None:
        """The traffic goes to that slot; to none if nothing there takes requests."""
        if spec.web:
            self._acting().traffic.switch(spec)
        else:
            self._acting().traffic.unroute(spec.ref)

    def _engine_advice(self) -> str:
        return f"See `pushlive doctor`, then `pushlive retry '{self._context.run.id}'`."

    def _end_connections(self) -> None:
        """After a revert the bad release must not answer longer than necessary. Not before the good one is verified:
        until then the bad one may have to take the traffic again."""
        environment = self._record.known
        slot = other(self._spec.ref.slot)
        record = environment.slots.get(slot)
        if self._context.run.kind != Kind.REVERT or record is None or record.state != SlotState.WARM:
            return
        ref, mark = slots.slot_ref(environment, slot), slots.mark_of(record)
        try:
            count = self._acting().traffic.detach(ref, mark)
        except StoreUnavailable:
            raise
        except PushliveError as error:
            text = f"connections to {slot} may last until `drain` is over: {error.message}"
            self._context.note(text, self._name, "warning")
            return
        if count:
            text = f"the pods of {slot} ({count}) were replaced, which ends its old connections"
            self._context.note(text, self._name)

    # ── failure ──────────────────────────────────────────────────────────────

    def abandon(self, error: PushliveError, ending: Ending | None) -> None:
        """Leaves the traffic as it was: back to the old slot if it had moved. The new slot is kept for a while. The
        records come first: if the proxy does not follow now, the keeper brings it there."""
        slot, why = self._spec.ref.slot, self._context.masked(error.message)
        keep = self._failed_for if isinstance(error, AppFailed | EngineFailed | TimedOut) else 0.0
        # Neither a check that another release answered nor the `back` of another one says anything against this one,
        # nor what the release beside it suffers as well.
        fault = isinstance(error, AppFailed) and not isinstance(error, WrongRelease | BackFailed | BothFailed)
        bad = self._last and fault
        shared = self._has_a_share()
        moved = self._record.abandoned(
            slot,
            ending,
            keep=keep,
            quarantine=summary(why, REASON) if bad else None,
            hold=why if isinstance(error, OutcomeUnknown | CommandLeft) else None,
        )
        followed = self._switch_back() if moved else not shared or self._shifting.back(self._spec)
        if followed:
            self._stop_failed()
        if moved:
            self._processes.back()

    def _has_a_share(self) -> bool:
        return shifting.of_run(self._record.read(), self._context.run.number) is not None

    def _switch_back(self) -> bool:
        """True unless the failed slot may still have the traffic."""
        environment = self._record.read()
        try:
            if environment.active and self._in_turn.applies:
                self._in_turn.pause(self._spec)
                text = f"r{environment.serving} starts again once this one is stopped"
            elif environment.active:
                text = self._back_to(self._old_spec(environment, environment.active))
            else:
                self._acting().traffic.unroute(self._spec.ref)
                text = "there is no release to go back to: the route answers 503 again"
            followed = True
        except StoreUnavailable:
            raise
        except PushliveError as error:
            followed = False
            text = (
                f"the proxy has not switched back yet ({error.message}); the service does it within seconds"
            )
        self._context.note(text, self._name, "warning")
        return followed

    def _back_to(self, old: SlotSpec) -> str:
        """What slept until the switch does not run: requests wait until the story has started it again."""
        if old.web and not any(one.state == "running" for one in self._engine.slots.replicas(old.ref)):
            self._in_turn.pause(self._spec)
            return f"r{old.release} does not run and is started again now"
        self._route(old)
        return f"traffic is back on r{old.release} ({old.ref.slot})"

    def _stop_failed(self) -> None:
        """The release does not work on while its slot is kept. A revert that is due does not wait for that."""
        environment, slot = self._record.read(), self._spec.ref.slot
        if environment.slots.get(slot) is None or environment.interrupt:
            return
        if environment.slots[slot].state != SlotState.FAILED:
            return
        try:
            masked = self._context.masked_lines
            failed_slot.stop(self._acting(), self._context.store.facts, environment, slot, masked)
        except StoreUnavailable:
            raise
        except PushliveError as error:
            text = f"{slot} is not stopped yet ({error.message}); the service does it within seconds"
            self._context.note(text, self._name, "warning")

    def _old_spec(self, environment: Environment, slot: Slot) -> SlotSpec:
        record = environment.slots[slot]
        release = self._context.store.release(environment.pipeline, record.release)
        return slots.spec_of(slots.slot_ref(environment, slot), release, record.run, record.secrets)

    # ── small helpers ────────────────────────────────────────────────────────

    def _acting(self) -> Engine:
        """The engine, for a change on it. Raises LeaseLost unless this worker still has the run."""
        self._context.still_ours()
        return self._engine

    def _checker(self, watch: Watch) -> Checker:
        emit, redact = self._context.emitter(self._name), self._context.masked
        return Checker(self._engine, self._clock, emit, watch, redact, self._context.trace)

    def _keep_checks(self, step: Step, before: tuple[Check, ...], results: tuple[Check, ...]) -> None:
        checks = {self._name: (*before, *results)}
        step.also = lambda _, run: replace(run, checks={**run.checks, **checks})

    def _last_lines(self) -> LastLines:
        try:
            lines = self._engine.slots.logs(self._spec.ref, 10 * last_lines.LINES)
        except (ConfigError, EngineFailed) as error:  # the failed check matters more
            return (f"(its last lines could not be read: {error.message})",), ()
        return (), last_lines.collapsed(lines)[-last_lines.LINES :]
