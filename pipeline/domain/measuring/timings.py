"""How fast and how well a pipeline has been for some time: every stage and step, and DORA's four figures. Pure.

The figures are defined as in "DORA's software delivery performance metrics" (https://dora.dev/guides/dora-metrics/), as
far as Pushlive knows what they are about: a change is a push, production is the last environment, and a deployment has
failed if it was reverted.
"""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pipeline.config.models import Budget
from pipeline.domain.budget import spent
from pipeline.domain.run import Kind, Outcome, Run

HALF = 5  # runs with a step in each half of the time: with fewer, nothing is said about how it developed
GREW = 1.2  # times as long, after which a step counts as slower
NOTABLE = 0.5  # seconds by which it has to be slower


@dataclass(frozen=True)
class Spread:
    """Of ``runs`` runs, in seconds: the median, and what 95 of 100 stay below."""

    runs: int
    p50: float
    p95: float


@dataclass(frozen=True)
class Slower:
    """A step whose median was ``before`` in the first half of the time and ``after`` in the second."""

    stage: str
    step: str
    before: float
    after: float


@dataclass(frozen=True)
class Timings:
    """Of the runs that ended between two times. Durations are seconds, ``seconds`` is their distance.

    ``within``: how many of the runs that went live kept ``budget.deploy``; ``deploy``: from image ready to live,
    without waiting; ``steps``: by stage and step, those of a whole stage under "". ``deployments``: pushes and deploys
    that went live; ``lead``: from the push to live, with all waiting; ``reverted``: deployments that a revert of
    the last environment took back; ``restored``: from live to the end of that revert."""

    seconds: float
    outcomes: dict[str, int]
    within: int
    deploy: Spread | None
    steps: dict[tuple[str, str], Spread]
    slower: tuple[Slower, ...]
    deployments: int
    lead: Spread | None
    reverted: int
    restored: Spread | None


def timings(runs: Iterable[Run], budget: Budget, last: str, since: float, now: float) -> Timings:
    """``runs``: all that ended in that time, in any order; ``last``: the last environment."""
    ended = sorted((run for run in runs if run.ended), key=lambda run: (run.ended, run.number))
    live = [
        run for run in ended if run.outcome == Outcome.LIVE and run.kind != Kind.REVERT and last in run.stages
    ]
    took = [spent(run, run.ended) for run in live if run.image_ready]
    pushes = [run.ended - run.accepted for run in live if run.kind == Kind.PUSH]
    restored = list(_restored(ended, live, last))
    return Timings(
        seconds=max(now - since, 1.0),
        outcomes=dict(Counter(_outcome(run) for run in ended)),
        within=sum(seconds <= budget.deploy for seconds in took),
        deploy=spread(took),
        steps=_steps(live),
        slower=tuple(_slower(live)),
        deployments=len(live),
        lead=spread(pushes),
        reverted=len(restored),
        restored=spread(restored),
    )


def _outcome(run: Run) -> str:
    if run.kind == Kind.REVERT:
        return "reverted" if run.outcome == Outcome.LIVE else "revert failed"
    return run.outcome.value if run.outcome else ""


def _restored(ended: Sequence[Run], live: Sequence[Run], last: str) -> Iterable[float]:
    """For each deployment that was reverted, the seconds from its end to that of the revert. A second revert in a row
    takes back what the first one brought, so it is about the deployment before. One to the release that serves, which
    takes the visitors from another one that has a part of them, takes back none."""
    standing, numbers = list[Run](), {run.number for run in live}
    for run in ended:
        if run.kind == Kind.REVERT and run.outcome == Outcome.LIVE and run.stages[-1] == last:
            if standing and (run.release is None or run.release != standing[-1].release):
                yield run.ended - standing.pop().ended
        elif run.number in numbers:
            standing.append(run)


def spread(seconds: Sequence[float]) -> Spread | None:
    """None for nothing."""
    if not seconds:
        return None
    if len(seconds) == 1:
        return Spread(1, seconds[0], seconds[0])
    cuts = statistics.quantiles(seconds, n=20, method="inclusive")
    return Spread(len(seconds), cuts[9], cuts[18])


def _seconds(run: Run) -> dict[tuple[str, str], float]:
    """How long each step and each stage took; a step that was taken up again counts as one."""
    found: dict[tuple[str, str], float] = defaultdict(float)
    for one in run.steps:
        found[one.stage, ""] += one.seconds
        found[one.stage, one.step] += one.seconds
    return found


def _steps(runs: Sequence[Run]) -> dict[tuple[str, str], Spread]:
    newest_first = _by_step(runs[::-1])  # stages and steps in the order of the newest run
    return {name: one for name, seconds in newest_first.items() if (one := spread(seconds))}


def _by_step(runs: Sequence[Run]) -> dict[tuple[str, str], list[float]]:
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    for run in runs:
        for name, seconds in _seconds(run).items():
            found[name].append(seconds)
    return found


def _slower(runs: Sequence[Run]) -> Iterable[Slower]:
    """Steps that take longer in the second half of the runs than in the first, the worst first."""
    slower = []
    for (stage, step), seconds in _by_step(runs).items():
        half = len(seconds) // 2
        if step and half >= HALF:
            before, after = statistics.median(seconds[:half]), statistics.median(seconds[half:])
            if after > before * GREW and after - before >= NOTABLE:
                slower.append(Slower(stage, step, before, after))
    return sorted(slower, key=lambda one: one.before - one.after)
