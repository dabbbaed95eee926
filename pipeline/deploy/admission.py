"""What becomes a run: pushes, each exactly once; deploys and reverts at a person's request."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from pipeline.config.models import Config
from pipeline.domain.events import Event
from pipeline.domain.run import Kind, Outcome, Push, Run, State
from pipeline.domain.tracing.context import NONE, TraceContext
from pipeline.domain.transitions import end
from pipeline.notify import messages
from pipeline.store import Transaction
from pipeline.store.configurations import origin_in


@dataclass(frozen=True)
class Accepted:
    run: Run
    duplicate: bool = False
    notes: tuple[str, ...] = ()


def accept(
    transaction: Transaction,
    push: Push,
    config: Config,
    digest: str,
    now: float,
    trace: TraceContext = NONE,
    *,
    since: int = 0,
) -> Accepted:
    """In one transaction: remembers the delivery, makes the run due, supersedes older ones that are queued. A delivery
    whose commit was not in the repository is taken again. ``since``: what runs up to that number have deployed was
    removed."""
    known = transaction.delivery(push.delivery)
    if known is not None and not (before := transaction.run(known)).unseen:
        return Accepted(before, True, ("this delivery was accepted before",))
    transaction.put_head(push.ref, push.commit)  # not for an old delivery: the head has moved on since
    same = _same(transaction, push, since)
    if same is not None:
        transaction.put_delivery(push.delivery, same.number)
        return Accepted(same, True, (f"{same.id} has this commit already",))
    number = transaction.next_run()
    notes = () if push.skip else _supersede_queued(transaction, push, number, now)
    run = Run(
        pipeline=push.pipeline,
        number=number,
        kind=Kind.PUSH,
        commit=push.commit,
        ref=push.ref,
        config=digest,
        stages=config.pipelines[push.pipeline].stages,
        accepted=now,
        pusher=push.pusher,
        message=push.message,
        delivery=push.delivery,
        repository=push.repository,
        trace=trace,
    )
    forced = " (forced)" if push.forced else ""
    transaction.put_delivery(push.delivery, number)
    text = f"{run.id} accepted · {run.short}{forced} {run.message}".rstrip()
    if push.skip:
        return Accepted(_ignore(transaction, run, text, push.skip), False, ())
    put(transaction, run, text)
    return Accepted(run, False, notes)


def _ignore(tx: Transaction, run: Run, text: str, why: str) -> Run:
    """Writes a new run that has ended already. Older runs go on: nothing takes their place."""
    ignored = messages.ended(tx, end(_with_origin(tx, run), Outcome.IGNORED, why, run.accepted))
    tx.put_run(ignored)
    tx.event(
        run.number, Event("accepted", run.accepted, text + (f" · by {run.pusher}" if run.pusher else ""))
    )
    anyway = f"`pushlive deploy {run.pipeline} --commit {run.short}`"
    data = {"outcome": Outcome.IGNORED.value, "more": [f"to deploy it all the same: {anyway}"]}
    tx.event(run.number, Event("end", run.accepted, f"{run.id} ignored: {why}", data=data))
    return ignored


def put(transaction: Transaction, run: Run, text: str) -> None:
    """Writes a new run with its first event, and marks it due."""
    by = run.pusher or run.by
    transaction.put_run(_with_origin(transaction, run))
    transaction.event(run.number, Event("accepted", run.accepted, text + (f" · by {by}" if by else "")))
    transaction.due(run.number)


def _with_origin(tx: Transaction, run: Run) -> Run:
    """With the commit of its configuration: a later commit may bring the same text into force again."""
    return replace(run, origin=origin_in(tx, run.config, sent=run.from_release is not None))


def _same(transaction: Transaction, push: Push, since: int) -> Run | None:
    runs = (run for run in transaction.recent(50, readable=True) if run.number > since)
    return carrying(runs, push.ref, push.commit)


def newest_push(runs: Iterable[Run], ref: str) -> Run | None:
    """The newest push run of that ref that was neither superseded nor ignored, out of runs that are newest first."""
    pushes = (run for run in runs if run.kind == Kind.PUSH and run.ref == ref)
    return next((run for run in pushes if run.outcome not in (Outcome.SUPERSEDED, Outcome.IGNORED)), None)


def ignored(runs: Iterable[Run], ref: str, commit: str) -> Run | None:
    """The run of a push of that commit that asked not to be deployed."""
    pushes = (run for run in runs if run.ref == ref and run.commit == commit)
    return next((run for run in pushes if run.outcome == Outcome.IGNORED), None)


def carrying(runs: Iterable[Run], ref: str, commit: str) -> Run | None:
    """The newest push run of that ref, if it has this commit and has not failed, or the one that was ignored."""
    runs = tuple(runs)
    run = newest_push(runs, ref)
    good = run is not None and (run.state != State.ENDED or run.outcome == Outcome.LIVE)
    return run if run is not None and good and run.commit == commit else ignored(runs, ref, commit)


def is_fetched_later(runs: Iterable[Run], run: Run) -> bool:
    """Whether a newer push of the same ref has not fetched the head yet: it sees what this one has seen, or more."""
    newer = (one for one in runs if one.number > run.number and (one.kind, one.ref) == (Kind.PUSH, run.ref))
    return any(one.state != State.ENDED and not one.passed("build", "fetch") for one in newer)


def _supersede_queued(transaction: Transaction, push: Push, number: int, now: float) -> tuple[str, ...]:
    notes = []
    for run in transaction.open():
        if run.state != State.QUEUED or (run.kind, run.ref) != (Kind.PUSH, push.ref):
            continue
        if not run.awaited:
            supersede(transaction, run, f"{push.pipeline}#{number} is newer", now)
            notes.append(f"{run.id} had not started and is superseded")
        elif not push.delivery.startswith(own_delivery(run, "")):
            supersede(transaction, run, f"another push came before {run.short} was in the repository.", now)
            notes.append(f"{run.id} waited for its commit and is superseded")
    return tuple(notes)


def own_delivery(run: Run, head: str) -> str:
    """The delivery id of a head that this run found."""
    return f"head:{run.id}:{head}"


def supersede(tx: Transaction, run: Run, reason: str, now: float) -> None:
    """Records and reports that the run is superseded."""
    tx.put_run(messages.ended(tx, end(run, Outcome.SUPERSEDED, reason, now)))
    text = f"{run.id} superseded: {reason}"
    tx.event(run.number, Event("end", now, text, data={"outcome": Outcome.SUPERSEDED.value}))


def ask(transaction: Transaction, template: Run, text: str, **changes: Any) -> Run:
    """A run at a person's request: ``template`` with a number of its own."""
    run = replace(template, number=transaction.next_run(), **changes)
    put(transaction, run, f"{run.id} {text}")
    return run
