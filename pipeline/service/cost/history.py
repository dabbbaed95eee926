"""Months of cost: one row for each, and one month as rows that other tools read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from pipeline.config.cost.prices import Costs
from pipeline.config.models import Config
from pipeline.domain.cost import focus
from pipeline.domain.cost.month import Line
from pipeline.domain.measuring.monthly import calendar
from pipeline.domain.measuring.monthly.calendar import Month
from pipeline.service.cost.costs import DIGITS, asked, machine_name, measured
from pipeline.store import Store
from pipeline.store.costs import Ledgers


def history(
    store: Store, config: Config, pipeline: str, months: int, zone: str, now: float
) -> dict[str, Any]:
    """The last so many months, the present one as far as it is, oldest first; none before measuring began. Raises
    RequestError for a zone that is none."""
    wanted, found = calendar.month(calendar.month_of(now, zone), zone), list[dict[str, Any]]()
    began = Ledgers(store.facts).began()
    while began is not None and len(found) < months and wanted.until > began:
        lines = measured(store, config.costs, wanted, now, ahead=False).spent.lines
        found.append(
            _month(wanted, [one for one in lines if not pipeline or one.account.pipeline == pipeline])
        )
        wanted = wanted.before()
    return {
        "zone": zone,
        "now": now,
        "began": began,
        "currency": config.costs.currency,
        "months": found[::-1],
    }


def _month(month: Month, lines: list[Line]) -> dict[str, Any]:
    purposes, pipelines = defaultdict[str, float](float), defaultdict[str, float](float)
    for one in lines:
        purposes[one.account.purpose] += one.cost
        pipelines[one.account.pipeline] += one.cost
    return {
        "month": month.name,
        "since": month.since,
        "until": month.until,
        "total": round(sum(purposes.values()), DIGITS),
        "purposes": {key: round(cost, DIGITS) for key, cost in sorted(purposes.items())},
        "pipelines": {key: round(cost, DIGITS) for key, cost in sorted(pipelines.items()) if key},
    }


def monthly_costs(store: Store, costs: Costs, wanted: Month, now: float) -> dict[str, dict[str, Any]]:
    """Of each pipeline that was measured in the month: ``{"total": 4.50, "purposes": {"serving": 4.10}}``; nothing
    without prices."""
    if not costs.machines:
        return {}
    found = defaultdict[str, list[Line]](list)
    for one in measured(store, costs, wanted, now, ahead=False).spent.lines:
        found[one.account.pipeline].append(one)
    each = {name: _month(wanted, lines) for name, lines in found.items() if name}
    return {name: {key: one[key] for key in ("total", "purposes")} for name, one in each.items()}


def focus_rows(
    store: Store, config: Config, instance: str, pipeline: str, month: str, zone: str, now: float
) -> Iterator[str]:
    """A month as lines of CSV: see ``domain.cost.focus``. Raises as ``shown``, before the first line."""
    wanted, costs = asked(month, zone, now), config.costs
    found = measured(store, costs, wanted, now, ahead=False).spent
    return focus.text(
        found, wanted, costs.currency, instance, lambda engine: machine_name(costs, engine), pipeline
    )
