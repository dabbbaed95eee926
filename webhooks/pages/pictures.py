"""Where everything is in the pictures of a month's report: plain numbers for its template, in the units of each SVG."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from math import ceil
from typing import Any
from zoneinfo import ZoneInfo

WIDTH = 720.0
PLOT, LEFT = 180.0, 46.0  # height of a plot, and room for the figures beside it
CELL = 22.0  # a day in the grid of releases
NAMES = 92.0  # room for the environments' names
ROUND = (
    0.1,
    0.25,
    0.5,
    1.0,
    2.0,
    5.0,
    10.0,
    15.0,
    30.0,
    60.0,
    120.0,
    300.0,
    600.0,
    900.0,
    1800.0,
    3600.0,
)  # seconds
TICKS, BINS = 5, 14  # at most
FAR = 2.5  # times as high as all runs: a budget beyond that is not drawn
_SHADES = 4


def of(report: dict[str, Any]) -> dict[str, Any]:
    """What the template is given: the report, with the pictures of each pipeline and times as texts."""
    zone = ZoneInfo(report["zone"])

    def when(at: float) -> str:
        return datetime.fromtimestamp(at, zone).strftime("%Y-%m-%d %H:%M")

    pipelines = [
        {
            **one,
            "grid": _grid(one, report["days"]),
            "series": _series(one, report["since"], report["until"], when),
            "bars": _bars(one),
        }
        for one in report["pipelines"]
    ]
    return {"report": report, "pipelines": pipelines, "when": when, "change": _change}


def _grid(pipeline: dict[str, Any], days: int) -> dict[str, Any] | None:
    """Releases by environment and day; None if there were none."""
    counts = Counter((one["environment"], one["day"]) for one in pipeline["arrivals"])
    if not counts:
        return None
    backs = {(one["environment"], one["day"]) for one in pipeline["arrivals"] if one["back"]}
    found = {one["environment"] for one in pipeline["arrivals"]}
    names = [name for name in pipeline["stages"] if name in found]
    names += sorted(found - set(names))
    most = max(counts.values())
    cells = [
        {
            "x": (day - 1) * CELL,
            "y": 18 + names.index(name) * CELL,
            "count": count,
            "shade": 1 + round((_SHADES - 1) * (count - 1) / max(1, most - 1)),
            "back": (name, day) in backs,
            "name": name,
            "day": day,
        }
        for (name, day), count in sorted(counts.items())
    ]
    rows = [{"name": name, "y": 18 + n * CELL} for n, name in enumerate(names)]
    marks = [{"day": day, "x": (day - 0.5) * CELL} for day in range(1, days + 1)]
    size = {"names": NAMES, "width": days * CELL + 2, "height": 20 + len(names) * CELL, "cell": CELL - 2}
    return {"cells": cells, "rows": rows, "marks": marks, **size}


def _series(pipeline: dict[str, Any], since: float, until: float, when: Any) -> dict[str, Any] | None:
    """Push → live of each run against the budget, and how the runs are spread; None if none went live."""
    went, budget = pipeline["went"], float(pipeline["budget"]["whole"])
    if not went:
        return None
    highest = max(float(one["whole"]) for one in went) or 1.0
    near = budget <= FAR * highest
    top = 1.1 * max(highest, budget if near else 0.0)
    width = WIDTH - LEFT

    def y(seconds: float) -> float:
        return round(PLOT * (1 - seconds / top), 1)

    points = [
        {
            "x": round(LEFT + width * min(1.0, max(0.0, (one["at"] - since) / (until - since))), 1),
            "y": y(float(one["whole"])),
            "over": one["whole"] > budget,
            "run": one["run"],
            "seconds": one["whole"],
            "when": when(one["at"]),
        }
        for one in went
    ]
    each = _round(top / TICKS)
    ticks = [{"y": y(n * each), "seconds": n * each} for n in range(int(top / each) + 1)]
    lines = {"budget": y(budget) if near else None, "median": y(float(pipeline["whole"]["p50"]))}
    return {"points": points, "ticks": ticks, **lines, "bins": _bins(went, highest, budget), "limit": budget}


def _round(seconds: float) -> float:
    """The next of ``ROUND``, or whole hours."""
    return next((one for one in ROUND if one >= seconds), 3600.0 * ceil(seconds / 3600.0))


def _bins(went: list[dict[str, Any]], highest: float, budget: float) -> list[dict[str, Any]]:
    """A histogram: bars over equal spans of seconds."""
    each = _round(highest / (BINS - 1))
    bins = int(highest / each) + 1
    counts = Counter(int(one["whole"] / each) for one in went)
    most, width = max(counts.values()), (WIDTH - LEFT) / bins
    return [
        {
            "x": round(LEFT + n * width + 2, 1),
            "width": round(width - 4, 1),
            "height": round(62.0 * counts[n] / most, 1),
            "count": counts[n],
            "since": each * n,
            "until": each * (n + 1),
            "over": each * n >= budget,
        }
        for n in range(bins)
    ]


def _bars(pipeline: dict[str, Any]) -> list[dict[str, Any]]:
    """Median and 95 % of each stage, as shares of the longest."""
    stages = [one for one in pipeline["steps"] if not one["step"]]
    most = max((float(one["p95"]) for one in stages), default=0.0) or 1.0
    return [
        {**one, "median": round(100 * one["p50"] / most, 2), "most": round(100 * one["p95"] / most, 2)}
        for one in stages
    ]


def _change(now: float | None, before: float | None) -> str:
    """``+12 %``; "" if there is nothing to compare with."""
    if now is None or not before:
        return ""
    share = round(100 * (now - before) / before)
    return f"{share:+} %" if share else "the same"
