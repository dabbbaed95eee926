"""The acts of people, each as one transaction: hold, promote, resume, unquarantine, cancel. ``reverting`` has another.

Every function reads and writes through its transaction only, so that it can be run again after another writer.
``now``: seconds since the epoch. Raises RequestError or NotFound if it cannot be done now.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from pipeline.deploy import admission
from pipeline.deploy.failure_card import left_by
from pipeline.domain import gates, taken_back
from pipeline.domain.environment import Environment
from pipeline.domain.events import Event
from pipeline.domain.going_back import holds, returning
from pipeline.domain.promotion import approvals
from pipeline.domain.promotion.approvals import PLAIN, Rule
from pipeline.domain.promotion.freezing import thaw_command
from pipeline.domain.run import Kind, Outcome, Run, State
from pipeline.domain.transitions import end, go_on
from pipeline.domain.watching import bake, trials
from pipeline.errors import NotFound, RequestError
from pipeline.notify.messages import ended, held
from pipeline.service.reverting import refuse
from pipeline.store import Transaction


def hold(
    tx: Transaction, name: str, reason: str, *, by: str, digest: str, now: float, held_by: str = ""
) -> None:
    """No automatic promotion goes there until it is resumed. ``held_by``: whose hold it takes the place of."""
    refuse(holds.replacing(tx.environment(name), by, held_by, now))
    environment = gates.hold(tx.environment(name), reason or "held by hand", by, now)
    tx.put_environment(held(tx, environment, digest))


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
    frozen: Callable[[str], str] = lambda _: "",
    rule_of: Callable[[Run], Rule | None] = lambda _: None,
) -> Run:
    """The run that waits at the gate goes on, with exactly the release that was shown. ``force``: although an
    environment before the gate took it back, for that ``reason``. ``frozen``: why an environment is frozen now, or
    ""; ``rule_of``: whose approvals the run needs before its gate. Until it has them all, it waits on."""
    chosen = _waiting(tx, run, environment)
    if release is not None and chosen.release != release:
        raise RequestError(
            f"r{chosen.release} waits before {chosen.gate} now, not r{release}.",
            advice="Check that release, then promote it.",
        )
    there = tx.environment(chosen.gate)
    hold = there.hold
    if hold:
        raise RequestError(
            f"{chosen.gate} is held: {hold.reason} (by {hold.by}).",
            advice=f"`pushlive resume {tx.pipeline} --env {chosen.gate}` lifts the hold.",
        )
    freeze = frozen(chosen.gate)
    if freeze and chosen.frozen:
        raise RequestError(
            f"{freeze}. {chosen.id} goes on by itself when the freeze is over.",
            advice=f"`{thaw_command(tx.pipeline, chosen.gate)}` lifts it.",
        )
    found = _obstacle(tx, chosen)
    if found and not force:
        raise RequestError(f"{found.why}.", advice=found.advice)
    if found and not reason.strip():
        raise RequestError(
            f"{found.why}. To force it past that needs a reason.",
            advice=f"`{found.force}`, with your reason.",
        )
    rule = rule_of(chosen) or PLAIN
    approved = _approved(chosen, rule, by, now, reason)
    over = f", although {found.why}. Forced: {reason}" if found else ""
    given = [one.by for one in approvals.given(approved, chosen.gate, rule, now)]
    if len(given) < rule.needed:
        return _waits_on(tx, approved, rule, now, f"approved by {by}{over}", freeze)
    promoted = f"{chosen.id} was promoted by {by}"
    watched = trials.left_to_people(bake.superseded(there, promoted, now), promoted)
    if watched != there and not freeze:  # a frozen run may switch much later
        tx.put_environment(watched)
    if found is None:
        people = f", approved by {', '.join(given)}" if len(given) > 1 else ""
        more = f"; {freeze}, and it waits for that" if freeze else ""
        return _go_on(tx, _promoted(approved), by, now, people + more)
    forced = replace(approved, forced={**approved.forced, approved.gate: found.entry.run})
    return _go_on(tx, _promoted(forced), by, now, over)


def _approved(run: Run, rule: Rule, by: str, now: float, reason: str) -> Run:
    """The run with that person's approval. Raises RequestError if it would not count, or is there already."""
    if rule.others and approvals.is_pusher(run, by):
        raise RequestError(
            f"{by} {approvals.beginning(run)} {run.id}, and so cannot let it into {run.gate} (`not_by_pusher`).",
            advice=f"Ask another person for `pushlive promote '{run.id}'`.",
        )
    found = approvals.given(run, run.gate, rule, now)
    if by.casefold() in {one.by.casefold() for one in found}:
        raise RequestError(
            f"{by} has already approved {run.id} for {run.gate}: {len(found)} of {rule.needed} approvals.",
            advice=f"Ask another person for `pushlive promote '{run.id}'`.",
        )
    return approvals.with_approval(run, run.gate, rule, by, now, reason)


def _waits_on(tx: Transaction, run: Run, rule: Rule, now: float, said: str, freeze: str) -> Run:
    """The run, which needs more approvals."""
    tx.put_run(run)
    then = f"; then it waits for the freeze: {freeze}" if freeze else ""
    text = (
        f"{said}: {approvals.text(run, run.gate, rule, now)}{then}. The next: `pushlive promote '{run.id}'`"
    )
    tx.event(run.number, Event("gate", now, text, run.gate))
    return run


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
    others = (name for name in run.promoted if name != run.gate)
    return replace(run, promoted=(*others, run.gate))


