"""Blue-green in one environment. A revert is the same story with an older release.

    release ▶ start ▶ smoke ▶ switch ▶ verify

Traffic moves only by ``switch``, only to a slot whose checks have just passed on that very release; intent is
written before, outcome after. A failure leaves the traffic as it was.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from pipeline import promotion
from pipeline.admission import supersede
from pipeline.errors import (
    AppFailed,
    Cancelled,
    EngineFailed,
    LeaseLost,
    OutcomeUnknown,
    PushliveError,
    StoreUnavailable,
    Superseded,
)
from pipeline.model import (
    Check,
    Environment,
    Kind,
    Place,
    Release,
    Run,
    SlotSpec,
    SlotState,
)
from pipeline.ports import Parts, Watch
from pipeline.smoke import Checker, must_pass
from pipeline.store import Transaction
from pipeline.work import Work

START_MARGIN = 60.0  # seconds for the engine itself, on top of the application's own `ready`
RELEASE_TIMEOUT = 1800.0  # seconds; a release command is not cut before
VERIFY_REQUESTS = 3  # fresh connections on the public route after the switch
LOG_LINES = 20
_FIGURES = re.compile(r"\d+")


class Rollout:
    """One release into one environment. ``last`` marks the environment that is live: a failure there puts the
    release in quarantine. ``failed_for``: seconds that a failed slot is kept."""

    def __init__(
        self, work: Work, parts: Parts, release: Release, name: str, *, last: bool, failed_for: float
    ) -> None:
        self._work, self._parts, self._release, self._name = work, parts, release, name
        self._last, self._failed_for = last, failed_for
        self._config = release.environments[name]
        environment = self._environment()
        slot = promotion.slot_for(environment, work.run, release.number)
        place = Place(environment.pipeline, name, environment.index, slot)
        run = work.run.number
        self._spec = SlotSpec(place, release.number, run, release.commit, release.image, self._config)

    def go(self) -> None:
        """Raises what stopped it; whatever was begun is then in the record and kept or cleared by the keeper."""
        try:
            self._parts.engine.prepare(self._spec.place, self._config.hosts)
            if not promotion.switched(self._environment(), self._work.run, self._spec.place.slot):
                self._release_command()
                self._start()
                self._smoke()
                self._switch()
            self._verify()
        except (LeaseLost, StoreUnavailable):
            raise  # whoever takes the run up next finds everything as it is
        except PushliveError as error:
            self._abandon(error)
            raise

    # ── the steps ────────────────────────────────────────────────────────────

    def _release_command(self) -> None:
        service = self._config.service
        if not service.release or self._work.run.kind == Kind.REVERT:
            return  # a revert never runs a migration again
        name = f"release-{self._work.run.number}"
        with self._work.step(self._name, "release", RELEASE_TIMEOUT) as step:
            tell, watch = self._work.teller(self._name), step.watch
            result = self._parts.engine.command(self._spec, name, service.release, {}, tell, watch)
            step.detail = f"exit {result.exit_code}"
            if result.exit_code:
                raise AppFailed(
                    f"{self._name}: the release command {' '.join(service.release)} ended with {result.exit_code}.",
                    advice="Nothing was started. See that it may run again, then push a fix or `pushlive retry`.",
                    evidence=tuple(result.output.splitlines()[-LOG_LINES:]),
                )

    def _start(self) -> None:
        engine, spec = self._parts.engine, self._spec
        with self._work.step(self._name, "start", self._config.service.ready + START_MARGIN) as step:
            warm = self._take_slot()
            if not warm:
                engine.fits(spec)
                self._drain(step.watch)
            engine.start(spec, step.watch)
            replicas = engine.ready(spec, self._work.teller(self._name), step.watch)
            engine.expose(spec)
            step.detail = f"{spec.place.slot}, {'warm' if warm else 'new'}"
            if len(replicas) > 1:
                step.detail += f", {len(replicas)} replicas"

    def _smoke(self) -> None:
        timeout = 60.0 + sum(check.within + getattr(check, "retry", 0.0) for check in self._config.smoke)
        with self._work.step(self._name, "smoke", timeout) as step:
            checker = self._checker(step.watch)
            route = self._parts.engine.preview(self._spec)
            results = checker.identity(self._spec, route)
            if results[0].ok:
                results += checker.run(self._spec, self._config.smoke)
            self._keep_checks(results)
            step.detail = f"{sum(check.ok for check in results)}/{len(self._config.smoke) + 1}"
            must_pass(results, f"{self._name} {self._release.name}", self._logs)

    def _switch(self) -> None:
        with self._work.step(self._name, "switch", 60.0) as step:
            self._work.still_wanted()
            self._change(self._intend)
            self._parts.engine.switch(self._spec)
            before = self._environment().active
            self._change(self._switched)
            step.detail = f"{before or 'nothing'} → {self._spec.place.slot}"

    def _verify(self) -> None:
        with self._work.step(self._name, "verify", 60.0) as step:
            route = self._parts.engine.public(self._spec)
            results = self._checker(step.watch).identity(self._spec, route, VERIFY_REQUESTS)
            self._keep_checks(results)
            step.detail = f"{sum(check.ok for check in results)}/{len(results)}"
            must_pass(results, f"{self._name} {self._release.name}, after the switch", self._logs)
        self._change(
            lambda _, __, environment: promotion.verified(environment, self._release.number, self._work.run)
        )

    # ── deciding what the record says ────────────────────────────────────────

    def _take_slot(self) -> bool:
        """Writes that the slot is ours; True when it holds this release already, warm."""
        slot = self._spec.place.slot
        before = self._environment()
        warm = promotion.is_warm(before, slot, self._release.number)
        taken = before.slots.get(slot)
        if taken and not warm and taken.state == SlotState.WARM:
            self._work.note(
                f"takes the warm slot {slot} of r{taken.release}; a revert to it is a cold start", self._name
            )
        if not warm:
            now = self._parts.clock.now()
            self._change(lambda _, run, env: promotion.starting(env, slot, run, self._release.number, now))
        return warm

    def _intend(self, transaction: Transaction, run: Run, environment: Environment) -> Environment:
        if promotion.interrupted(environment, run, transaction.open()):
            raise Cancelled(
                f"{run.pipeline}#{environment.interrupt} reverts {self._name}; it wins over {run.id}."
            )
        if promotion.overtaken(environment, run):
            raise Superseded(
                f"{run.pipeline}#{environment.newest_run} is newer and serves {self._name} already."
            )
        if environment.hold and run.kind != Kind.REVERT:
            raise Cancelled(f"{self._name} was held meanwhile: {environment.hold.reason}.")
        return replace(environment, switching=self._spec.place.slot)

    def _switched(self, transaction: Transaction, run: Run, environment: Environment) -> Environment:
        now = self._parts.clock.now()
        for older in promotion.waiting_at(transaction.open(), self._name):
            if older.number < run.number and run.kind != Kind.REVERT:
                supersede(transaction, older, f"{run.id} went to {self._name} before it", now)
        keep = self._config.service.keep_warm
        return promotion.serving(environment, self._spec.place.slot, run, now, keep)

    def _abandon(self, error: PushliveError) -> None:
        """Leaves the traffic as it was: back to the old slot if it had moved, the new slot kept for a while."""
        slot, now = self._spec.place.slot, self._parts.clock.now()
        if promotion.switched(self._environment(), self._work.run, slot):
            self._switch_back()
        keep = self._failed_for if isinstance(error, AppFailed | EngineFailed) else 0.0

        def act(_: Transaction, run: Run, environment: Environment) -> Environment:
            changed = promotion.failed(environment, slot, run, now, keep)
            if isinstance(error, AppFailed) and self._last:
                changed = promotion.with_quarantine(changed, self._release, error.message, now)
            if isinstance(error, OutcomeUnknown):
                changed = promotion.hold(changed, error.message, f"{run.id}", now)
            return changed

        self._change(act)

    def _switch_back(self) -> None:
        environment, slot = self._environment(), self._spec.place.slot
        back = promotion.switched_back(environment, slot, self._parts.clock.now(), self._failed_for)
        if back.active:
            old = self._old_spec(environment, back.active)
            self._parts.engine.switch(old)
            self._work.note(f"traffic is back on r{old.release} ({back.active})", self._name, "warning")
        else:
            self._parts.engine.unroute(self._spec.place)
            self._work.note("nothing to go back to: the route answers 503 again", self._name, "warning")
        now, keep = self._parts.clock.now(), self._failed_for
        self._change(lambda _, __, env: promotion.switched_back(env, slot, now, keep))

    def _old_spec(self, environment: Environment, slot: str) -> SlotSpec:
        record = environment.slots[slot]
        release = self._work.store.release(environment.pipeline, record.release)
        place = replace(self._spec.place, slot=slot)
        config = release.environments[self._name]
        return SlotSpec(place, release.number, record.run, release.commit, release.image, config)

    # ── small helpers ────────────────────────────────────────────────────────

    def _environment(self) -> Environment:
        found = self._work.store.environment(self._work.run.pipeline, self._name)
        if found is None:
            raise EngineFailed(
                f"{self._work.run.pipeline}/{self._name} has no record any more.", advice="Push again."
            )
        return found

    def _change(self, act: Callable[[Transaction, Run, Environment], Environment]) -> None:
        def both(transaction: Transaction, run: Run) -> Run:
            transaction.put_environment(act(transaction, run, transaction.environment(self._name)))
            return run

        self._work.change(both)

    def _drain(self, watch: Watch) -> None:
        """Lets what the slot held before end its open requests; the engine removes it when it starts ours."""
        engine, spec = self._parts.engine, self._spec
        if any(replica.release != spec.release for replica in engine.replicas(spec.place)):
            closed = engine.drain(spec.place, self._config.service.drain, watch)
            if closed:
                self._work.note(f"{closed} connections to the old {spec.place.slot} were closed", self._name)

    def _checker(self, watch: Watch) -> Checker:
        parts = self._parts
        return Checker(parts.engine, parts.probe, parts.clock, self._work.teller(self._name), watch)

    def _keep_checks(self, results: tuple[Check, ...]) -> None:
        stage = self._name
        self._work.change(
            lambda _, run: replace(run, checks={**run.checks, stage: (*run.checks.get(stage, ()), *results)})
        )

    def _logs(self) -> tuple[str, ...]:
        return collapsed(self._parts.engine.logs(self._spec.place, 10 * LOG_LINES))[-LOG_LINES:]


def collapsed(lines: tuple[str, ...]) -> tuple[str, ...]:
    """Neighbours that differ in figures alone (an access log's health checks) as one line with their number."""
    found: list[tuple[str, str, int]] = []
    for line in lines:
        shape = _FIGURES.sub("#", line)
        count = found.pop()[2] if found and found[-1][1] == shape else 0
        found.append((line, shape, count + 1))
    return tuple(line + (f"  (×{count})" if count > 1 else "") for line, _, count in found)
