"""What the pages show, as plain data derived from the service's ``status`` and ``show``."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup, escape

from pipeline.domain.capacity.rows import rows, sentences
from pipeline.lib.text import printable
from pipeline.lib.units import show_duration

_AGES = ((86400 * 2, 86400, "days"), (3600 * 2, 3600, "hours"), (120, 60, "minutes"), (0, 1, "seconds"))


def age(since: float | None, now: float | None = None) -> str:
    """``5 minutes ago``; "" for None. Times are seconds since the epoch."""
    if not since:
        return ""
    seconds = max(0.0, (time.time() if now is None else now) - since)
    if seconds < 5:
        return "just now"
    unit, name = next((unit, name) for least, unit, name in _AGES if seconds >= least)
    return f"{int(seconds // unit)} {name} ago"


def moment(at: float | None) -> str:
    """An ISO 8601 time in UTC, for ``<time datetime>``."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at)) if at else ""


def coded(text: object) -> Markup:
    """A sentence for a page: what stands in backquotes is code."""
    shown = str(escape(printable(str(text or ""))))
    return Markup(re.sub(r"`([^`\n]+)`", r"<code>\1</code>", shown))  # noqa: S704 - escaped above


@dataclass(frozen=True)
class Bar:
    """One step. ``left`` and ``width`` are percentages of the run's machine time; ``figures``: what a release answered
    with each part of the visitors, a line each."""

    name: str
    seconds: float
    ok: bool
    detail: str
    left: float
    width: float
    figures: tuple[str, ...] = ()


@dataclass(frozen=True)
class Stage:
    name: str
    state: str  # done, failed, now, waiting, due, skipped
    seconds: float
    bars: tuple[Bar, ...]
    checks: tuple[dict[str, Any], ...]


def stages(run: dict[str, Any]) -> tuple[Stage, ...]:
    """The timing table: the steps end to end, without the time spent waiting for people."""
    total = sum(step["seconds"] for step in run["steps"]) or 1.0
    left = 0.0
    rows: dict[str, list[Bar]] = {name: [] for name in run["stages"]}
    for step in run["steps"]:
        width = 100 * step["seconds"] / total
        bar = Bar(
            step["step"], step["seconds"], step["ok"], step["detail"], left, max(width, 0.4), _figures(step)
        )
        rows.setdefault(step["stage"], []).append(bar)
        left += width
    checks = run.get("checks") or {}
    return tuple(
        Stage(
            name,
            _state(run, name, bars),
            sum(bar.seconds for bar in bars),
            tuple(bars),
            tuple(checks.get(name, ())),
        )
        for name, bars in rows.items()
    )


def _figures(step: dict[str, Any]) -> tuple[str, ...]:
    """Those of a release that failed are on its card."""
    given = (step.get("data") or {}).get("steps") if step["step"] == "shift" and step["ok"] else ()
    return tuple(map(str, given or ()))


def _state(run: dict[str, Any], stage: str, bars: list[Bar]) -> str:
    failure = run.get("failure") or {}
    if failure.get("stage") == stage or any(not bar.ok for bar in bars):
        return "failed"
    if run["state"] == "waiting" and run.get("gate") == stage:
        return "waiting"
    if run["state"] == "running" and run.get("stage") == stage:
        return "now"
    if bars:
        return "done"
    return "skipped" if run["state"] == "ended" else "due"


@dataclass(frozen=True)
class Meter:
    """How much of a budget is used. ``percent`` is at most 100; ``over``: the budget is exceeded."""

    name: str
    text: str
    percent: float
    over: bool


def meters(timing: dict[str, Any]) -> tuple[Meter, ...]:
    """The two budgets of ``pipeline.domain.budget.timing``: seconds of machine time."""
    names = {"deploy": "Image ready → live", "whole": "Push → live"}
    return tuple(meter(name, timing[key], timing["budget"][key]) for key, name in names.items())


def meter(name: str, used: float, budget: float) -> Meter:
    """Both in seconds."""
    text = f"{show_duration(max(used, 0.0))} of {show_duration(budget)}"
    return Meter(name, text, min(100.0, 100 * max(used, 0.0) / budget) if budget else 100.0, used > budget)


@dataclass(frozen=True)
class Lane:
    """Of a stage or step: its name, whether it is a stage, and as percentages of the longest what half of the runs and
    what 95 of 100 stay below."""

    name: str
    whole: bool
    p50: float
    p95: float
    runs: int
    median: float
    most: float


def lanes(timings: dict[str, Any]) -> tuple[Lane, ...]:
    """From ``Queries.timings``."""
    longest = max((one["p95"] for one in timings["steps"]), default=0.0) or 1.0
    return tuple(
        Lane(
            one["step"] or one["stage"],
            not one["step"],
            one["p50"],
            one["p95"],
            one["runs"],
            100 * one["p50"] / longest,
            100 * one["p95"] / longest,
        )
        for one in timings["steps"]
    )


def machines(capacity: dict[str, Any]) -> list[dict[str, Any]]:
    """From ``Queries.capacity``: each with its ``rows`` and ``sentences``."""
    return [{**one, "rows": [*rows(one)], "sentences": [*sentences(one)]} for one in capacity["machines"]]


def badge(run: dict[str, Any]) -> str:
    """The word for a run's state: its outcome once it has one."""
    return str(run.get("outcome") or run["state"])


def approved_by(run: dict[str, Any], person: str) -> str:
    """The environment for which that person has approved the run and may still withdraw that, "" if there is none."""
    where = run.get("gate") or run.get("stage") or ""
    is_in = any((one["stage"], one["step"]) == (where, "switch") and one["ok"] for one in run["steps"])
    given = (
        one
        for one in run.get("approvals") or ()
        if (one["environment"], one["release"]) == (where, run["release"])
        and one["by"].casefold() == person.casefold()
    )
    return where if run["state"] != "ended" and not is_in and any(given) else ""


def promotable_by(run: dict[str, Any], person: str) -> bool:
    """Whether a promotion of the run by that person could count now."""
    if run["state"] != "waiting" or run.get("freeze") or run.get("frozen"):
        return False
    approval = run.get("approval") or {}
    given = {one["by"].casefold() for one in approval.get("given") or ()}
    return person.casefold() not in {*given, str(approval.get("not_by") or "").casefold()}


def promote_word(run: dict[str, Any]) -> str:
    """What a promotion of it is called."""
    return "Force" if run.get("taken_back") else "Approve" if run.get("approval") else "Promote"


def heading(text: str) -> Markup:
    """An error as a title: its first word is capitalised unless it is a name, such as shop/live or hello#42."""
    first = text.partition(" ")[0]
    return coded(text[:1].upper() + text[1:] if first.isalpha() else text)
