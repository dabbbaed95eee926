"""The caps of a month, as data and in words."""

from __future__ import annotations

from typing import Any

from pipeline.config.models import Config
from pipeline.domain.cost import cap
from pipeline.domain.cost.cap import Sum
from pipeline.store import Store
from pipeline.store.costs.caps import Caps, caps_of

DIGITS = 6
AS_NOW = "with what changed within the last week as it is now"  # which the lines of a month do not have


def shown(store: Store, config: Config, pipeline: str, now: float) -> list[dict[str, Any]]:
    """Each cap with its sums, as they are now: ``[{"pipeline", "cap", "spent", "projected", "level", "text"}]``;
    ``pipeline``: "" for the month in all; ``level``: near or over, else "". Of one pipeline or of all."""
    caps = {name: one for name, one in caps_of(config.costs).items() if not pipeline or name == pipeline}
    if not caps or not config.costs.machines:
        return []
    standing = Caps(store).standing(config.costs, now)
    return [_shown(standing.sum(name, one), config) for name, one in sorted(caps.items())]


def _shown(one: Sum, config: Config) -> dict[str, Any]:
    limit = one.cap or 0.0
    return {
        "pipeline": one.pipeline,
        "cap": limit,
        "spent": round(one.spent, DIGITS),
        "projected": round(one.projected, DIGITS),
        "level": cap.level(one),
        "text": f"of the cap of {limit:.2f} {config.costs.currency}{f' of {one.pipeline}' if one.pipeline else ''}: "
        f"{cap.percent(one.spent, limit)} now, {cap.percent(one.projected, limit)} by the end: "
        f"{one.projected:.2f} {config.costs.currency}, {'with its previews, and ' if one.pipeline else ''}{AS_NOW}",
    }


def warnings(store: Store, config: Config) -> list[dict[str, Any]]:
    """The caps that the month comes close to or passes, as the keeper last saw it: ``[{"pipeline", "level", "cap",
    "spent", "projected", "text"}]``. A cap that was changed since is not among them."""
    found, caps = Caps(store).kept(), caps_of(config.costs)
    return [
        {
            "pipeline": one.pipeline,
            "level": cap.level(one),
            "cap": one.cap,
            "spent": round(one.spent, DIGITS),
            "projected": round(one.projected, DIGITS),
            "text": cap.text(one, found.currency, found.month),
        }
        for one in found.sums
        if cap.level(one) and caps.get(one.pipeline) == one.cap
    ]
