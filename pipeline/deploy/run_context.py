"""A run that a worker has claimed: its leases, its log, and the only way to change its record."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from pipeline.deploy.deadline import StepDeadline
from pipeline.deploy.heartbeat import LeaseHeartbeat
from pipeline.domain.environment import Environment
from pipeline.domain.events import Event
from pipeline.domain.run import Run, State, StepResult
from pipeline.domain.tracing import spans
from pipeline.errors import (
    Abandoned,
    Cancelled,
    Interrupted,
    LeaseLost,
    PushliveError,
    StoreUnavailable,
    single_stops,
)
from pipeline.lib.secret import Secret
from pipeline.ports.clock import Clock
from pipeline.runlog.file import RunLog
from pipeline.secrets.redaction import Mask
from pipeline.secrets.run_redaction import Masker
from pipeline.store import Lease, Store, Transaction

T = TypeVar("T")
Change = Callable[[Transaction, Run], Run]

FLUSH_EVERY = 0.1  # seconds that a line of output may wait for others
LINES = 4000  # lines of output of one run that go to followers; all of them go to the log
OUTPUT = 1 << 20  # characters of them: the store keeps them in memory for a month


@dataclass
class Step:
    """A step while it runs."""

    stage: str
    name: str
    watch: StepDeadline
    clock: Clock
    detail: str = ""
    data: dict[str, Any] = field(default_factory=dict)
    also: Change | None = None  # what is written together with its result, whatever that is
    recorded: bool = False  # its result was written together with what it did

    def __post_init__(self) -> None:
        self._started, self._began = self.clock.now(), self.clock.monotonic()

    def begun(self, at: float) -> None:
        """Another worker began it, at that time (seconds since the epoch)."""
        self._began -= max(0.0, self._started - at)
        self._started = min(self._started, at)

    def result(self, problem: str | None = None) -> StepResult:
        """Success, unless there is a problem."""
        seconds, detail = self.clock.monotonic() - self._began, self.detail if problem is None else problem
        return StepResult(self.stage, self.name, self._started, seconds, problem is None, detail, self.data)


class RunContext:
    """One claimed run. ``run`` is the record as this worker last saw it."""

    def __init__(
        self, store: Store, clock: Clock, run: Run, lease: Lease, heartbeat: LeaseHeartbeat, log: RunLog
    ) -> None:
        self.store, self.clock, self.run, self.lease = store, clock, run, lease
        self._heartbeat, self._log = heartbeat, log
        self._fences: tuple[Lease, ...] = (lease,)
        self._buffer: list[Event] = []
        self._flushed = 0.0
        self._lines, self._output = 0, 0  # that followers were given
        self._masker = Masker(Mask())
        self._told = False  # when a cancellation takes effect
        self._step = "", ""  # the stage and the name of the last one
        self._acts_in = ""  # the environment where a revert may interrupt it

    # ── changing the record ──────────────────────────────────────────────────

    def change(self, act: Change, *events: Event) -> Run:
        """One transaction, fenced by the leases that this worker holds. ``act`` gets the run as the store has it and
        returns the run to write. Raises LeaseLost if one of the leases is lost, and what ``act`` raises."""
        masked = [event for event in map(self._masker.event, events) if event]
        buffered, self._buffer = self._buffer, []

        def whole(transaction: Transaction) -> Run:
            run = self._masker.run(act(transaction, transaction.run(self.run.number)))
            transaction.put_run(run)
            for event in (*buffered, *masked):
                transaction.event(run.number, event)
            return run

        try:
            self.run = self.store.transact(
                self.run.pipeline, whole, fence=self._fences, reads=(self.run.number, self._acts_in)
            )
        except BaseException:
            self._buffer = [*buffered, *self._buffer]
            raise
        self._flushed = time.monotonic()
        for event in masked:
            self._log.write(event)
        return self.run

    def update(self, *events: Event, **changes: Any) -> Run:
        return self.change(lambda _, run: replace(run, **changes), *events)

    @contextmanager
    def step(
        self,
        stage: str,
        name: str,
        timeout: float,
        advice: str,
        *,
        cancellable: bool = True,
        command: bool = False,
    ) -> Iterator[Step]:
        """Times a step and records its result, also when it fails. ``timeout``: seconds; ``advice``: what a person can
        do about a timeout. ``cancellable=False``: a person's cancellation waits for its end, and is told so; a revert
        does not. ``command``: a person may say that a command of the release is no longer waited for."""

        def look() -> None:
            self.flush()
            self.still_wanted(let_finish=not cancellable, command=command)

        until = 0.0 if cancellable else self.clock.now() + timeout
        if until or command:
            self.update(busy_until=until, command=name if command else "")
        watch = StepDeadline(self.clock, timeout, f"{stage}/{name}", advice, look)
        step = Step(stage, name, watch, self.clock)
        self.store.journal.write(
            "step_begun", pipeline=self.run.pipeline, environment="" if stage == "build" else stage, run=self.run.id,
            kind=str(self.run.kind), stage=stage, step=name,
        )  # fmt: skip
        self._step = stage, name
        try:
            step.watch.check()
            yield step
        except PushliveError as error:
            self._record(step.result(error.message), step.also)
            raise
        if not step.recorded:
            self._record(step.result(), step.also)

    def finish(self, step: Step, act: Change) -> None:
        """A step's last change in one transaction with its result, so that no crash comes between the two."""
        self._record(step.result(), step.also, act)
        step.recorded = True

    def _record(self, result: StepResult, *acts: Change | None) -> None:
        data = {"seconds": result.seconds, "ok": result.ok, "detail": result.detail}
        event = Event("step", self.clock.now(), result.detail, result.stage, result.step, data)

        def whole(transaction: Transaction, run: Run) -> Run:
            for act in filter(None, acts):
                run = act(transaction, run)
            # A step that is done again after a crash replaces its earlier result.
            before = (s for s in run.steps if (s.stage, s.step) != (result.stage, result.step))
            return replace(run, steps=(*before, result), busy_until=0.0, command="")

        self.change(whole, event)

    @property
    def trace(self) -> dict[str, str]:
        """Headers for what the present step asks or starts, none without traces. The run says the same in each
        worker."""
        traces = self.store.traces
        return spans.handed_on(traces.instance, self.run, *self._step) if traces.on else {}

    # ── events ───────────────────────────────────────────────────────────────

    def redact(self, mask: Mask) -> None:
        """From now on nothing that this mask finds is shown or recorded."""
        self._masker.mask = mask

    def redact_also(self, values: Iterable[Secret]) -> None:
        self._masker.mask = self._masker.mask.also(values)

    def masked(self, text: str) -> str:
        return self._masker.mask.text(text)

    def masked_lines(self, lines: tuple[str, ...]) -> tuple[str, ...]:
        """Consecutive lines of an application's output."""
        return self._masker.mask.lines(lines)

    def masked_run(self, run: Run) -> Run:
        """The record as ``change`` writes it, for a message that is made in the same transaction."""
        return self._masker.run(run)

    def emit(self, event: Event) -> None:
        """Writes to the log and to followers. Followers get output and checks in batches, of output ``LINES`` and
        ``OUTPUT`` at most."""
        masked = self._masker.event(event)
        if masked is None:
            return
        event = masked
        self._log.write(event)
        if event.kind == "line":
            if self._lines >= LINES or self._output >= OUTPUT:
                return
            self._lines += 1
            self._output += len(event.text)
            if self._lines >= LINES or self._output >= OUTPUT:
                event = replace(event, text=f"… more output is in the log: `pushlive logs '{self.run.id}'`")
        self._buffer.append(event)
        if event.kind not in ("line", "check") or time.monotonic() - self._flushed > FLUSH_EVERY:
            self.flush()

    def log_only(self, event: Event) -> None:
        """For what followers have been told already."""
        masked = self._masker.event(event)
        if masked:
            self._log.write(masked)

    def flush(self) -> None:
        if self._buffer:
            buffer, self._buffer = self._buffer, []
            self.store.events.append(self.run.id, buffer, self.lease)
            self._flushed = time.monotonic()

    def emitter(self, stage: str) -> Callable[[Event], None]:
        """An Emit that puts the stage's name on every event."""
        return lambda event: self.emit(replace(event, stage=event.stage or stage))

    def note(self, text: str, stage: str = "", kind: str = "note", **data: Any) -> None:
        self.emit(Event(kind, self.clock.now(), single_stops(text), stage, data=data))

    # ── leases and cancellation ──────────────────────────────────────────────

    @contextmanager
    def holding(self, lease: Lease, environment: str = "") -> Iterator[None]:
        """Renews the lease, and fences what this worker writes by it as well. ``environment``: where a revert may
        interrupt the run meanwhile; "": nowhere."""
        self._heartbeat.hold(lease)
        self._fences, self._acts_in = (*self._fences, lease), environment
        try:
            yield
        finally:
            self._fences, self._acts_in = tuple(one for one in self._fences if one != lease), ""
            self._heartbeat.drop(lease)

    def still_ours(self) -> None:
        """Asked before each act outside the store: engines know no fencing tokens. Raises LeaseLost."""
        if not self._heartbeat.ours():
            raise self._lost()

    def _lost(self) -> LeaseLost:
        return LeaseLost(f"the lease on {self.run.id} is lost; this worker stops.")

    def still_wanted(self, let_finish: bool = False, command: bool = False) -> None:
        """Raises LeaseLost, or Cancelled if a person or a revert stops the run. ``let_finish``: a person stops it only
        later, which is said once. ``command``: raises Abandoned if a person no longer waits for its command."""
        if self._heartbeat.lost:
            raise self._lost()
        mine = self.run.pipeline, self.run.number
        try:
            standing = self.store.standing(self._heartbeat.held, *mine, self._acts_in)
        except StoreUnavailable:
            return  # waiting for the store is no reason to give up; the lease decides
        if standing is None:
            raise self._lost()
        run, environment = standing
        if run.cancel and not let_finish:
            raise Cancelled(f"{run.id} was cancelled: {run.cancel}.")
        if run.cancel and not self._told:
            self._told = True
            self.note(
                f"{run.id} was cancelled {run.cancel}. {run.cancelled_when(self.clock.now())}",
                run.stage,
                "warning",
            )
        if environment and self._interrupted(environment, run):
            raise interruption(environment, run)
        if run.abandon and command:
            raise Abandoned(f"The {run.command or 'release'} command was abandoned {run.abandon}.")

    def _interrupted(self, environment: Environment, run: Run) -> bool:
        if environment.interrupt in (0, run.number):
            return False
        return self.store.run(run.pipeline, environment.interrupt).state != State.ENDED


def interruption(environment: Environment, run: Run) -> Interrupted:
    """What stops a run in an environment that is to be reverted."""
    revert = f"{run.pipeline}#{environment.interrupt}"
    return Interrupted(f"{revert} reverts {environment.name}; it takes precedence over {run.id}.")
