"""What a person asks for, each as one transaction: revert, hold, promote, resume, unquarantine, cancel.

Every function reads and writes through its transaction alone, so that it can be run again on what others left.
``now``: seconds since the epoch. Raises RequestError or NotFound where it cannot be done now.
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
from pipeline.notify import messages as messages_module
from pipeline.store import Transaction


def revert(
    tx: Transaction, name: str, to: int | None, *, by: str, reason: str, digest: str, now: float
) -> Run:
    """A due run that puts the previous good release, or ``to``, back; the hold and the quarantine are set and
    whoever works in the environment is told to give up, all before it starts."""
    place = tx.environment(name)
    release = _target(tx, place, to)
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
    what = f"r{place.serving} → {release.name}" if place.serving else release.name
    admission.put(tx, run, f"{run.id} revert {name} {what}" + (f": {reason}" if reason else ""))
    tx.put_environment(messages_module.held(tx, _reverting(tx, place, run, release), digest, run))
    return run


def hold(tx: Transaction, name: str, reason: str, *, by: str, digest: str, now: float) -> None:
    """No promotion goes there by itself any more, until somebody resumes it."""
    place = gates.hold(tx.environment(name), reason or "held by hand", by, now)
    tx.put_environment(messages_module.held(tx, place, digest))


def _target(tx: Transaction, place: Environment, to: int | None) -> Release:
    target = to if to is not None else slots.revert_target(place)
    if target is None:
        raise RequestError(
            f"{place.id}: there is no earlier good release to revert to.",
            advice="Push a fix, or name one with `--to rN` (`pushlive runs` lists them).",
        )
    if target == place.serving:
        raise RequestError(f"{place.id} serves r{target} already.", advice="`pushlive status` shows it.")
    release = tx.release(target)
    if place.name not in release.environments:
        raise RequestError(
            f"r{target} was made without the environment {place.name}.", advice="Choose another."
        )
    return release


def _reverting(tx: Transaction, place: Environment, run: Run, release: Release) -> Environment:
    why = run.reason or f"{run.id} was asked to revert to {release.name}"
    if place.serving is not None:
        place = gates.with_quarantine(place, tx.release(place.serving), why, run.accepted)
    target = gates.quarantined(place, release)
    others = tuple(entry for entry in place.quarantine if entry != target)
    held = gates.hold(replace(place, quarantine=others), why, run.by, run.accepted)
    return replace(held, interrupt=run.number)


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
            advice="Look at it, then promote that one.",
        )
    place = tx.environment(chosen.gate)
    if place.hold:
        raise RequestError(
            f"{chosen.gate} is held: {place.hold.reason} (by {place.hold.by}).",
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
    place = tx.environment(name)
    if place.hold is None:
        return (f"{place.id} is not held.",)
    tx.put_environment(replace(place, hold=None))
    messages = [f"{place.id} is no longer held."]
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
    place = tx.environment(name)
    kept = tuple(entry for entry in place.quarantine if entry.release != release)
    if kept == place.quarantine:
        raise NotFound(
            f"r{release} is not in quarantine in {place.id}.", advice="`pushlive status` shows what is."
        )
    tx.put_environment(replace(place, quarantine=kept))
    return (f"r{release} is allowed in {place.id} again (by {by}).",)


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
        run = messages_module.ended(tx, end(run, Outcome.CANCELLED, why, now))
        data = {"outcome": Outcome.CANCELLED.value}
        tx.event(number, Event("end", now, f"{run.id} cancelled {why}", data=data))
    tx.put_run(run)
    return run
