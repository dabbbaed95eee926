"""Whether the warm slot that a revert goes back to still works, as the keeper sees it. Pure rules."""

from __future__ import annotations

from pipeline.domain import outages, slots
from pipeline.domain.environment import Environment, Slot, other
from pipeline.domain.going_back.reverts import Doubt
from pipeline.domain.shifting import rule as shifting

SLACK = 15.0  # seconds between what a command changes and the look that notices it, or the command's end


def failing(environment: Environment, target: int) -> str:
    """What is wrong with the release ``target``, which is warm, or serves while another one has a part of the visitors,
    without a full stop; "" if nothing is known, and if it is neither."""
    if shifting.wanted(environment) and target == environment.serving:
        why = outages.failing(environment, environment.active or "")
        return f"r{target} serves, but does not work ({why})" if why else ""
    slot = other(environment.active) if environment.active else ""
    if not slot or not slots.is_warm(environment, slot, target):
        return ""
    why = outages.failing(environment, slot)
    if not why:
        return ""
    return f"r{target} is warm, but does not work ({why}){_since(environment, slot, target)}"


def doubt(environment: Environment, target: int) -> Doubt | None:
    """If a revert to what is expected to be ready would meet a release that does not work."""
    why = failing(environment, target)
    if not why:
        return None
    command = f"pushlive revert {environment.pipeline} --env {environment.name}"
    back = further(environment, target)
    more = f" {back}." if back else ""
    return Doubt(why, f"To try it all the same: `{command} --to r{target}`.{more}")


def further(environment: Environment, target: int) -> str:
    """The command that goes back to the good release before ``target``, without a full stop; "" if there is none."""
    before = slots.target_before(environment, target)
    command = f"pushlive revert {environment.pipeline} --env {environment.name} --to r{before}"
    return f"To go further back: `{command}`" if before is not None else ""


def _since(environment: Environment, slot: Slot, target: int) -> str:
    """Which release command it has not worked since; "" if it began at another time."""
    began = environment.health[slot].bad_since or environment.health[slot].down_since
    for one in reversed(environment.commands):
        if one.release > target and not one.undone and abs(began - one.at) <= SLACK:
            return f" since the release command of r{one.release}"
    return ""
