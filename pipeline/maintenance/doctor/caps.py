"""``pushlive doctor``: the caps that the month comes close to, or passes."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.deploy.services import Services
from pipeline.domain.cost import cap
from pipeline.errors import PushliveError
from pipeline.maintenance.doctor.check import Check, check
from pipeline.store.costs.caps import Caps, caps_of


def examine(services: Services) -> Iterator[Check]:
    """A line for each. Nothing is broken, so they do not make the whole examination fail."""
    try:
        costs = services.configurations.current()[1].costs
        found = Caps(services.store).kept()
    except PushliveError:
        return  # said elsewhere
    caps = caps_of(costs)
    for one in found.sums:
        if cap.level(one) and caps.get(one.pipeline) == one.cap:
            advice = "`pushlive cost` shows what costs how much."
            text = cap.text(one, found.currency, found.month)
            yield {**check(f"cap of {cap.subject(one.pipeline)}", True, text), "advice": advice}
