"""Which release takes the place of one that is taken back by itself, without anyone's word. Pure rules."""

from __future__ import annotations

from dataclasses import replace

from pipeline.domain import slots
from pipeline.domain.environment import Bake, BakeOutcome, Down, Environment, SlotState
from pipeline.domain.going_back import warm
from pipeline.lib.units import show_age


def targets(environment: Environment) -> tuple[int, ...]:
    """The good releases to go back to, the best one first: the newest that worked here for the time of its bake, and
    after those the ones of which too little was seen. One that is known not to work is not among them."""
    found = slots.candidates_before(environment, environment.serving)
    fit = [one for one in found if one not in environment.failed and not warm.failing(environment, one)]
    unproved = [one for one in fit if _too_short(environment, one)]
    return (*(one for one in fit if one not in unproved), *unproved)


def with_passed_over(environment: Environment, before: Environment, target: int, now: float) -> Environment:
    """``environment`` after the release in ``before`` was taken back to that target. No later revert goes by itself to
    the newer good releases that were passed over, either."""
    found = slots.candidates_before(before, before.serving)
    newer = found[: found.index(target)] if target in found else ()
    failed = {one: Down(one, now, _too_short(before, one) or "it was passed over") for one in newer}
    return replace(environment, failed={**failed, **environment.failed})


def _too_short(environment: Environment, release: int) -> str:
    """Why the release is not known to have worked for the time of its bake; "" if it is, and if it was not watched."""
    index, bake = next(
        ((index, one) for index, one in reversed([*enumerate(environment.bakes)]) if one.release == release),
        (0, None),
    )
    if bake is None or bake.outcome not in (BakeOutcome.SUPERSEDED, BakeOutcome.FAILED):
        return ""
    failed = bake.outcome == BakeOutcome.FAILED
    end = _end(environment, index, bake)
    served = end - (bake.ended if failed else bake.since)
    if end == 0.0 or served >= bake.lasts:
        return ""
    return (
        bake.reason
        if failed
        else f"it served for {show_age(max(0.0, served))}, and was not watched to the end"
    )


def _end(environment: Environment, index: int, bake: Bake) -> float:
    """When the release of that bake was replaced; 0 if that is not known."""
    for record in environment.slots.values():
        if record.state == SlotState.WARM and (record.release, record.run) == (bake.release, bake.run):
            return record.since
    later = environment.bakes[index + 1 :]
    return later[0].since if later else 0.0
