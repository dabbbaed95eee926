"""The acts of people, each as one transaction: revert, hold, promote, resume, unquarantine, cancel.

Every function reads and writes through its transaction only, so that it can be run again after another writer.
``now``: seconds since the epoch. Raises RequestError or NotFound if it cannot be done now.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from pipeline.deploy import admission
from pipeline.domain import gates, slots, taken_back
from pipeline.domain.environment import Environment
from pipeline.domain.events import Event
from pipeline.domain.going_back import holds, overtaken, returning, reverts
from pipeline.domain.release import Release
from pipeline.domain.run import Kind, Outcome, Run, State
from pipeline.domain.transitions import end, move
from pipeline.errors import NotFound, RequestError
from pipeline.notify.messages import ended, held
from pipeline.store import Transaction

RECENT = 20  # runs that are looked at


def revert(
    tx: Transaction,
    name: str,
    to: int | None,
    *,
    by: str,
    reason: str,
    digest: str,
    now: float,
    shown: int | None = None,
    of: int | None = None,
) -> Run:
    """Makes a due run that puts the previous good release, or ``to``, back. Sets the hold and the quarantine, and
    tells the run that is at work in the environment to stop, all before the revert starts. ``shown``: the release that
    the person saw there; ``of``: the number of the run that is to be taken back."""
    environment = tx.environment(name)
    release = _target(tx, environment, to)
    _refuse_doubt(tx, environment, to, shown, of, now)
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
    reverting = _reverting(tx, environment, run, release)
    tx.put_environment(held(tx, reverting, digest, run))
    _tell_waiting(tx, reverting, now)
    return run


def _refuse_doubt(
    tx: Transaction, environment: Environment, to: int | None, shown: int | None, of: int | None, now: float
) -> None:
    """Raises RequestError if a revert is not what the person has seen, or may not be what they mean."""
    serving, placed = _served(tx, environment)
    runs = {run.number: run for run in (*tx.open(), *tx.recent(RECENT))}
    scene = reverts.Scene(environment, serving, placed, tuple(runs.values()), now)
    bound = shown is not None or of is not None
    found = reverts.moved_on(scene, shown, None if of is None else tx.run(of))
    if found is None and to is None:
        found = reverts.under_way(scene) or (None if bound else reverts.unlike(scene))
    _refuse(found)


def _refuse(doubt: reverts.Doubt | None) -> None:
    """Raises RequestError."""
    if doubt:
        raise RequestError(f"{doubt.why}. Nothing was done.", advice=doubt.advice)


def _served(tx: Transaction, environment: Environment) -> tuple[Release | None, Run | None]:
    """What serves there, and the run that put it there, as far as the records are left."""
    serving: Release | None = None
    placed: Run | None = None
    if environment.active and environment.serving is not None:
        with suppress(NotFound):  # it was lost with an earlier store
            serving = tx.release(environment.serving)
            placed = tx.run(environment.slots[environment.active].run)
    return serving, placed


def _tell_waiting(tx: Transaction, reverting: Environment, now: float) -> None:
    """Runs that wait for a person after that environment say that their release was taken back there."""
    for run in tx.open():
        if run.state == State.WAITING and run.release:
            found = taken_back.obstacle(run, tx.release(run.release), run.gate, (reverting,))
            if found:
                text = f"{found.why}. It does not go to {found.to} now. {found.advice}"
                tx.event(run.number, Event("warning", now, text, run.gate))


def refuse_overtaken(tx: Transaction, run: Run, over: int | None) -> None:
    """Raises RequestError if a retry of that run would take a newer one back, unless that is the run ``over``, which
    the person was shown."""
    environment = next(iter(tx.existing(run.stages[-1:])), None)
    serving, placed = _served(tx, environment) if environment else (None, None)
    found = overtaken.newer(run, environment, serving, placed, tx.open())
    if found and found.number != over:
        raise RequestError(f"{found.why}.", advice=f"If that is what you want: `{found.command}`.")


def hold(
    tx: Transaction, name: str, reason: str, *, by: str, digest: str, now: float, held_by: str = ""
) -> None:
    """No automatic promotion goes there until it is resumed. ``held_by``: whose hold it takes the place of."""
    _refuse(holds.replacing(tx.environment(name), by, held_by, now))
    environment = gates.hold(tx.environment(name), reason or "held by hand", by, now)
    tx.put_environment(held(tx, environment, digest))


def _target(tx: Transaction, environment: Environment, to: int | None) -> Release:
    target = to if to is not None else slots.revert_target(environment)
    if target is None:
        why = slots.passed_over(environment)
        raise RequestError(
            f"{environment.id}: there is no earlier good release to revert to{f': {why}' if why else ''}.",
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
        serving = tx.release(environment.serving)
        environment = gates.with_quarantine(environment, serving, why, run.accepted)
        environment = taken_back.with_taken_back(environment, serving, run)
    target = gates.quarantined(environment, release)
    others = tuple(entry for entry in environment.quarantine if entry != target)
    on_hold = gates.hold(replace(environment, quarantine=others), why, run.by, run.accepted)
    return replace(on_hold, interrupt=run.number)


def promote(
    tx: Transaction,
    *,
    by: str,
    run: int | None,
    environment: str,
    release: int | None,
    force: bool,
    reason: str,
    now: float,
) -> Run:
    """The run that waits at the gate goes on, with exactly the release that was shown. ``force``: although an
    environment before the gate took it back, for that ``reason``."""
    chosen = _waiting(tx, run, environment)
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
    found = _obstacle(tx, chosen)
    if found and not force:
        raise RequestError(f"{found.why}.", advice=found.advice)
    if found and not reason.strip():
        raise RequestError(
            f"{found.why}. To force it past that needs a reason.",
            advice=f"`{found.force}`, with your reason.",
        )
    if found is None:
        return _go_on(tx, _promoted(chosen), by, now)
    forced = replace(chosen, forced={**chosen.forced, chosen.gate: found.entry.run})
    return _go_on(tx, _promoted(forced), by, now, f", although {found.why}. Forced: {reason}")


def _waiting(tx: Transaction, number: int | None, environment: str) -> Run:
    """The run that waits for a person, with that number and before that environment if they are given. Raises
    RequestError, which names those that wait elsewhere, and all of them if several are meant."""
    waiting = [run for run in tx.open() if run.state == State.WAITING]
    meant = [run for run in waiting if number in (None, run.number) and environment in ("", run.gate)]
    if len(meant) > 1 and number is None:
        commands = ", ".join(f"`pushlive promote '{run.id}'` (to {run.gate})" for run in meant[::-1])
        raise RequestError(
            f"{len(meant)} runs of {tx.pipeline} wait. Nothing was done.", advice=f"Name one: {commands}."
        )
    if meant:
        return meant[-1]
    which = f"{tx.pipeline}#{number} does not wait" if number else f"no run of {tx.pipeline} waits"
    where = f" before {environment}" if environment else " for a promotion"
    others = ", ".join(f"{run.id} waits before {run.gate}" for run in waiting)
    advice = (
        f"`pushlive promote '{waiting[-1].id}'` lets it in."
        if waiting
        else "`pushlive status` shows what is where."
    )
    raise RequestError(f"{which}{where}{f'; {others}' if others else ''}.", advice=advice)


def _obstacle(tx: Transaction, run: Run) -> taken_back.Obstacle | None:
    if run.release is None:
        return None
    records = tx.existing(taken_back.before(run, run.gate))
    return taken_back.obstacle(run, tx.release(run.release), run.gate, records)


def _returning(tx: Transaction, environment: Environment, release: int) -> tuple[str, ...]:
    """What comes back with the release, or goes, unless someone thinks of it."""
    return returning.notices(environment, tx.release(release), tx.release, tx.run)


def _promoted(run: Run) -> Run:
    return replace(run, promoted=(*run.promoted, run.gate))


def _go_on(tx: Transaction, run: Run, by: str, now: float, more: str = "") -> Run:
    human = run.human + now - run.gate_since
    on = move(run, State.RUNNING, human=human, gate="")
    tx.put_run(on)
    tx.due(run.number)
    tx.event(run.number, Event("note", now, f"r{run.release} promoted to {run.gate} by {by}{more}", run.gate))
    return on


def resume(
    tx: Transaction, name: str, *, by: str, manual: Callable[[Run], bool], now: float, held_by: str = ""
) -> tuple[str, ...]:
    """Lifts the hold, only that of ``held_by`` if it is given; the newest run that waits there continues, unless its
    gate is ``manual`` as well."""
    environment = tx.environment(name)
    if environment.hold is None:
        return (f"{environment.id} is not held.",)
    _refuse(holds.lifting(environment, by, held_by, now))
    tx.put_environment(replace(environment, hold=None))
    messages = [f"{environment.id} is no longer held."]
    *older, newest = gates.waiting_at(tx.open(), name) or (None,)
    for run in older:
        if run and newest:
            admission.supersede(tx, run, f"{newest.id} is newer", now)
    found = _obstacle(tx, newest) if newest else None
    if newest and found:
        messages.append(f"{newest.id} still waits: {found.why}. {found.advice}")
    elif newest and manual(newest) and name not in newest.promoted:
        messages.append(f"{newest.id} still waits for a promotion: `pushlive promote '{newest.id}'`.")
    elif newest:
        _go_on(tx, newest, by, now)
        messages.append(f"{newest.id} (r{newest.release}) continues to {name}.")
    if newest and newest.release:
        messages += (f"{text}." for text in _returning(tx, environment, newest.release))
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


def _not_reverted(tx: Transaction, run: Run) -> None:
    """A revert that was cancelled before it began is not awaited in its environment any more."""
    for environment in tx.existing(run.stages[-1:] if run.kind == Kind.REVERT else ()):
        if environment.interrupt == run.number:
            tx.put_environment(replace(environment, interrupt=0))


def _latest(tx: Transaction) -> int:
    """The number of the run that a person means who names none. Raises RequestError if several have not ended."""
    found = [run.number for run in tx.open()] or [run.number for run in tx.recent(1)]
    if len(found) > 1:
        commands = ", ".join(f"`pushlive cancel '{tx.pipeline}#{number}'`" for number in found[:-6:-1])
        raise RequestError(
            f"{len(found)} runs of {tx.pipeline} have not ended. Nothing was done.",
            advice=f"Name one: {commands}.",
        )
    return found[0] if found else 0


def cancel(tx: Transaction, number: int | None, *, by: str, now: float) -> Run:
    """A waiting or queued run ends at once, a running one at its next safe point."""
    number = _latest(tx) if number is None else number
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
        _not_reverted(tx, run)
    tx.put_run(run)
    return run
