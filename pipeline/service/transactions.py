"""The acts of people, each as one transaction: revert, hold, promote, resume, unquarantine, cancel.

Every function reads and writes through its transaction only, so that it can be run again after another writer.
``now``: seconds since the epoch. Raises RequestError or NotFound if it cannot be done now.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from pipeline.deploy import admission
from pipeline.domain import gates, slots
from pipeline.domain.environment import Environment
from pipeline.domain.events import Event
from pipeline.domain.release import Release
from pipeline.domain.run import Kind, Outcome, Run, State
from pipeline.domain.transitions import end, move
from pipeline.errors import NotFound, RequestError
from pipeline.notify.messages import ended, held
from pipeline.store import Transaction


def revert(
    tx: Transaction, name: str, to: int | None, *, by: str, reason: str, digest: str, now: float
) -> Run:
    """Makes a due run that puts the previous good release, or ``to``, back. Sets the hold and the quarantine, and
    tells the run that is at work in the environment to stop, all before the revert starts."""
    environment = tx.environment(name)
    release = _target(tx, environment, to)
    run = Run(
        tx.pipeline,
        tx.next_run(),
        Kind.REVERT,
        release.commit,
        "",
        digest,
        (name,),
        now,
        message=release.message,
        release=release.number,
        image_ready=now,
        by=by,
        reason=reason,
    )
    what = f"r{environment.serving} → {release.name}" if environment.serving else release.name
    admission.put(tx, run, f"{run.id} revert {name} {what}" + (f": {reason}" if reason else ""))
    tx.put_environment(held(tx, _reverting(tx, environment, run, release), digest, run))
    return run


def hold(tx: Transaction, name: str, reason: str, *, by: str, digest: str, now: float) -> None:
    """No automatic promotion goes there until it is resumed."""
    environment = gates.hold(tx.environment(name), reason or "held by hand", by, now)
    tx.put_environment(held(tx, environment, digest))


def _target(tx: Transaction, environment: Environment, to: int | None) -> Release:
    target = to if to is not None else slots.revert_target(environment)
    if target is None:
        raise RequestError(
            f"{environment.id}: there is no earlier good release to revert to.",
            advice="Push a fix, or name one with `--to rN` (`pushlive runs` lists them).",
        )
    if target == environment.serving:
        raise RequestError(
            f"{environment.id} already serves r{target}.", advice="`pushlive status` shows it."
        )
    release = tx.release(target)
    if environment.name not in release.environments:
        raise RequestError(
            f"r{target} was made without the environment {environment.name}.",
            advice="Choose another release.",
        )
    return release


def _reverting(tx: Transaction, environment: Environment, run: Run, release: Release) -> Environment:
    why = run.reason or f"{run.id} reverts to {release.name}"
    if environment.serving is not None:
        environment = gates.with_quarantine(environment, tx.release(environment.serving), why, run.accepted)
    target = gates.quarantined(environment, release)
    others = tuple(entry for entry in environment.quarantine if entry != target)
    on_hold = gates.hold(replace(environment, quarantine=others), why, run.by, run.accepted)
    return replace(on_hold, interrupt=run.number)


def promote(
    tx: Transaction, *, by: str, run: int | None, environment: str, release: int | None, now: float
) -> Run:
    """The run that waits at the gate goes on, with exactly the release that was shown."""
    waiting = [r for r in tx.open() if r.state == State.WAITING]
    waiting = [r for r in waiting if run in (None, r.number) and environment in ("", r.gate)]
    if not waiting:
        raise RequestError(
            f"no run of {tx.pipeline} waits for a promotion.", advice="`pushlive status` shows what is where."
        )
    chosen = waiting[-1]
    if release is not None and chosen.release != release:
        raise RequestError(
            f"r{chosen.release} waits before {chosen.gate} now, not r{release}.",
            advice="Check that release, then promote it.",
        )
    hold = tx.environment(chosen.gate).hold
    if hold:
        raise RequestError(
            f"{chosen.gate} is held: {hold.reason} (by {hold.by}).",
            advice=f"`pushlive resume {tx.pipeline} --env {chosen.gate}` lifts the hold.",
        )
    return _go_on(tx, chosen, by, now)


def _go_on(tx: Transaction, run: Run, by: str, now: float) -> Run:
    human = run.human + now - run.gate_since
    on = move(run, State.RUNNING, promoted=(*run.promoted, run.gate), human=human, gate="")
    tx.put_run(on)
    tx.due(run.number)
    tx.event(run.number, Event("note", now, f"r{run.release} promoted to {run.gate} by {by}", run.gate))
    return on


def resume(
    tx: Transaction, name: str, *, by: str, manual: Callable[[Run], bool], now: float
) -> tuple[str, ...]:
    """Lifts the hold; the newest run that waits there continues, unless its gate is ``manual`` as well."""
    environment = tx.environment(name)
    if environment.hold is None:
        return (f"{environment.id} is not held.",)
    tx.put_environment(replace(environment, hold=None))
    messages = [f"{environment.id} is no longer held."]
    *older, newest = gates.waiting_at(tx.open(), name) or (None,)
    for run in older:
        if run and newest:
            admission.supersede(tx, run, f"{newest.id} is newer", now)
    if newest and manual(newest) and name not in newest.promoted:
        messages.append(f"{newest.id} still waits for a promotion: `pushlive promote {tx.pipeline}`.")
    elif newest:
        _go_on(tx, newest, by, now)
        messages.append(f"{newest.id} (r{newest.release}) continues to {name}.")
    return tuple(messages)


def unquarantine(tx: Transaction, name: str, release: int, *, by: str) -> tuple[str, ...]:
    """The release may go to that environment again."""
    environment = tx.environment(name)
    kept = tuple(entry for entry in environment.quarantine if entry.release != release)
    if kept == environment.quarantine:
        raise NotFound(
            f"r{release} is not in quarantine in {environment.id}.", advice="`pushlive status` shows what is."
        )
    tx.put_environment(replace(environment, quarantine=kept))
    return (f"r{release} is allowed in {environment.id} again (by {by}).",)


def cancel(tx: Transaction, number: int, *, by: str, now: float) -> Run:
    """A waiting or queued run ends at once, a running one at its next safe point."""
    run, why = tx.run(number), f"by {by}"
    if run.state == State.ENDED:
        raise RequestError(
            f"{run.id} has already ended: {run.outcome}.", advice=f"See `pushlive show '{run.id}'`."
        )
    if run.state == State.RUNNING:
        run = replace(run, cancel=why)
    else:
        run = ended(tx, end(run, Outcome.CANCELLED, why, now))
        data = {"outcome": Outcome.CANCELLED.value}
        tx.event(number, Event("end", now, f"{run.id} cancelled {why}", data=data))
    tx.put_run(run)
    return run
