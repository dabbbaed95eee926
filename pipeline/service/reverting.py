"""A revert as one transaction: what is written, and why it is refused. ``now``: seconds since the epoch."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from pipeline.deploy import admission
from pipeline.domain import gates, slots, taken_back
from pipeline.domain.environment import BakeOutcome, Environment
from pipeline.domain.events import Event
from pipeline.domain.going_back import by_itself, commands, holds, overtaken, release_commands, reverts, warm
from pipeline.domain.release import Release
from pipeline.domain.run import Kind, Run, State
from pipeline.domain.shifting import rule as shifting
from pipeline.domain.shifting.records import Shift
from pipeline.domain.tracing.context import NONE, TraceContext
from pipeline.domain.watching import bake, trials
from pipeline.errors import DamagedRecord, Doubtful, NotFound, RequestError
from pipeline.notify.messages import held
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
    back: bool = False,
    across: int | None = None,
    again: bool = False,
    baked: BakeOutcome = BakeOutcome.SUPERSEDED,
    chosen: int | None = None,
    trace: TraceContext = NONE,
    also: Callable[[Environment, Run], Environment] = lambda environment, _: environment,
) -> Run:
    """Makes a due run that puts the previous good release, or ``to``, back. Sets the hold and the quarantine, and
    tells the run that is at work in the environment to stop, all before the revert starts. ``shown``: the release that
    the person saw there; ``of``: the number of the run that is to be taken back; ``back``: the release commands
    that it goes across are undone first; ``across``: the newest of them that is not reversible, as the person
    was told; ``again``: an earlier revert is repeated; ``baked``: how this ends the time for which the release that
    serves is watched; ``chosen``: which release takes its place, if no person named one;
    ``also``: what else this changes in the environment's record."""
    environment = tx.environment(name)
    shift, named = shifting.wanted(environment), to is not None or chosen is not None
    if (
        shift and to is None and chosen is None
    ):  # the new release has a part of the traffic: this is what a person means
        to = environment.serving
    bound = shown is not None or of is not None
    if bound:  # what serves in its place says more than that there is nothing to go back to
        _refuse_doubt(tx, environment, to, shown, of, now)
    release = _target(tx, environment, chosen if to is None else to, back, shift)
    if shift and not named:
        refuse(warm.doubt(environment, release.number))
    if not bound:
        _refuse_doubt(tx, environment, to, shown, of, now)
    if to is None:
        refuse(warm.doubt(environment, release.number))
    undone = _across(tx, environment, release.number, back, across, again)
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
        across=across,
        back=undone,
        trace=trace,
    )
    before = shift.release if shift and release.number == environment.serving else environment.serving
    what = f"r{before} → {release.name}" if before else release.name
    if undone:
        what += f", after `back` of {', '.join(f'r{number}' for number in undone)}"
    admission.put(tx, run, f"{run.id} revert {name} {what}" + (f": {reason}" if reason else ""))
    reverting = _reverting(tx, _without(tx, environment, shift, run), run, release)
    if not shift or release.number != environment.serving:
        reverting = bake.ended(reverting, baked, reason or f"{run.id} reverts it", now, run.number)
        reverting = trials.left_to_people(reverting, f"{run.id} reverts it")
    reverting = also(reverting, run)
    if chosen is not None:
        reverting = by_itself.with_passed_over(reverting, environment, chosen, now)
    tx.put_environment(held(tx, reverting, digest, run))
    _tell_waiting(tx, reverting, now)
    return run


def _refuse_doubt(
    tx: Transaction, environment: Environment, to: int | None, shown: int | None, of: int | None, now: float
) -> None:
    """Raises RequestError if a revert is not what the person has seen, or may not be what they mean."""
    bound = shown is not None or of is not None
    if to is not None and not bound:
        return
    serving, placed = _served(tx, environment)
    scene = reverts.Scene(environment, serving, placed, _latest(tx), now)
    shift = shifting.of_run(environment, of or 0)
    found = reverts.moved_on(scene, shown, None if of is None or shift else tx.run(of))
    if found is None and to is None:
        found = reverts.under_way(scene) or (None if bound else reverts.unlike(scene))
    refuse(found)


