"""What grows from run to run, and when it will break a budget. Pure.

The slope is the median of those between all pairs of runs (Theil–Sen), which a few odd runs do not change. It is taken
for real only if the Mann–Kendall test says so (H. B. Mann, "Nonparametric Tests Against Trend", 1945), and if both
halves of the runs rise by themselves: one jump between two levels is no trend.
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from pipeline.config.models import Budget
from pipeline.domain import budget as budgets
from pipeline.domain.measuring.comparing import WAITS
from pipeline.domain.run import Kind, Outcome, Run
from pipeline.lib.units import show_duration

RUNS = 60  # the newest ones that are looked at
ENOUGH = 12  # with fewer, nothing is said
DAY, WEEK = 86400.0, 7 * 86400.0
SPAN = 7 * DAY  # from the first to the last of them, below which nothing is said
CERTAIN = 2.58  # standard deviations of the test's statistic: one false alarm in two hundred
HALF_CERTAIN = 1.28  # the same for each half of the runs: one in ten
GREW = 2.0  # seconds over the time of these runs, below which nothing is said
AHEAD = 8 * WEEK  # a budget that breaks later than that is not foretold
FARTHER = 2.0  # nor one that breaks later than so many times the time that was looked at
SHARE = 0.5  # of the growth, for which a step has to account to be named

Point = tuple[float, float]  # when, seconds


@dataclass(frozen=True)
class Growth:
    """A stage (``step`` is "") or a step that takes longer from week to week. ``level``: seconds now; ``per_week``:
    seconds that a week adds; ``runs``: how many say so."""

    stage: str
    step: str
    per_week: float
    level: float
    runs: int


@dataclass(frozen=True)
class Forecast:
    """A budget (``deploy`` or ``whole``) that will be exceeded at about that time if it goes on like this. ``stage``
    and ``step``: what accounts for it, "" if nothing alone does, with ``step_per_week``."""

    budget: str
    limit: float
    level: float
    per_week: float
    at: float
    runs: int
    stage: str = ""
    step: str = ""
    step_per_week: float = 0.0


@dataclass(frozen=True)
class Foretold:
    """What is kept of a pipeline: its forecasts as of ``seen``; ``told``: when receivers were told, by budget."""

    seen: float = 0.0
    forecasts: tuple[Forecast, ...] = ()
    told: dict[str, float] = field(default_factory=dict)


def slope(points: Sequence[Point]) -> float | None:
    """Seconds for each second, None if the points do not show a rise."""
    points = sorted(points)
    if len(points) < ENOUGH or points[-1][0] - points[0][0] < SPAN or certainty(points) < CERTAIN:
        return None
    half = len(points) // 2
    if min(certainty(points[:half]), certainty(points[half:])) < HALF_CERTAIN:
        return None
    found = statistics.median(_slopes(points))
    return found if found * (points[-1][0] - points[0][0]) >= GREW else None


def _slopes(points: Sequence[Point]) -> list[float]:
    """Of all pairs at different times; 0 if there are none."""
    return [
        (b[1] - a[1]) / (b[0] - a[0]) for n, a in enumerate(points) for b in points[n + 1 :] if b[0] > a[0]
    ] or [0.0]


def certainty(points: Sequence[Point]) -> float:
    """How many standard deviations more pairs rise than fall (Mann–Kendall, without a correction for equal values,
    which only makes it more careful)."""
    rises = sum(
        (b[1] > a[1]) - (b[1] < a[1]) for n, a in enumerate(points) for b in points[n + 1 :]
    )  # in the order of their times
    count = len(points)
    variance = count * (count - 1) * (2 * count + 5) / 18
    return (rises - 1) / math.sqrt(variance) if rises > 0 and variance else 0.0


def level(points: Sequence[Point], rise: float, at: float) -> float:
    """Seconds at that time by the line with that slope."""
    return statistics.median(seconds - rise * when for when, seconds in points) + rise * at


def watched(runs: Sequence[Run], stages: tuple[str, ...]) -> list[Run]:
    """Those that say how a pipeline develops: pushes and deploys that went live through all of these stages, the newest
    ``RUNS``, oldest first."""
    found = [
        run
        for run in runs
        if run.outcome == Outcome.LIVE
        and run.kind != Kind.REVERT
        and run.stages == stages
        and run.image_ready
    ]
    return sorted(found, key=lambda run: run.number)[-RUNS:]


def growing(runs: Sequence[Run]) -> list[Growth]:
    """The stages and steps of ``watched`` runs that grow, the fastest first."""
    points: dict[tuple[str, str], list[Point]] = defaultdict(list)
    for run in runs:
        for key, seconds in _seconds(run).items():
            points[key].append((run.ended, seconds))
    found = [
        Growth(*key, rise * WEEK, level(known, rise, known[-1][0]), len(known))
        for key, known in points.items()
        if (rise := slope(known)) is not None
    ]
    return sorted(found, key=lambda one: -one.per_week)


def _seconds(run: Run) -> dict[tuple[str, str], float]:
    found: dict[tuple[str, str], float] = defaultdict(float)
    for one in run.steps:
        if one.step not in WAITS:
            found[one.stage, ""] += one.seconds
            found[one.stage, one.step] += one.seconds
    return found


def _whole(run: Run) -> float:
    return float(budgets.timing(run, Budget(), run.ended)["machine"])


def forecasts(runs: Sequence[Run], budget: Budget, now: float) -> list[Forecast]:
    """The budgets that ``watched`` runs will break, the nearest first."""
    grown = [one for one in growing(runs) if one.step]
    ways: tuple[tuple[str, float, Callable[[Run], float], bool], ...] = (
        ("deploy", budget.deploy, lambda run: budgets.spent(run, run.ended), False),
        ("whole", budget.whole, _whole, True),
    )
    found = []
    for name, limit, of, with_build in ways:
        steps = [one for one in grown if with_build or one.stage != "build"]
        one = _forecast(name, limit, [(run.ended, of(run)) for run in runs], steps, now)
        found += [one] if one else []
    return sorted(found, key=lambda one: one.at)


def _forecast(
    name: str, limit: float, points: Sequence[Point], steps: Sequence[Growth], now: float
) -> Forecast | None:
    rise = slope(points)
    if rise is None:
        return None
    first, last = points[0][0], points[-1][0]
    at_present = level(points, rise, last)
    at = last + (limit - at_present) / rise
    if at_present >= limit or at - now > min(AHEAD, FARTHER * (last - first)):
        return None
    main = steps[0] if steps and steps[0].per_week >= SHARE * rise * WEEK else None
    named = (main.stage, main.step, main.per_week) if main else ("", "", 0.0)
    return Forecast(name, limit, at_present, rise * WEEK, at, len(points), *named)


def text(one: Forecast, now: float) -> str:
    """``live/start grows by 2.00s a week; with it push → live passes 10:00 in about 3 weeks``, without a full stop."""
    way = "image ready → live" if one.budget == "deploy" else "push → live"
    what = f"passes the budget of {show_duration(one.limit)} {soon(one.at - now)}"
    if not one.step:
        return f"{way} grows by {show_duration(one.per_week)} a week and {what} (by {one.runs} runs)"
    step = f"{one.stage}/{one.step} grows by {show_duration(one.step_per_week)} a week"
    return f"{step}; with it {way} {what} (by {one.runs} runs)"


def soon(seconds: float) -> str:
    """``in about 5 days``."""
    if seconds < DAY:
        return "any day now"
    days = round(seconds / DAY)
    return (
        f"in about {days} {'day' if days == 1 else 'days'}"
        if days < 14
        else f"in about {round(days / 7)} weeks"
    )


def renewed(before: Foretold, found: Sequence[Forecast], now: float) -> tuple[Foretold, tuple[Forecast, ...]]:
    """What is kept from now on, and what receivers are to be told: each budget once, and again only after four weeks in
    which it was not foretold."""
    told = {name: at for name, at in before.told.items() if now - at < 4 * WEEK}
    fresh = tuple(one for one in found if one.budget not in told)
    told |= {one.budget: now for one in found}
    return Foretold(now, tuple(found), told), fresh
