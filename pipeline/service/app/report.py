"""The month of one pipeline or of all, for `pushlive report`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from pipeline.config.models import Config
from pipeline.domain.measuring.monthly.advice import advice
from pipeline.domain.measuring.monthly.calendar import Month, month, month_of
from pipeline.domain.measuring.monthly.report import figures
from pipeline.domain.run import Run, State
from pipeline.errors import DamagedRecord, NotFound
from pipeline.lib import codec
from pipeline.secrets.redaction import Mask
from pipeline.service.app.timings import AT_ONCE, MOST, forecasts
from pipeline.service.cost.history import monthly_costs
from pipeline.store import Store

_NAMES = frozenset({"pipeline", "stage", "step", "environment", "run", "commit", "zone", "month"})


def report(
    store: Store,
    config: Config,
    mask_of: Callable[[str], Mask],
    *,
    name: str,
    zone: str,
    pipelines: tuple[str, ...],
    now: float,
) -> dict[str, Any]:
    """``{"month", "zone", "since", "until", "now", "under_way", "days", "currency", "pipelines"}``; ``name``: as
    2026-11, "" for the present month. Each pipeline has its ``cost``, null if there is none: see ``monthly_costs``.
    Raises RequestError for a month or a zone that is none."""
    wanted = month(name or month_of(now, zone), zone)
    costs = monthly_costs(store, config.costs, wanted, now)
    return {
        "month": wanted.name,
        "zone": wanted.zone,
        "since": wanted.since,
        "until": wanted.until,
        "now": now,
        "under_way": wanted.since <= now < wanted.until,
        "days": len(wanted.days) - 1,
        "currency": config.costs.currency,
        "pipelines": [
            {**_pipeline(store, config, mask_of(one), one, wanted, now), "cost": costs.get(one)}
            for one in pipelines
        ],
    }


def _pipeline(
    store: Store, config: Config, mask: Mask, pipeline: str, wanted: Month, now: float
) -> dict[str, Any]:
    """The fields of ``Figures`` with ``pipeline``, ``stages``, ``budget``, ``runs``, ``first_run`` (0 without one),
    ``truncated`` (older runs were not read) and ``advice``."""
    runs, truncated = _runs(store, pipeline, wanted.before().since)
    known = config.pipelines.get(pipeline)
    budget = config.budget_of(pipeline) if known else config.budget
    stages = known.stages if known else max((run.stages for run in runs), key=len, default=("",))
    found = figures(runs, wanted, budget, stages, now)
    shown = {
        **codec.plain(found),
        "runs": sum(found.outcomes.values()),
        "advice": [*_foretold(store, config, pipeline, wanted, now), *advice(found, budget)],
    }
    about = {
        "pipeline": pipeline,
        "stages": list(stages),
        "budget": {"deploy": budget.deploy, "whole": budget.whole},
    }
    first = {"first_run": _first(store, pipeline), "truncated": truncated}
    return {**about, **first, **(_masked(mask, shown) if mask else shown)}


def _foretold(store: Store, config: Config, pipeline: str, wanted: Month, now: float) -> Iterator[str]:
    """The budgets that will be exceeded, in the present month."""
    if wanted.since <= now < wanted.until:
        for one in forecasts(store, config, pipeline, now):
            yield f"{one['text'][:1].upper()}{one['text'][1:]}: shorten it before."


def _masked(mask: Mask, value: Any) -> Any:
    """Also what was recorded before the secret was set."""
    if isinstance(value, str):
        return mask.text(value)
    if isinstance(value, dict):
        return {key: one if key in _NAMES else _masked(mask, one) for key, one in value.items()}
    return [_masked(mask, one) for one in value] if isinstance(value, list) else value


def _runs(store: Store, pipeline: str, since: float) -> tuple[list[Run], bool]:
    """Those that have ended since then, or not at all; whether older ones were left out."""
    found = {run.number: run for run in _open(store, pipeline)}
    for skip in range(0, MOST, AT_ONCE):
        runs = store.recent(pipeline, AT_ONCE, readable=True, skip=skip)
        found |= {run.number: run for run in runs if run.ended >= since}
        if (not runs and store.last_run(pipeline) <= skip) or (
            runs and all(run.accepted < since for run in runs)
        ):
            return list(found.values()), False
    return list(found.values()), store.last_run(pipeline) > MOST


def _open(store: Store, pipeline: str) -> Iterator[Run]:
    with suppress(DamagedRecord):
        yield from (run for run in store.open_runs(pipeline) if run.state == State.WAITING)


def _first(store: Store, pipeline: str) -> float:
    with suppress(NotFound, DamagedRecord):
        return store.run(pipeline, 1).accepted
    return 0.0
