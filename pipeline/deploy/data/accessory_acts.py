"""When a person has taken an accessory out of service: a release that fails without it meanwhile is not to blame."""

from __future__ import annotations

from contextlib import suppress

from pipeline.domain.watching.bake import GRACE
from pipeline.store import Store

HOLDER = "accessory act"  # who has the lease of an accessory at which a person is at work


def acted(store: Store, accessory: str, now: float) -> None:
    """Remembers that an act on it has begun or ended. ``accessory``: its id; ``now``: in seconds."""
    store.facts.set(_fact(accessory), f"{now:.0f}")


def spared(store: Store, accessory: str, now: float) -> float:
    """Until when nothing is held against what uses it, in seconds; 0.0 if no one has acted on it."""
    if store.leases.holder(f"accessory:{accessory}") == HOLDER:
        return now + GRACE
    with suppress(ValueError):
        return float(store.facts.get(_fact(accessory)) or 0.0) + GRACE
    return 0.0


def _fact(accessory: str) -> str:
    return f"accessory-acted:{accessory}"
