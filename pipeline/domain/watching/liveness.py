"""Which web containers hang and are started again, and how often. Pure rules.

A restart that does not help is not repeated at the same pace: each time it is waited for twice as long, up to an hour.
"""

from __future__ import annotations

from dataclasses import replace

from pipeline.domain.environment import Environment, Revival
from pipeline.domain.health import CALM
from pipeline.domain.outages import serving_health


def silent(environment: Environment, after: float, ready: float, now: float) -> tuple[str, ...]:
    """The replicas of what serves that have not served for ``after`` seconds, and may be started again now. ``ready``:
    how long one may need to start."""
    health = serving_health(environment)
    if health is None:
        return ()
    out = (name for name, since in health.out.items() if now - since >= after)
    return tuple(
        name for name in out if now - _last(environment, name) >= _pause(environment, name, after, ready, now)
    )


def revived(environment: Environment, name: str, now: float) -> Environment:
    """That replica is started again."""
    slot = environment.slots[environment.active or ""]
    new = Revival(slot.release, slot.run, _count(environment, name, now) + 1, now)
    own = {
        key: one
        for key, one in environment.revived.items()
        if (one.release, one.run) == (slot.release, slot.run)
    }
    return replace(environment, revived={**own, name: new})


def revivals(environment: Environment) -> tuple[Revival, ...]:
    """Those of what serves."""
    slot = environment.slots.get(environment.active or "")
    return tuple(
        one
        for one in environment.revived.values()
        if slot and (one.release, one.run) == (slot.release, slot.run)
    )


def moved(environment: Environment, seconds: float) -> Environment:
    """The same on a clock that was set by so much."""
    return replace(
        environment,
        revived={name: replace(one, last=one.last + seconds) for name, one in environment.revived.items()},
    )


def _known(environment: Environment, name: str) -> Revival | None:
    one = environment.revived.get(name)
    return one if one in revivals(environment) else None


def _last(environment: Environment, name: str) -> float:
    one = _known(environment, name)
    return one.last if one else 0.0


def _count(environment: Environment, name: str, now: float) -> int:
    """In short succession."""
    one = _known(environment, name)
    return one.count if one and now - one.last < CALM else 0


def _pause(environment: Environment, name: str, after: float, ready: float, now: float) -> float:
    count = _count(environment, name, now)
    return min(max(after, ready) * 2**count, CALM) if count else 0.0
