"""Which release takes the place of one that is taken back by itself, without anyone's word. Pure rules."""

from __future__ import annotations

from dataclasses import replace

from pipeline.config.workload.judge import ACT
from pipeline.domain import slots
from pipeline.domain.environment import Bake, BakeOutcome, Down, Environment, SlotState
from pipeline.domain.going_back import warm
from pipeline.domain.watching import bake, trials
from pipeline.lib.units import show_age

ENOUGH = 60.0  # seconds for which a release has worked that was replaced before its bake was over


def watched_by(environment: Environment) -> str:
    """Who would take back what serves, if it failed now: "bake", "judge", or "" if no one would without a person."""
    now, trial = environment.bake, trials.of(environment)
    if now and now.on_failure == "revert":
        return bake.BY
    acts = trial is not None and trial.judge == ACT and not (trial.outcome or trial.left)
    return trials.BY if trial and acts and trial.on_failure == "revert" else ""


def targets(environment: Environment) -> tuple[int, ...]:
    """The good releases to go back to, the best one first: the newest that a revert by a person names as well, unless
    next to nothing was seen of it; those come last. One that is known not to work is not among them."""
    found = slots.candidates_before(environment, environment.serving)
    fit = [one for one in found if one not in environment.failed and not warm.failing(environment, one)]
    unproved = [one for one in fit if _too_short(environment, one)]
    return (*(one for one in fit if one not in unproved), *unproved)


def with_passed_over(environment: Environment, before: Environment, target: int, now: float) -> Environment:
    """``environment`` after the release in ``before`` was taken back to that target. No later revert goes by itself to
    the newer good releases that were passed over, either."""
    found = slots.candidates_before(before, before.serving)
    newer = found[: found.index(target)] if target in found else ()
    failed = {one: Down(one, now, why_not(before, one) or "it was passed over") for one in newer}
    return replace(environment, failed={**failed, **environment.failed})


def why_not(environment: Environment, release: int) -> str:
    """Why an older release takes its place, without a full stop; "" if none does."""
    if mark := environment.failed.get(release):
        return mark.said
    return warm.failing(environment, release) or _too_short(environment, release)


def _too_short(environment: Environment, release: int) -> str:
    """Why the release is not known to have worked here for long enough; "" if it is, and if it was not watched. After a
    bake that failed that is its whole time again; for one that was replaced early a minute is."""
    index, bake = next(
        ((index, one) for index, one in reversed([*enumerate(environment.bakes)]) if one.release == release),
        (0, None),
    )
    if bake is None or bake.outcome not in (BakeOutcome.SUPERSEDED, BakeOutcome.FAILED):
        return ""
    failed = bake.outcome == BakeOutcome.FAILED
    end = _end(environment, index, bake)
    served = end - (bake.ended if failed else bake.since)
    if end == 0.0 or served >= (bake.lasts if failed else min(bake.lasts, ENOUGH)):
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
