"""What made a run slower or faster than usual. Pure.

Usual is the median of the last comparable runs; how much they vary is their median absolute deviation, times 1.4826 to
be a standard deviation where they vary normally (Rousseeuw and Croux, "Alternatives to the Median Absolute Deviation",
1993). Both stay as they are if a few runs were quite different.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.domain.measuring.difference import Difference, StepDifference
from pipeline.domain.measuring.missed import place
from pipeline.domain.run import Kind, Outcome, Run, StepResult
from pipeline.lib.units import show_duration

RUNS = 20  # comparable runs that are looked at
ENOUGH = 5  # with fewer, nothing is said
NOTABLE = 2.0  # seconds of difference, below which nothing is said
SHARE = 0.2  # of the usual time, below which nothing is said
SPREADS = 3.0  # of the usual variation, below which nothing is said
PART = 0.2  # of the whole difference that a step has to account for to be named
NAMED = 3  # steps at most
WAITS = frozenset({"bake", "shift"})  # steps that only watch a release: as long as the configuration says
_NORMAL = 1.4826

BETWEEN = ("", "")  # the time between the steps
Key = tuple[str, str]


@dataclass(frozen=True)
class Usual:
    """The median and the variation (like a standard deviation) of some seconds."""

    median: float
    spread: float

    def differs(self, seconds: float) -> bool:
        return abs(seconds - self.median) >= max(NOTABLE, SHARE * self.median, SPREADS * self.spread)


def usual(seconds: Sequence[float]) -> Usual:
    """Raises statistics.StatisticsError for none."""
    median = statistics.median(seconds)
    return Usual(median, _NORMAL * statistics.median(abs(one - median) for one in seconds))


def worked(run: Run) -> float:
    """Seconds from the push or request to the end of the run, without waiting for people, at gates, for freezes, for
    other runs, for a worker, and without steps that only watch."""
    watched = sum(one.seconds for one in run.steps if one.step in WAITS)
    return max(
        0.0, run.ended - (run.started or run.accepted) - run.human - run.queued - watched
    )  # ``started``: the first one


def steps(run: Run) -> dict[Key, float]:
    """The seconds of each step that is not a wait, and of the time between them."""
    found: dict[Key, float] = defaultdict(float)
    for one in run.steps:
        if one.step not in WAITS:
            found[one.stage, one.step] += one.seconds
    found[BETWEEN] = max(0.0, worked(run) - sum(found.values()))
    return dict(found)


def comparable(run: Run, others: Iterable[Run]) -> list[Run]:
    """Those of the others that went live before it on the same way: through the same stages, with an image that was
    built, reused or given as its own was."""
    return [
        one
        for one in others
        if one.number < run.number
        and one.outcome == Outcome.LIVE
        and one.stages == run.stages
        and (one.kind == Kind.REVERT) == (run.kind == Kind.REVERT)
        and _image(one) == _image(run)
    ][:RUNS]


def _image(run: Run) -> str:
    if run.from_release is not None:
        return "given"
    return "reused" if any(one.step == "build" and one.detail == "reused" for one in run.steps) else "built"


def compare(run: Run, others: Iterable[Run]) -> Difference | None:
    """``run``: one that has gone live, with its end; ``others``: newest first, more than are comparable. None if there
    are too few of them, and for a run that took about as long as usual."""
    known = comparable(run, others)
    if len(known) < ENOUGH:
        return None
    took, expected = worked(run), usual([worked(one) for one in known])
    if not expected.differs(took):
        return None
    parts = _parts(run, known, took - expected.median)
    return Difference(
        took, expected.median, len(known), parts, _text(run, took, expected.median, parts, len(known))
    )


def _parts(run: Run, known: Sequence[Run], whole: float) -> tuple[StepDifference, ...]:
    """The steps that differ in the same direction, and account for enough of the whole difference."""
    before, found = [steps(one) for one in known], list[StepDifference]()
    for key, seconds in steps(run).items():
        expected = usual([one.get(key, 0.0) for one in before])
        more = seconds - expected.median
        if more * whole > 0 and abs(more) >= max(PART * abs(whole), SPREADS * expected.spread):
            why = _why(run, key, known) if more > 0 else _why_faster(run, key)
            found.append(StepDifference(*key, seconds, expected.median, why))
    return tuple(sorted(found, key=lambda one: -abs(one.seconds - one.usual))[:NAMED])


def _why(run: Run, key: Key, known: Sequence[Run]) -> str:
    step = _step(run, key)
    if step is None:
        return ""
    if key == ("build", "build"):
        missed = step.data.get("missed")
        if missed and not _as_usual(missed, known):
            return f"its cache missed from {place(missed)} on: {missed['why']}"
        return ""
    if key[1] == "smoke":
        tried = max(run.checks.get(key[0], ()), key=lambda one: one.attempts, default=None)
        if tried and tried.attempts > 1:
            return f"{tried.asked} needed {tried.attempts} attempts"
    return step.detail if key == ("build", "fetch") and ", after " in step.detail else ""


def _why_faster(run: Run, key: Key) -> str:
    step = _step(run, key)
    return step.detail if step and key == ("build", "build") and "cached" in step.detail else ""


def _step(run: Run, key: Key) -> StepResult | None:
    return next((one for one in run.steps if (one.stage, one.step) == key), None)


def _as_usual(missed: dict[str, Any], known: Sequence[Run]) -> bool:
    """Whether most of the other builds missed the same line, or an earlier one: then it is not what is different."""
    lines = [found["line"] for one in known if (found := _missed(one)) and found["line"]]
    return bool(missed["line"]) and 2 * sum(one <= missed["line"] for one in lines) > len(known)


def _missed(run: Run) -> dict[str, Any] | None:
    step = _step(run, ("build", "build"))
    return step.data.get("missed") if step else None


def _text(run: Run, took: float, median: float, parts: Sequence[StepDifference], runs: int) -> str:
    start = "push" if run.kind == Kind.PUSH else "request"
    head = (
        f"{start} → {run.stages[-1]} {show_duration(took)}, {_more(took - median)} than usual "
        f"(median of {runs} runs: {show_duration(median)})"
    )
    said = [
        f"{named(one)} {_more(one.seconds - one.usual)}" + (f": {one.why}" if one.why else "")
        for one in parts
    ]
    return f"{head}: {'; '.join(said)}" if said else f"{head}; no single step accounts for it"


def named(one: StepDifference) -> str:
    return f"{one.stage}/{one.step}" if one.step else "the time between the steps"


def _more(seconds: float) -> str:
    return f"{show_duration(abs(seconds))} {'slower' if seconds > 0 else 'faster'}"
