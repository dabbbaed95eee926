"""A run in a worker's hands: its lease, its patience, its log, and the only way to change its record."""

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
from pipeline.errors import Cancelled, LeaseLost, PushliveError, StoreUnavailable
from pipeline.lib.secret import Secret
from pipeline.ports.clock import Clock
from pipeline.runlog.file import RunLog
from pipeline.secrets.redaction import Mask
from pipeline.secrets.run_redaction import Masker
from pipeline.store import Lease, Store, Transaction

T = TypeVar("T")


FLUSH_EVERY = 0.1  # seconds that a line of output may wait for others


LINES = 4000  # lines of output of one run that go to followers; all of them go to the log


@dataclass
class Step:
    """What a step tells of itself while it runs."""

    stage: str
    name: str
    watch: StepDeadline
    clock: Clock
    detail: str = ""
    data: dict[str, Any] = field(default_factory=dict)
    kept: bool = False  # its result is in the record already, written together with what it did

    def __post_init__(self) -> None:
        self._started, self._began = self.clock.now(), self.clock.monotonic()

    def result(self, problem: str | None = None) -> StepResult:
        """How it went: well, unless there is a problem."""
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
        self._lines = 0
        self._masker = Masker(Mask())
        self.environment = ""  # where it acts now: a revert may interrupt it there

    # ── changing the record ──────────────────────────────────────────────────

    def change(self, act: Callable[[Transaction, Run], Run], *events: Event) -> Run:
        """One transaction, fenced by the leases on the run and on where it acts: the run as the store has it now → the
        run to keep."""
        self.flush()
        told = [event for event in map(self._masker.event, events) if event]

        def whole(transaction: Transaction) -> Run:
            run = self._masker.run(act(transaction, transaction.run(self.run.number)))
            transaction.put_run(run)
            for event in told:
                transaction.event(run.number, event)
            return run

        self.run = self.store.transact(self.run.pipeline, whole, fence=self._fences)
        for event in told:
            self._log.write(event)
        return self.run

    def update(self, *events: Event, **changes: Any) -> Run:
        return self.change(lambda _, run: replace(run, **changes), *events)

    @contextmanager
    def step(self, stage: str, name: str, timeout: float, *, cancellable: bool = True) -> Iterator[Step]:
        """Times a step and keeps its result, also when it fails. ``heed=False``: no wish of a person cuts it."""

        def look() -> None:
            self.flush()
            if cancellable:
                self.still_wanted()
            else:
                self.still_ours()

        step = Step(stage, name, StepDeadline(self.clock, timeout, f"{stage}/{name}", look), self.clock)
        try:
            step.watch.check()
            yield step
        except PushliveError as error:
            self._keep(step.result(error.message))
            raise
        if not step.kept:
            self._keep(step.result())

    def finish(self, step: Step, act: Callable[[Transaction, Run], Run]) -> None:
        """A step's last change, in one transaction with its result: no crash comes between what was done and that
        it was done."""
        self._keep(step.result(), act)
        step.kept = True

    def _keep(self, result: StepResult, act: Callable[[Transaction, Run], Run] = lambda _, run: run) -> None:
        data = {"seconds": result.seconds, "ok": result.ok, "detail": result.detail}
        event = Event("step", self.clock.now(), result.detail, result.stage, result.step, data)

        def whole(transaction: Transaction, run: Run) -> Run:
            run = act(transaction, run)
            # A step that is done again after a crash replaces what it said before.
            before = (s for s in run.steps if (s.stage, s.step) != (result.stage, result.step))
            return replace(run, steps=(*before, result))

        self.change(whole, event)

    # ── telling ──────────────────────────────────────────────────────────────

    def redact(self, mask: Mask) -> None:
        """From now on nothing that this mask finds is told, nor written into the record."""
        self._masker.mask = mask

    def redact_also(self, values: Iterable[Secret]) -> None:
        self._masker.mask = self._masker.mask.also(values)

    def masked(self, text: str) -> str:
        return self._masker.mask.text(text)

    def masked_run(self, run: Run) -> Run:
        """The record as ``change`` writes it, for what is told of it in the same transaction."""
        return self._masker.run(run)

    def emit(self, told: Event) -> None:
        """Tells followers and the log; output lines are sent in bundles and bounded in number."""
        event = self._masker.event(told)
        if event is None:
            return
        self._log.write(event)
        if event.kind == "line":
            self._lines += 1
            if self._lines == LINES:
                event = replace(event, text="… more output is in the log: pushlive logs " + self.run.id)
            if self._lines > LINES:
                return
        self._buffer.append(event)
        if event.kind != "line" or time.monotonic() - self._flushed > FLUSH_EVERY:
            self.flush()

    def flush(self) -> None:
        if self._buffer:
            buffer, self._buffer = self._buffer, []
            self.store.events.append(self.run.id, buffer, self.lease)
            self._flushed = time.monotonic()

    def emitter(self, stage: str) -> Callable[[Event], None]:
        """An Emit that puts the stage's name on every event."""
        return lambda event: self.emit(replace(event, stage=event.stage or stage))

    def note(self, text: str, stage: str = "", kind: str = "note", **data: Any) -> None:
        self.emit(Event(kind, self.clock.now(), text, stage, data=data))

    # ── still ours, still wanted ─────────────────────────────────────────────

    def still_ours(self) -> None:
        """Asked before each act on the outside: engines know no fencing tokens. Raises LeaseLost."""
        if not self._heartbeat.ours():
            raise LeaseLost(f"the lease on {self.run.id} is lost; this worker stops.")

    def still_wanted(self) -> None:
        """Raises LeaseLost, or Cancelled when a person or a revert says stop."""
        self.still_ours()
        try:
            run = self.store.run(self.run.pipeline, self.run.number)
            place = self.store.environment(run.pipeline, self.environment) if self.environment else None
        except StoreUnavailable:
            return  # waiting for the store is not a reason to give up; the lease decides
        if run.cancel:
            raise Cancelled(f"{run.id} was cancelled: {run.cancel}.")
        if place and self._interrupted(place, run):
            raise Cancelled(f"{run.pipeline}#{place.interrupt} reverts {place.name}; it wins over {run.id}.")

    def _interrupted(self, place: Environment, run: Run) -> bool:
        if place.interrupt in (0, run.number):
            return False
        return self.store.run(run.pipeline, place.interrupt).state != State.ENDED

    def hold_lease(self, lease: Lease) -> None:
        """From now on what this worker writes is fenced by this one as well."""
        self._heartbeat.hold(lease)
        self._fences = (*self._fences, lease)

    def drop_lease(self, lease: Lease) -> None:
        self._fences = tuple(one for one in self._fences if one != lease)
        self._heartbeat.drop(lease)
