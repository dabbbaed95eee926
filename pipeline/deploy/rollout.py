"""Blue-green in one environment. A revert is the same story with an older release.

    release ▶ start ▶ smoke ▶ switch ▶ verify

Traffic moves only by ``switch``, only to a slot whose checks have just passed on that very release; intent is
written before, outcome after. A failure leaves the traffic as it was.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from pipeline.deploy.admission import supersede
from pipeline.deploy.run_context import RunContext, Step
from pipeline.deploy.smoke.checker import Checker
from pipeline.domain import gates, slots
from pipeline.domain.engine_types import CommandResult, Login, SlotSpec
from pipeline.domain.environment import Environment, SlotState, other
from pipeline.domain.release import Release
from pipeline.domain.run import Check, Ending, Kind, Run
from pipeline.errors import (
    AppFailed,
    Cancelled,
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
from pipeline.notify import messages
from pipeline.ports.adapters import Adapters
from pipeline.ports.clock import Watch
from pipeline.ports.engine import Engine
from pipeline.secrets.vault import Vault
from pipeline.store import Transaction

RELEASE_TIMEOUT = 1800.0  # seconds; a release command is not cut before
VERIFY_REQUESTS = 3  # fresh connections on the public route after the switch
LOG_LINES = 20
LINE_LIMIT = 1000  # characters of one line of evidence
SLOW_END = 4.0  # seconds after which a start says what it waited for
Change = Callable[[Transaction, Run, Environment], Environment]
_FIGURES = re.compile(r"\d+")


class Rollout:
    """One release into one environment. ``last`` marks the environment that is live: a failure there puts the
    release in quarantine. ``failed_for``: seconds that a failed slot is kept."""

    def __init__(
        self,
        work: RunContext,
        parts: Adapters,
        release: Release,
        name: str,
        *,
        vault: Vault,
        last: bool,
        failed_for: float,
    ) -> None:
        self._work, self._adapters, self._release, self._name = work, parts, release, name
        self._vault = vault
        self._last, self._failed_for = last, failed_for
        self._config = release.environments[name]
        environment = self._environment()
        slot = slots.slot_for(environment, work.run, release.number)
        self._spec = slots.spec_of(slots.slot_ref(environment, slot), release, work.run.number)
        self._engine = parts.engines.of(self._spec.ref.engine)

    def go(self, ending: Callable[[Run, PushliveError], Ending]) -> None:
        """Raises what stopped it; whatever was begun is then in the record and kept or cleared by the keeper.
        ``ending`` says how an error ends the run."""
        try:
            self._acting().slots.prepare(self._spec.ref, self._config.hosts)
            if self._environment().serving != self._release.number:
                self._secrets()
                self._release_command()
                self._start()
                self._smoke()
                self._switch()
            self._verify()
            self._end_connections()
        except StoreUnavailable:
            raise  # whoever takes the run up next finds everything as it is
        except PushliveError as error:
            again = isinstance(error, TryAgain | Held)  # the run itself goes on
            if again and slots.switched(self._environment(), self._work.run, self._spec.ref.slot):
                raise  # with what is left: to verify. Where that stays impossible the run's end puts it back
            self.abandon(error, None if again else ending(self._work.run, error))
            raise

    # ── the steps ────────────────────────────────────────────────────────────

    def _secrets(self) -> None:
        """Which versions of its secrets the release gets. What cannot be had is said before anything is started;
        a warm slot that was given the same ones needs no values."""
        ref, chosen = self._spec.ref, self._vault.choose(self._release, self._name)
        for note in chosen.notes:
            self._work.note(note, self._name, "warning")
        reveal = partial(self._vault.reveal, ref.pipeline, self._name, chosen.versions)
        self._spec = replace(self._spec, secrets=chosen.versions, reveal=reveal, login=self._login)
        if not slots.is_warm(self._environment(), ref.slot, self._release.number, chosen.versions):
            self._work.redact_also(reveal().values())

    def _login(self) -> Login | None:
        login = self._vault.login(self._spec.ref.pipeline, self._config.registry)
        self._work.redact_also([login.password] if login else [])
        return login

    def _release_command(self) -> None:
        service = self._config.service
        if not service.release or self._work.run.kind == Kind.REVERT:
            return None  # a revert never runs a migration again
        name = f"release-{self._work.run.number}"
        if self._released():
            return self._acting().commands.forget_command(self._spec, name)
        # Nobody's wish cuts it: half of a migration helps no one. What was wished is looked at afterwards.
        with self._work.step(self._name, "release", RELEASE_TIMEOUT, cancellable=False) as step:
            result = self._run_to_its_end(name, service.release, step.watch)
            step.detail = f"exit {result.exit_code}"
            if result.exit_code:
                raise AppFailed(
                    f"{self._name}: the release command {' '.join(service.release)} ended with {result.exit_code}.",
                    advice="Nothing was started. See that it may run again, then push a fix or `pushlive retry`.",
                    evidence=tuple(result.output.splitlines()[-LOG_LINES:]),
                )
        return self._acting().commands.forget_command(self._spec, name)

    def _released(self) -> bool:
        """True where an earlier worker of this run saw the command succeed: it is gone from the engine by then."""
        steps = self._work.run.steps
        return any((step.stage, step.step, step.ok) == (self._name, "release", True) for step in steps)

    def _run_to_its_end(self, name: str, argv: tuple[str, ...], watch: Watch) -> CommandResult:
        tell = self._work.emitter(self._name)
        try:
            return self._acting().commands.command(self._spec, name, argv, {}, tell, watch)
        except TimedOut as error:
            raise OutcomeUnknown(
                f"{self._name}: the release command {' '.join(argv)} has not ended: {error.message}",
                advice=f"See what it did, then `pushlive resume {self._spec.ref.pipeline} --env {self._name}`.",
            ) from error

    def _start(self) -> None:
        spec = self._spec
        margin = self._config.engine.kind.start_margin
        with self._work.step(self._name, "start", self._config.service.ready + margin) as step:
            warm = self._take_slot()
            if not warm:
                self._engine.slots.fits(spec)
                self._drain(step.watch)
            self._start_watching_the_time(step.watch)
            replicas = self._engine.slots.ready(spec, self._work.emitter(self._name), step.watch)
            self._acting().traffic.expose(spec)
            step.detail = f"{spec.ref.slot}, {'warm' if warm else 'new'}"
            if len(replicas) > 1:
                step.detail += f", {len(replicas)} replicas"

    def _start_watching_the_time(self, watch: Watch) -> None:
        began = self._adapters.clock.monotonic()
        self._acting().slots.start(self._spec, watch)
        took = self._adapters.clock.monotonic() - began
        if took > SLOW_END:
            text = f"{took:.0f} s went into ending what {self._spec.ref.slot} held before; does it ignore SIGTERM? "
            self._work.note(text + "`stop` in pipelines.yaml bounds it", self._name)

    def _smoke(self) -> None:
        timeout = 60.0 + sum(check.allowance for check in self._config.smoke)
        with self._work.step(self._name, "smoke", timeout) as step:
            checker = self._checker(step.watch)
            route = self._engine.traffic.preview(self._spec)
            results = checker.identity(self._spec, route)
            if results[0].ok:
                results += checker.run(self._spec, self._config.smoke)
            self._keep_checks((), results)
            step.detail = f"{sum(check.ok for check in results)}/{len(self._config.smoke) + 1}"
            checker.must_pass(
                results, f"{self._name} {self._release.name}", self._logs, "No traffic went there."
            )

    def _switch(self) -> None:
        with self._work.step(self._name, "switch", 60.0) as step:
            self._work.still_wanted()
            self._change(self._intend)
            self._acting().traffic.switch(self._spec)
            before = self._environment().active
            now, keep = self._adapters.clock.now(), self._config.service.keep_warm
            slot = self._spec.ref.slot
            step.detail = f"{before or 'nothing'} → {slot}"
            self._finish(step, lambda _, run, env: slots.serving(env, slot, run, now, keep))

    def _verify(self) -> None:
        with self._work.step(self._name, "verify", 60.0) as step:
            before = self._work.run.checks.get(self._name, ())
            route = self._engine.traffic.public(self._spec)
            checker = self._checker(step.watch)
            results = checker.identity(self._spec, route, VERIFY_REQUESTS)
            self._keep_checks(before, results)
            step.detail = f"{sum(check.ok for check in results)}/{len(results)}"
            where = f"{self._name} {self._release.name}, after the switch"
            checker.must_pass(
                results, where, self._logs, "Traffic goes back to the release before it, where there is one."
            )
            self._finish(step, self._verified)

    def _end_connections(self) -> None:
        """After a revert nobody is to be answered by the bad release for longer than it takes. Not before the good one
        was verified: until then it may have to take the traffic again."""
        slot = other(self._spec.ref.slot)
        environment = self._environment()
        record = environment.slots.get(slot)
        if self._work.run.kind != Kind.REVERT or record is None or record.state != SlotState.WARM:
            return
        ref, mark = slots.slot_ref(environment, slot), slots.mark_of(record)
        try:
            count = self._acting().traffic.detach(ref, mark)
        except StoreUnavailable:
            raise
        except PushliveError as error:
            text = f"connections to {slot} may last until `drain` is over: {error.message}"
            self._work.note(text, self._name, "warning")
            return
        if count:
            text = f"the pods of {slot} ({count}) were replaced, so that no connection stays on it"
            self._work.note(text, self._name)

    # ── deciding what the record says ────────────────────────────────────────

    def _take_slot(self) -> bool:
        """Writes that the slot is ours; True when it holds this release already, warm."""
        slot = self._spec.ref.slot
        before = self._environment()
        warm = slots.is_warm(before, slot, self._release.number, self._spec.secrets)
        taken = before.slots.get(slot)
        if taken and not warm and taken.state == SlotState.WARM:
            self._work.note(
                f"takes the warm slot {slot} of r{taken.release}; a revert to it is a cold start", self._name
            )
        if not warm:
            now = self._adapters.clock.now()
            self._change(lambda _, run, env: slots.starting(env, slot, run, self._spec, now))
        return warm

    def _intend(self, transaction: Transaction, run: Run, environment: Environment) -> Environment:
        open_runs = transaction.open()
        if gates.interrupted(environment, run, open_runs):
            raise Cancelled(
                f"{run.pipeline}#{environment.interrupt} reverts {self._name}; it wins over {run.id}."
            )
        gates.refuse_overtaken(environment, run, open_runs)
        if environment.hold and run.kind != Kind.REVERT:
            raise Held(f"{self._name} was held meanwhile: {environment.hold.reason}.")
        return replace(environment, switching=self._spec.ref.slot)

    def _verified(self, transaction: Transaction, run: Run, environment: Environment) -> Environment:
        now = self._adapters.clock.now()
        for older in gates.waiting_at(transaction.open(), self._name):
            if older.number < run.number and run.kind != Kind.REVERT:
                supersede(transaction, older, f"{run.id} went to {self._name} before it", now)
        return slots.verified(environment, self._release, run)

    def abandon(self, error: PushliveError, ending: Ending | None) -> None:
        """Leaves the traffic as it was: back to the old slot if it had moved, the new slot kept for a while. The
        record comes first, the run's own with it: should the proxy not follow now, the keeper brings it there."""
        slot, now = self._spec.ref.slot, self._adapters.clock.now()
        moved = slots.switched(self._environment(), self._work.run, slot)
        keep = self._failed_for if isinstance(error, AppFailed | EngineFailed | TimedOut) else 0.0
        # A check that another release answered says nothing against this one.
        bad = self._last and isinstance(error, AppFailed) and not isinstance(error, WrongRelease)

        why = self._work.masked(error.message)

        def act(tx: Transaction, run: Run, environment: Environment) -> Environment:
            back = slots.switched_back if moved else slots.failed
            changed = back(environment, slot, run, now, keep)
            if bad:
                changed = gates.with_quarantine(changed, self._release, why, now)
            if isinstance(error, OutcomeUnknown):
                changed = gates.hold(changed, why, f"{run.id}", now)
                messages.held(tx, changed, run.config, run)
            return changed

        both = self._both(act)
        self._work.change(lambda transaction, run: replace(both(transaction, run), ending=ending))
        if moved:
            self._follow_the_record()

    def _follow_the_record(self) -> None:
        environment = self._environment()
        try:
            if environment.active:
                old = self._old_spec(environment, environment.active)
                self._acting().traffic.switch(old)
                text = f"traffic is back on r{old.release} ({environment.active})"
            else:
                self._acting().traffic.unroute(self._spec.ref)
                text = "nothing to go back to: the route answers 503 again"
        except StoreUnavailable:
            raise
        except PushliveError as error:
            text = (
                f"the proxy does not follow yet ({error.message}); the service brings it there within seconds"
            )
        self._work.note(text, self._name, "warning")

    def _old_spec(self, environment: Environment, slot: str) -> SlotSpec:
        record = environment.slots[slot]
        release = self._work.store.release(environment.pipeline, record.release)
        return slots.spec_of(slots.slot_ref(environment, slot), release, record.run, record.secrets)

    # ── small helpers ────────────────────────────────────────────────────────

    def _environment(self) -> Environment:
        found = self._work.store.environment(self._work.run.pipeline, self._name)
        if found is None:
            raise EngineFailed(
                f"{self._work.run.pipeline}/{self._name} has no record any more.", advice="Push again."
            )
        return found

    def _acting(self) -> Engine:
        """The engine, for an act on it: only while this worker has the run. Raises LeaseLost."""
        self._work.still_ours()
        return self._engine

    def _change(self, act: Change) -> None:
        self._work.change(self._both(act))

    def _finish(self, step: Step, act: Change) -> None:
        self._work.finish(step, self._both(act))

    def _both(self, act: Change) -> Callable[[Transaction, Run], Run]:
        def both(transaction: Transaction, run: Run) -> Run:
            transaction.put_environment(act(transaction, run, transaction.environment(self._name)))
            return run

        return both

    def _drain(self, watch: Watch) -> None:
        """Lets what the slot held before end its open requests; the engine removes it when it starts ours."""
        spec = self._spec
        if any(replica.release != spec.release for replica in self._engine.slots.replicas(spec.ref)):
            closed = self._acting().traffic.drain(spec.ref, self._config.service.drain, watch)
            if closed:
                self._work.note(f"{closed} connections to the old {spec.ref.slot} were closed", self._name)

    def _checker(self, watch: Watch) -> Checker:
        tell, mask = self._work.emitter(self._name), self._work.masked
        return Checker(self._engine, self._adapters.clock, tell, watch, mask)

    def _keep_checks(self, before: tuple[Check, ...], results: tuple[Check, ...]) -> None:
        checks = {self._name: (*before, *results)}
        self._work.change(lambda _, run: replace(run, checks={**run.checks, **checks}))

    def _logs(self) -> tuple[str, ...]:
        try:
            lines = self._engine.slots.logs(self._spec.ref, 10 * LOG_LINES)
        except (ConfigError, EngineFailed) as error:
            # A check failed, and a person has to hear of that one.
            return (f"(its last lines could not be read: {error.message})",)
        return collapsed(lines)[-LOG_LINES:]


def _cut(line: str) -> str:
    """A line as it is kept in a record; the whole of it is in `logs --app`."""
    return line if len(line) <= LINE_LIMIT else f"{line[:LINE_LIMIT]} … ({len(line)} characters)"


def collapsed(lines: tuple[str, ...]) -> tuple[str, ...]:
    """Neighbours that differ in figures alone (an access log's health checks) as one line with their number."""
    found: list[tuple[str, str, int]] = []
    for line in map(_cut, lines):
        shape = _FIGURES.sub("#", line)
        count = found.pop()[2] if found and found[-1][1] == shape else 0
        found.append((line, shape, count + 1))
    return tuple(line + (f"  (×{count})" if count > 1 else "") for line, _, count in found)
