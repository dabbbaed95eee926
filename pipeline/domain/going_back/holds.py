"""Whether a hold that a person lifts, or puts in place of another, is the one that they know of. Pure rules."""

from __future__ import annotations

import shlex
from dataclasses import replace

from pipeline.domain import adoption, gates
from pipeline.domain.environment import Environment, Hold
from pipeline.domain.going_back.reverts import JUST, Doubt
from pipeline.domain.watching import bake, trials
from pipeline.lib.units import show_age


def lifting(environment: Environment, by: str, held_by: str, now: float) -> Doubt | None:
    """If the hold is not by ``held_by``; without that, if another person than ``by`` has just set it."""
    hold = environment.hold
    if hold is None or hold.by == held_by:
        return None
    recent = 0 <= now - hold.since < JUST
    if not held_by and (hold.by == by or not recent or not _is_person(environment, hold)):
        return None
    return Doubt(
        _held(environment, hold, now), f"To lift that hold: `{_command('resume', environment, hold)}`."
    )


def replacing(environment: Environment, by: str, held_by: str, now: float) -> Doubt | None:
    """If another person than ``by`` holds the environment, and it is not ``held_by``."""
    hold = environment.hold
    if hold is None or hold.by in (by, held_by):
        return None
    command = f"{_command('hold', environment, hold)} --reason TEXT"
    return Doubt(_held(environment, hold, now), f"It stays held. To hold it in their place: `{command}`.")


def added(environment: Environment, reason: str, by: str, now: float) -> Environment:
    """The environment, held by a revert, a run or the service. What a person held it for is kept beside it; the hold
    stays theirs unless another person reverts."""
    before = environment.hold
    if before is None or before.reason == reason or not _is_person(environment, before):
        return gates.hold(environment, reason, by, now)
    new = Hold(reason, by, now)
    if not _is_person(environment, new):
        return gates.also_held(environment, reason)
    mine = f"{before.reason}. {reason}"
    theirs = f"{reason}. Before that, {before.by} held it: {before.reason}"
    return replace(environment, hold=replace(new, reason=mine if before.by == by else theirs))


def _held(environment: Environment, hold: Hold, now: float) -> str:
    return f"{environment.id} was held by {hold.by}, {show_age(now - hold.since)} ago: {hold.reason}"


def _command(act: str, environment: Environment, hold: Hold) -> str:
    words = (environment.pipeline, "--env", environment.name, "--held-by", shlex.quote(hold.by))
    return " ".join(("pushlive", act, *words))


def _is_person(environment: Environment, hold: Hold) -> bool:
    """Not a run whose release command has an unknown outcome, no adoption, and not the service
    itself."""
    return not hold.by.startswith(f"{environment.pipeline}#") and hold.by not in (
        adoption.BY,
        bake.BY,
        trials.BY,
    )
