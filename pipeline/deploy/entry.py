"""How a run enters an environment: whether it may, the wait at a gate, and the environment's lease."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from time import gmtime, strftime

from pipeline.config.models import Pipeline
from pipeline.deploy.admission import supersede
from pipeline.deploy.run_context import RunContext
from pipeline.deploy.services import Services
from pipeline.domain import gates, taken_back, transitions
from pipeline.domain.environment import Environment
from pipeline.domain.events import Event
from pipeline.domain.gates import Gate
from pipeline.domain.promotion.freezing import THAW
from pipeline.domain.release import Release
from pipeline.domain.run import Kind, Run, State
from pipeline.domain.shifting.rule import wanted
from pipeline.errors import Cancelled, single_stops
from pipeline.lib.retry import poll
from pipeline.notify import messages
from pipeline.store import Lease, Transaction

REVERT_WAITS = 30.0  # seconds that a revert waits until the run in its environment has given up
OTHERS_WAIT = 1.0
NOTICED = 0.1  # seconds of a wait, from which on they are recorded


class Parked(Exception):
    """A signal, no error: the run waits for another run's lease, for a person or for the end of a freeze, and stays as
    it is recorded."""


def parked(context: RunContext, since: float = 0.0) -> Parked:
    """Records that the run waits for its turn, since then or since now. Returns what to raise."""
    # A clean hand-back is no crashed attempt.
    since = context.run.parked or since or context.clock.now()
    context.update(attempts=0, parked=since if context.run.image_ready else 0.0)
    return Parked(f"{context.run.id} waits for its turn")


def put_back(context: RunContext, until: float) -> Parked:
    """Puts the run back into the queue until then, seconds since the epoch: it keeps no worker meanwhile. Returns what
    to raise."""

    def queue(_: Transaction, run: Run) -> Run:
        if run.cancel:
            raise Cancelled(f"{run.id} was cancelled: {run.cancel}.")
        return transitions.move(run, State.QUEUED, attempts=0, again=until)

    context.change(queue)
    return Parked(f"{context.run.id} is back in the queue")


def take_environment(context: RunContext, environment: Environment) -> Lease:
    """The environment's lease. Raises Parked if another run keeps it, and what stops the run meanwhile. All of the wait
    is one for another run; which one, and how far that is, is said once and when it changes."""

    def take() -> Lease | None:
        lease = context.store.leases.take(f"env:{environment.id}", context.run.id)
        if lease is None:
            context.still_wanted()
        return lease

    since, began = context.clock.now(), context.clock.monotonic()
    timeout = REVERT_WAITS if context.run.kind == Kind.REVERT else OTHERS_WAIT
    lease = poll(take, 0.02, context.clock, timeout=timeout)
    if lease is None:
        _behind(context, environment.name, since)
        raise parked(context, since)
    try:
        _waited(context, context.clock.monotonic() - began)
    except BaseException:
        context.store.leases.drop(lease)  # nothing renews it yet
        raise
    return lease


def _waited(context: RunContext, seconds: float) -> None:
    """Records the end of the wait."""
    if context.run.behind:
        context.change(lambda _, run: transitions.unparked(run, context.clock.now()))
    elif seconds >= NOTICED:
        context.update(queued=context.run.queued + seconds)


def _behind(context: RunContext, name: str, began: float) -> None:
    """Records for which run it waits, if a run is what has the environment."""
    run = context.run
    holder = context.store.leases.holder(f"env:{run.pipeline}/{name}")
    if not holder.startswith(f"{run.pipeline}#") or not run.image_ready:
        return
    environment = context.store.environment(run.pipeline, name)
    shift = wanted(environment) if environment else None
    share = shift.percent if shift and holder == f"{run.pipeline}#{shift.run}" else 0.0
    if (run.behind, run.behind_share) == (holder, share):
        return
    now, since = context.clock.now(), shift.since if shift and share else 0.0

    def wait(_: Transaction, run: Run) -> Run:
        return transitions.behind(replace(run, parked=run.parked or began), holder, share, since, now)

    context.change(wait)
    context.note(context.run.waits_for.removeprefix(f"{name} "), name)


class Entry:
    """One run with its release before an environment."""

    def __init__(self, context: RunContext, pipeline: Pipeline, release: Release, services: Services) -> None:
        self._context, self._pipeline, self._release = context, pipeline, release
        self._freezes = services.freezes

    def may_enter(
        self,
        environment: Environment,
        run: Run,
        open_runs: Iterable[Run],
        environments: Iterable[Environment],
    ) -> Gate | None:
        """``domain.gates.may_enter`` for this release."""
        now, look = self._context.clock.now(), self._freezes.look()
        return gates.may_enter(
            self._pipeline,
            environment,
            self._release,
            run,
            open_runs,
            environments,
            # as pipelines.yaml has it now: a gate that was added meanwhile holds for this run as well
            look.config.pipelines.get(run.pipeline),
            look.frozen(environment.pipeline, environment.name, now),
            now,
        )

    def enter(self, environment: Environment, open_runs: Iterable[Run]) -> None:
        """Returns if the run may enter now. Raises Parked if it waits at a gate, and what ``may_enter`` raises."""
        store, run = self._context.store, self._context.run
        names = taken_back.before(run, environment.name)
        records = [one for name in names if (one := store.environment(run.pipeline, name))]
        if self.may_enter(environment, run, open_runs, records):
            self.wait_at(environment.name)

    def log_approvals(self, name: str) -> None:
        """Into the log, who let the run in: it was told when they did, while no worker wrote the log."""
        run = self._context.run
        given = [one for one in run.approvals if (one.environment, one.release) == (name, run.release)]
        people = ", ".join(f"{one.by} ({strftime('%Y-%m-%d %H:%M:%S', gmtime(one.at))})" for one in given)
        if people:
            text = f"r{run.release} was approved for {name} by {people}"
            self._context.log_only(Event("note", self._context.clock.now(), text, name))

    def wait_at(self, name: str) -> None:
        """Records that the run waits and raises Parked. Returns if nothing keeps it out any more."""
        now = self._context.clock.now()
        found: list[Gate] = []

        def wait(transaction: Transaction, run: Run) -> Run:
            if run.cancel:
                raise Cancelled(f"{run.id} was cancelled: {run.cancel}.")
            records = transaction.existing(taken_back.before(run, name))
            gate = self.may_enter(transaction.environment(name), run, (), records)
            found[:] = [gate] if gate else []
            return _waiting(transaction, run, name, gate, now) if gate else run

        self._context.change(wait)
        if found:
            raise Parked(found[0].why)


def _waiting(transaction: Transaction, run: Run, name: str, gate: Gate, now: float) -> Run:
    for older in gates.waiting_at(transaction.open(), name):
        if older.number < run.number:
            supersede(transaction, older, f"{run.id} waits before {name} instead", now)
    transaction.not_due(run.number)
    resume, promote = f"`pushlive resume {run.pipeline} --env {name}`", f"`pushlive promote '{run.id}'`"
    command = gate.how or (resume if gate.command == "resume" else promote)
    what = f"To continue with r{run.release}"
    if gate.by_itself:
        what = f"Then r{run.release} continues by itself; to let it in before"
    text = f"waits before {name}: {gate.why}. {what}: {command}"
    if gate.then:
        text += f". After that it still waits: {'; '.join(gate.then)}"
    transaction.event(run.number, Event("gate", now, single_stops(text), name))
    waiting = transitions.move(
        transitions.unparked(run, now),
        State.WAITING,
        gate=name,
        gate_since=now,
        attempts=0,
        frozen=gate.command == THAW,
    )
    return messages.waits(transaction, waiting, gate.why, text)
