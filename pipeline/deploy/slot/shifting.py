"""The step ``shift``: a release gets a share of the new visitors, then a larger one, before it gets all.

While two slots share the traffic, the record says that the old one serves, and which share the new one has. The record
comes first and the proxy follows: so whatever dies in between, the next worker of the run goes on where the record
says, and the keeper brings the proxy there. A release that fails, or answers worse than the one beside it, gives way as
after a failed check: the record first, then the proxy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from pipeline.config.engines import where_of
from pipeline.config.promotion.shift import Shift as Policy
from pipeline.deploy.environment_record import EnvironmentRecord, MayEnter
from pipeline.deploy.run_context import RunContext, Step
from pipeline.deploy.slot.counting import Counting
from pipeline.domain.engine_types import Share, SlotRef, SlotSpec
from pipeline.domain.environment import Down, Environment
from pipeline.domain.outages import serving_down, serving_unwell
from pipeline.domain.run import Kind
from pipeline.domain.shifting import rule, times
from pipeline.domain.shifting.records import Count, Shift
from pipeline.domain.shifting.times import Times
from pipeline.domain.slots import slot_ref
from pipeline.domain.watching.seen import of_replica
from pipeline.errors import AppFailed, BothFailed, Held, NotFound, PushliveError, StoreUnavailable
from pipeline.lib import codec
from pipeline.lib.units import show_time, write_duration
from pipeline.ports.clock import Deadline
from pipeline.ports.engine import Engine

LOOK = 1.0  # seconds between two looks
WRITE = 5.0  # watched seconds after which what was seen is recorded
MARGIN = 600.0  # seconds on top of the steps: a worker may have died, an engine may be slow
CLEAN_UP = 30.0  # seconds on top of `drain`


class Shifting:
    """For one rollout. ``engine``: to look at; ``acting``: the engine, for a change on it; raises LeaseLost unless this
    worker still has the run."""

    def __init__(
        self,
        context: RunContext,
        engine: Engine,
        acting: Callable[[], Engine],
        record: EnvironmentRecord,
        policy: Policy,
        counting: Counting,
    ) -> None:
        self._context, self._engine, self._acting, self._record = context, engine, acting, record
        self._policy, self._counting = policy, counting
        self._times: Times | None = None
        self._slower = False
        self._untimed = ""

    def check(self, spec: SlotSpec) -> None:
        """Raises what ``Traffic.can_share`` raises if visitors are to be divided and cannot be: before anything is
        started."""
        environment, first = self._record.known, next(iter(self._policy.steps), None)
        shifts = first and spec.web and self._context.run.kind != Kind.REVERT
        if first and shifts and not self._nothing_to_share_with(environment):
            self._engine.traffic.can_share(spec.ref, self._policy.route, first)

    def applies(self, spec: SlotSpec) -> bool:
        """False if all visitors are moved at once: nothing says otherwise, there is nothing to share with, or a person
        wants the release there now."""
        environment = self._record.known
        known = rule.of_run(environment, self._context.run.number)
        if known or not self._policy.steps or self._context.run.kind == Kind.REVERT:
            return known is not None and not known.done
        if why := self._nothing_to_share_with(environment):
            self._context.note(f"all visitors go to r{spec.release} at once: {why}", environment.name)
            return False
        return spec.web

    def _nothing_to_share_with(self, environment: Environment) -> str:
        if environment.serving is None:
            return "no release serves yet"
        if serving_down(environment):
            return f"r{environment.serving}, which serves, is down"
        try:
            before = self._context.store.release(environment.pipeline, environment.serving)
        except NotFound:
            return f"the record of r{environment.serving}, which serves, is lost"
        return "" if before.environments[environment.name].service.web else "what serves has no web process"

    def limit(self) -> float:
        """Seconds for the whole step."""
        return MARGIN + (self._policy.lasts * 2 + rule.LONGER) * len(self._policy.steps)

    def go(self, spec: SlotSpec, step: Step, may_enter: MayEnter) -> None:
        """Raises AppFailed if the release is worse, Held if the environment is held meanwhile, and what stops the
        run."""
        shift = self._begun(spec, may_enter)
        step.begun(shift.since)
        while not shift.done:
            self._acting().traffic.share(spec, shift.percent, shift.route)
            self._tell(shift)
            shift, down = self._step(spec, shift, step)
            if down:
                text = f"r{down.release}, which serves, is down: all visitors go to r{shift.release} at once"
                self._context.note(text, self._record.name, "warning")
                self._record.shifted(rule.finished(shift), 0.0)
                break
            self._context.note(self._over(shift), self._record.name, shift="over")
            shift = rule.next_step(shift)
            self._record.shifted(shift, 0.0)
        shares = ", ".join(map(rule.percent, shift.steps[: shift.step + 1]))
        step.detail = f"{shares} in {_time(shift.watched)}"
        step.data = self._figures(shift)

    def _begun(self, spec: SlotSpec, may_enter: MayEnter) -> Shift:
        """That of the record, if another worker of the run has begun it."""
        environment = self._record.read()
        known = rule.of_run(environment, self._context.run.number)
        if known:
            self._times = times.known(self._kept_times(environment), known)
            return known
        new, old, why_not = self._both(spec, environment)
        shift = Shift(
            spec.ref.slot,
            spec.release,
            self._context.run.number,
            environment.serving or 0,
            self._policy.steps,
            self._policy.lasts,
            self._policy.requests,
            self._context.clock.now(),
            seen=new,
            seen_old=old,
            route=self._policy.route,
            uncounted=why_not,
        )
        self._record.begin_shift(shift, may_enter)
        return shift

    def _step(self, spec: SlotSpec, shift: Shift, step: Step) -> tuple[Shift, Down | None]:
        """Looks until the present step is over, or what serves is down, which is returned, and the new release is not.
        What was seen is recorded now and then, and at its end. Raises AppFailed if the new release is worse, BothFailed
        if both are down."""
        written, told = shift.watched, ""
        while True:
            shift = self._look(spec, shift)
            if (why := rule.longer(shift)) and not told:
                told = why
                self._context.note(f"the step goes on: {why}", self._record.name, "warning")
            down, timed = self._down(), self._look_at_times(spec, shift)
            bad = self._is_bad(shift, down)
            over = bad or (rule.takes_all(shift) if down else rule.is_over(shift))
            timed = timed or (over and self._look_at_times(spec, shift, now=True))
            if over or timed or shift.watched - written >= WRITE or not written:
                self._record.shifted(shift, shift.watched - written, self._times if timed else None)
                written = shift.watched
            if bad:
                step.data = self._figures(shift)
                raise self._worse(spec, shift, down)
            if written == shift.watched:  # it was recorded just now
                self._insist_on_share(spec, shift)
            if over:
                return shift, down
            left = shift.lasts - shift.passed
            step.watch.wait(max(0.05, left) if 0 < left < LOOK else LOOK)

    def _look(self, spec: SlotSpec, shift: Shift) -> Shift:
        environment = self._record.read()
        if environment.hold and self._context.run.kind != Kind.REVERT:
            raise Held(f"{environment.name} is held: {environment.hold.reason}.")
        new, old, why_not = self._both(spec, environment)
        if why_not and why_not != shift.uncounted:
            self._context.note(f"requests are not counted: {why_not}", self._record.name, "warning")
        checked = {one.name: one for one in self._engine.traffic.health(spec)}
        seen = [
            of_replica(one, checked.get(one.name), self._context.masked)
            for one in self._engine.slots.replicas(spec.ref)
        ]
        shift = rule.looked(shift, new, old, seen, self._context.clock.now())
        return replace(shift, uncounted=why_not)

    def _both(self, spec: SlotSpec, environment: Environment) -> tuple[Count, Count, str]:
        """The counters of the new slot and of the old one, and why they do not count now, "" if they do."""
        found = [
            self._counting.answered(ref, self._namespace(spec)) for ref in (spec.ref, _serving(environment))
        ]
        new, old = (Count(one.requests, one.errors) for one in found)
        return new, old, self._counting.why_not

    def _namespace(self, spec: SlotSpec) -> str:
        """The configured one, else the one that the engine itself is in; "" on Docker."""
        named = where_of(spec.ref.engine).namespace
        return (
            named or self._engine.traffic.public(spec).service.partition("/")[0] if self._policy.route else ""
        )

    def _insist_on_share(self, spec: SlotSpec, shift: Shift) -> None:
        """The proxy keeps to its share; an HTTPRoute may be changed by others."""
        if not shift.route or self._engine.traffic.shared(spec.ref) == Share(shift.slot, shift.percent):
            return
        self._acting().traffic.share(spec, shift.percent, shift.route)
        text = f"HTTPRoute {shift.route} was changed by others; r{shift.release} has its part of the visitors again"
        self._context.note(text, self._record.name, "warning")

    def _look_at_times(self, spec: SlotSpec, shift: Shift, *, now: bool = False) -> bool:
        """Whether more is known of how long answers took: a stretch of time is over, or it is asked for ``now``."""
        if not now and not times.is_due(self._times, shift):
            return False
        new, old = (
            self._counting.timed(ref, self._namespace(spec))
            for ref in (spec.ref, _serving(self._record.known))
        )
        why = self._counting.why_untimed
        if new and old and not times.comparable(new, old):
            new, why = None, "the histograms of the two releases have no bound in common"
        if why and why != self._untimed:
            self._context.note(f"answers are not compared by time: {why}", self._record.name, "warning")
        self._untimed = why
        if new is None or old is None:  # nothing measures
            return False
        self._times = times.looked(self._times, shift, new, old)
        self._slower = self._slower or (not now and times.is_slower(self._times, shift))
        return True

    def _kept_times(self, environment: Environment) -> Times | None:
        return times.read(self._context.store.facts.get(times.fact_name(environment.id)))

    def _figures(self, shift: Shift) -> dict[str, Any]:
        """What is kept with the step, and told to receivers: shares in percent, times in seconds."""
        new, old = map(codec.plain, rule.counted(shift))
        return {
            "release": shift.release,
            "before": shift.before,
            "percent": shift.percent,
            "shares": list(shift.steps),
            "seconds": shift.watched,
            **new,
            "old": old,
            "latency": times.plain(self._times),
            "steps": list(rule.evidence(shift, self._times)),
        }

    def _over(self, shift: Shift) -> str:
        head = f"{rule.percent(shift.percent)} went to r{shift.release} for {_time(shift.passed)}"
        return f"{head}: {rule.answers(shift, shift.step, self._times)}"

    def _down(self) -> Down | None:
        """That what serves is down, by the look before: no visitor is sent back to it, and the new release is not
        compared with it."""
        return serving_down(self._record.known)

    def _is_bad(self, shift: Shift, down: Down | None) -> bool:
        """Whether the release goes back. What both suffer shows in one of them first: then the other is waited for."""
        fails = rule.fails(shift)
        if down or (fails and serving_unwell(self._record.known, self._context.clock.now())):
            return fails and down is not None
        return bool(rule.fault(shift, slower=self._slower))

    def _worse(self, spec: SlotSpec, shift: Shift, down: Down | None) -> AppFailed:
        command, name = spec.ref.output_command, self._record.name
        text = (
            f"{name} r{shift.release} failed while it had {rule.percent(shift.percent)} of the {rule.whom(shift)}: "
            f"{rule.fault(shift, slower=self._slower)}: {rule.answers(shift, timed=self._times)}."
        )
        if down:
            return BothFailed(
                f"{text} r{down.release}, which serves, is down as well, since {show_time(down.since)}: {down.said}.",
                advice=f"`{command}` prints what both wrote. If they fail for the same reason, correct that, then "
                f"`pushlive retry '{self._context.run.id}'`; else push a fix.",
                facts=tuple(rule.evidence(shift, self._times)),
            )
        return AppFailed(
            text,
            advice=f"All visitors are on r{shift.before} again. `{command}` prints what both wrote; push a fix.",
            # In the first step they are those of the message.
            facts=tuple(rule.evidence(shift, self._times)) if shift.step else (),
        )

    def _tell(self, shift: Shift) -> None:
        enough = f", or {shift.enough:,} requests" if shift.enough else ""
        part = f"{rule.percent(shift.percent)} of {rule.whom(shift)}"
        text = f"{part} go to r{shift.release}, the others to r{shift.before}"
        left = _time(max(0.0, shift.lasts - shift.passed))
        self._context.note(f"{text}, for {left}{enough}", self._record.name, shift="begins")
        if shift.uncounted and not shift.step:
            text = f"only its replicas are watched: requests are not counted, since {shift.uncounted}"
            self._context.note(text, self._record.name, "warning")

    # ── back ─────────────────────────────────────────────────────────────────

    def back(self, spec: SlotSpec) -> bool:
        """After the record says that the shift is over: all traffic goes to what serves, and what the new slot still
        answers may end. True unless the slot may still get requests. A revert that is due does not wait."""
        name = self._record.name
        try:
            self._acting().traffic.unshare(spec.ref)
            environment = self._record.read()
            self._context.note(f"all visitors are on r{environment.serving} again", name, "warning")
            if not environment.interrupt:
                drain = spec.config.service.drain
                watch = Deadline(self._context.clock, drain + CLEAN_UP, "drain")
                closed = self._acting().traffic.drain(spec.ref, drain, watch)
                if closed:
                    self._context.note(f"{closed} connections to r{spec.release} were closed", name)
        except StoreUnavailable:
            raise
        except PushliveError as error:
            text = (
                f"the proxy still shares the traffic ({error.message}); the service ends that within seconds"
            )
            self._context.note(text, name, "warning")
            return False
        return True


def _serving(environment: Environment) -> SlotRef:
    return slot_ref(environment, environment.active or "")


def _time(seconds: float) -> str:
    return write_duration(float(round(seconds)) if seconds >= 1 else seconds)