def _latest(tx: Transaction) -> tuple[Run, ...]:
    """The runs that have not ended, and the latest ones. A record that cannot be read holds no revert up."""
    runs: dict[int, Run] = {}
    with suppress(DamagedRecord):
        runs |= {run.number: run for run in tx.open()}
        for run in tx.recent(RECENT):
            runs[run.number] = run
    return tuple(runs.values())


def refuse(doubt: reverts.Doubt | None) -> None:
    """Raises RequestError."""
    if doubt:
        raise Doubtful(doubt.why, advice=doubt.advice)


def _served(tx: Transaction, environment: Environment) -> tuple[Release | None, Run | None]:
    """What serves there, and the run that put it there, as far as the records are left."""
    serving: Release | None = None
    placed: Run | None = None
    if environment.active and environment.serving is not None:
        with suppress(NotFound, DamagedRecord):  # lost with an earlier store, or not to be read
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


def _across(
    tx: Transaction, environment: Environment, target: int, back: bool, across: int | None, again: bool
) -> tuple[int, ...]:
    """The releases whose `back` the revert runs. Raises RequestError if a release command that it goes across needs a
    person's word, and if there is nothing to undo."""
    found = release_commands.crossed(environment, target, tx.release)
    if not back:
        refuse(commands.unconfirmed(environment, target, found, across))
        return ()
    undone = tuple(one.release for one in found if one.back)
    left = tuple(one for one in found if not one.back)
    refuse(commands.unconfirmed(environment, target, left, across, back=bool(undone)))
    if not undone and not again:
        raise RequestError(
            f"{environment.id}: there is no release command after r{target} that a `back` could undo. Nothing "
            "was done.",
            advice=f"Without it: `pushlive revert {environment.pipeline} --env {environment.name} --to r{target}`.",
        )
    return undone


def _target(
    tx: Transaction, environment: Environment, to: int | None, back: bool, shift: Shift | None = None
) -> Release:
    target = to if to is not None else slots.revert_target(environment)
    if target is None:
        why, unfit = slots.passed_over(environment), slots.unfit_before(environment)
        advice = "Push a fix, or name one with `--to rN` (`pushlive runs` lists them)."
        if unfit:
            command = f"pushlive revert {environment.pipeline} --env {environment.name} --to r{unfit[-1]}"
            advice = f"Push a fix; or, to try r{unfit[-1]} all the same: `{command}`."
        raise RequestError(
            f"{environment.id}: there is no earlier good release to revert to{f': {why}' if why else ''}.",
            advice=advice,
        )
    if target == environment.serving and not (shift or _repairs(tx, environment, target, back)):
        raise RequestError(
            f"{environment.id} already serves r{target}.", advice="`pushlive status` shows it."
        )
    return tx.release(target)


def _repairs(tx: Transaction, environment: Environment, serving: int, back: bool) -> bool:
    """Whether a revert to the release that serves has anything to do: to undo what a release that never came to serve
    did, or to run its own command again, which was undone."""
    if release_commands.is_undone(environment, serving):
        return True
    return back and bool(release_commands.crossed(environment, serving, tx.release))


def _without(tx: Transaction, environment: Environment, shift: Shift | None, run: Run) -> Environment:
    """What has a part of the traffic does not come again by itself."""
    if shift is None:
        return environment
    taken = tx.release(shift.release)
    why = (
        run.reason
        or f"{run.id} took it back while it had {shifting.percent(shift.percent)} of the {shifting.whom(shift)}"
    )
    found = gates.with_quarantine(environment, taken, why, run.accepted)
    return taken_back.with_taken_back(found, taken, run)


def _reverting(tx: Transaction, environment: Environment, run: Run, release: Release) -> Environment:
    why = run.reason or f"{run.id} reverts to {release.name}"
    if environment.serving not in (None, release.number):
        serving = tx.release(environment.serving)
        # What serves may have an entry only of a revert that did not take it out: this one counts.
        before = gates.quarantined(environment, serving)
        left = tuple(entry for entry in environment.quarantine if entry != before)
        environment = gates.with_quarantine(replace(environment, quarantine=left), serving, why, run.accepted)
        environment = taken_back.with_taken_back(environment, serving, run)
    target = gates.quarantined(environment, release)
    others = tuple(entry for entry in environment.quarantine if entry != target)
    on_hold = holds.added(replace(environment, quarantine=others), why, run.by, run.accepted)
    return replace(on_hold, interrupt=run.number)