def _go_on(tx: Transaction, run: Run, by: str, now: float, more: str = "") -> Run:
    on = go_on(run, by, now)
    tx.put_run(on)
    tx.due(run.number)
    tx.event(run.number, Event("note", now, f"r{run.release} promoted to {run.gate} by {by}{more}", run.gate))
    return on


def resume(
    tx: Transaction,
    name: str,
    *,
    by: str,
    manual: Callable[[Run], bool],
    now: float,
    held_by: str = "",
    frozen: str = "",
) -> tuple[str, ...]:
    """Lifts the hold, only that of ``held_by`` if it is given; the newest run that waits there continues, unless its
    gate still needs people (``manual``). ``frozen``: what freezes the environment, "" if nothing does: then it waits
    for that."""
    environment = tx.environment(name)
    if environment.hold is None:
        return (f"{environment.id} is not held.",)
    refuse(holds.lifting(environment, by, held_by, now))
    tx.put_environment(replace(environment, hold=None))
    messages = [f"{environment.id} is no longer held."]
    *older, newest = gates.waiting_at(tx.open(), name) or (None,)
    for run in older:
        if run and newest:
            admission.supersede(tx, run, f"{newest.id} is newer", now)
    found = _obstacle(tx, newest) if newest else None
    if newest and found:
        messages.append(f"{newest.id} still waits: {found.why}. {found.advice}")
    elif newest and manual(newest):
        messages.append(f"{newest.id} still waits for a promotion: `pushlive promote '{newest.id}'`.")
    elif newest:
        _go_on(tx, newest, by, now)
        goes = f"goes on waiting: {frozen}" if frozen else f"continues to {name}"
        messages.append(f"{newest.id} (r{newest.release}) {goes}.")
    if newest and newest.release:
        messages += (f"{text}." for text in _returning(tx, environment, newest.release))
    return tuple(messages)


def unquarantine(tx: Transaction, name: str, release: int, *, by: str) -> tuple[str, ...]:
    """The release may go to that environment again."""
    environment = tx.environment(name)
    named = [entry for entry in environment.quarantine if entry.release == release]
    with suppress(NotFound):  # or one of the same image and configuration
        named = named or [one for one in (gates.quarantined(environment, tx.release(release)),) if one]
    if not named:
        raise NotFound(
            f"r{release} is not in quarantine in {environment.id}.", advice="`pushlive status` shows what is."
        )
    kept = tuple(entry for entry in environment.quarantine if entry not in named)
    tx.put_environment(replace(environment, quarantine=kept))
    other = named[0].release
    same = "" if other == release else f", and r{other} with the same image and configuration"
    return (f"r{release} is allowed in {environment.id} again (by {by}){same}.",)


def _not_reverted(tx: Transaction, run: Run) -> tuple[Environment, ...]:
    """A revert that was cancelled before it began is not awaited in its environment any more. That environment; none
    for any other run."""
    found = tuple(tx.existing(run.stages[-1:] if run.kind == Kind.REVERT else ()))
    for environment in found:
        if environment.interrupt == run.number:
            tx.put_environment(replace(environment, interrupt=0))
    return found


def _latest(tx: Transaction) -> int:
    """The number of the run that a person means who names none. Raises RequestError if several have not ended."""
    found = [run.number for run in tx.open()] or [run.number for run in tx.recent(1)]
    if len(found) > 1:
        commands = ", ".join(f"`pushlive cancel '{tx.pipeline}#{number}'`" for number in found[:-6:-1])
        raise RequestError(
            f"{len(found)} runs of {tx.pipeline} have not ended. Nothing was done.",
            advice=f"Name one: {commands}.",
        )
    if not found:
        raise NotFound(
            f"there is no run of {tx.pipeline}.",
            advice="`pushlive status` lists the pipelines and their runs.",
        )
    return found[0]


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
        left = [text for one in _not_reverted(tx, run) for text in left_by(run, one)]
        data = {"outcome": Outcome.CANCELLED.value} | ({"more": left} if left else {})
        tx.event(number, Event("end", now, f"{run.id} cancelled {why}", data=data))
    tx.put_run(run)
    return run


def abandon(tx: Transaction, number: int, *, by: str, now: float) -> Run:
    """The release command that the run waits for is no longer waited for."""
    run = tx.run(number)
    if run.state != State.RUNNING or not run.command:
        state = f"it has ended: {run.outcome}" if run.state == State.ENDED else f"it is {run.state}"
        at = f" in {run.stage}" if run.stage and run.state == State.RUNNING else ""
        raise RequestError(
            f"{run.id} runs no release command now; {state}{at}. Nothing was done.",
            advice=f"`pushlive show '{run.id}'` shows what it does.",
        )
    run = replace(run, abandon=f"by {by}")
    tx.put_run(run)
    text = (
        f"the {run.command} command in {run.stage} is abandoned by {by}: it is ended, and {run.stage} is held"
    )
    tx.event(number, Event("warning", now, text, run.stage))
    return run
