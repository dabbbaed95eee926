"""What is shown about how fast and how well a pipeline has been."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pipeline.config.models import Config
from pipeline.deploy.explaining import foretold
from pipeline.domain.measuring import trends
from pipeline.domain.measuring.timings import Timings, timings
from pipeline.domain.measuring.trends import Forecast
from pipeline.domain.run import Run
from pipeline.lib import codec
from pipeline.store import Store

AT_ONCE = 200  # runs in one request
MOST = 10_000  # runs that are read


def shown(store: Store, config: Config, pipeline: str, since: float, now: float) -> dict[str, Any]:
    """``{"pipeline", "since", "runs", "budget", …}`` with the fields of ``Timings``; ``steps`` is a list of
    ``{"stage", "step", "runs", "p50", "p95"}``, with "" as the step for a whole stage. Times are seconds since the
    epoch, durations seconds."""
    found = tuple(_ended(store, pipeline, since))
    budget = config.budget_of(pipeline) if pipeline in config.pipelines else config.budget
    known = config.pipelines.get(pipeline)
    stages = known.stages if known else found[0].stages if found else ("",)
    result = timings(found, budget, stages[-1], since, now)
    watched = trends.watched(found, stages)
    return {
        "pipeline": pipeline,
        "since": since,
        "runs": len(found),
        "budget": budget.deploy,
        **_plain(result, stages),
        "growing": [codec.plain(one) for one in trends.growing(watched)],
        "forecasts": [forecast(one, now) for one in trends.forecasts(watched, budget, now)],
    }


def forecast(one: Forecast, now: float) -> dict[str, Any]:
    """``{"budget", "limit", "level", "per_week", "at", "runs", "stage", "step", "step_per_week", "text"}``"""
    return {**codec.plain(one), "text": trends.text(one, now)}


def forecasts(store: Store, config: Config, pipeline: str, now: float) -> list[dict[str, Any]]:
    """Those that its last run left, as far as they still hold."""
    budget = config.budget_of(pipeline) if pipeline in config.pipelines else config.budget
    return [forecast(one, now) for one in foretold.standing(store, pipeline, budget, now)]


def _plain(result: Timings, stages: tuple[str, ...]) -> dict[str, Any]:
    order = {stage: number for number, stage in enumerate(stages)}
    steps = sorted(result.steps.items(), key=lambda item: order.get(item[0][0], len(order)))
    return {
        "seconds": result.seconds,
        "outcomes": result.outcomes,
        "within": result.within,
        "deploy": codec.plain(result.deploy) if result.deploy else None,
        "steps": [{"stage": stage, "step": step, **codec.plain(one)} for (stage, step), one in steps],
        "slower": [codec.plain(one) for one in result.slower],
        "deployments": result.deployments,
        "lead": codec.plain(result.lead) if result.lead else None,
        "reverted": result.reverted,
        "restored": codec.plain(result.restored) if result.restored else None,
    }


def _ended(store: Store, pipeline: str, since: float) -> Iterator[Run]:
    """The runs that have ended since then, newest first. Damaged records are left out."""
    for skip in range(0, MOST, AT_ONCE):
        runs = store.recent(pipeline, AT_ONCE, readable=True, skip=skip)
        yield from (run for run in runs if run.ended > since)
        if not runs or all(run.accepted < since for run in runs):
            return
