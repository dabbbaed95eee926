"""What a pipeline did in a month. Times are seconds since the epoch, durations seconds."""

from __future__ import annotations

import re
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from pipeline.config.models import Budget
from pipeline.domain import budget as budgets
from pipeline.domain.measuring.comparing import steps as step_seconds
from pipeline.domain.measuring.missed import place
from pipeline.domain.measuring.monthly.calendar import Month
from pipeline.domain.measuring.timings import Spread, spread, timings
from pipeline.domain.run import Kind, Outcome, Run, State

WAITS = 5  # the longest ones are listed
ERRORS = 3  # of each step that failed
LINES = 5  # of Dockerfiles
GREW = 1.2  # times as long as in the month before, after which a step counts as slower
NOTABLE = 1.0  # seconds by which it has to be slower
ENOUGH = 5  # runs in each month


@dataclass(frozen=True)
class Arrival:
    """A release that came into an environment. ``back``: by a revert."""

    environment: str
    at: float
    day: int
    release: int
    run: str
    commit: str
    message: str
    by: str
    back: bool


@dataclass(frozen=True)
class Went:
    """A run that went live: from the push, and from image ready, without waiting for people."""

    run: str
    at: float
    whole: float
    deploy: float


@dataclass(frozen=True)
class StepTime:
    """Of runs that went live. ``before``: the median of the month before, None without one; ``step`` is "" for a whole
    stage."""

    stage: str
    step: str
    runs: int
    p50: float
    p95: float
    before: float | None


@dataclass(frozen=True)
class Error:
    message: str
    runs: tuple[str, ...]


@dataclass(frozen=True)
class Failed:
    """A step, ``qa/smoke``, with its commonest errors."""

    step: str
    count: int
    errors: tuple[Error, ...]


@dataclass(frozen=True)
class Dora:
    """``failure_rate``: the share of deployments that were taken back, None without one."""

    deployments: int
    per_week: float
    lead: Spread | None
    reverted: int
    failure_rate: float | None
    restored: Spread | None


@dataclass(frozen=True)
class TakenBack:
    run: str
    environment: str
    at: float
    to: int | None
    by: str
    text: str


@dataclass(frozen=True)
class Wait:
    """``over``: it does not wait any more; ``environments``: before which it waited, () if that was not recorded yet;
    ``by``: the people who let it in; ``opened``: the end of a freeze did."""

    run: str
    seconds: float
    environments: tuple[str, ...]
    by: tuple[str, ...]
    over: bool
    opened: bool = False


@dataclass(frozen=True)
class Flaky:
    """A check that passed only after several attempts in ``again`` of ``runs`` runs."""

    stage: str
    asked: str
    runs: int
    again: int
    seconds: float  # the median that it took then


@dataclass(frozen=True)
class MissedLine:
    """A line of the Dockerfile from which on builds were not cached; ``seconds``: that its steps took in all."""

    place: str
    builds: int
    seconds: float
    why: str  # the latest


@dataclass(frozen=True)
class Grown:
    stage: str
    step: str
    before: float
    after: float


@dataclass(frozen=True)
class Figures:
    outcomes: dict[str, int]
    arrivals: tuple[Arrival, ...]
    went: tuple[Went, ...]
    within: int  # budget.deploy
    serious: int  # over budget.whole
    whole: Spread | None
    deploy: Spread | None
    steps: tuple[StepTime, ...]
    failed: tuple[Failed, ...]
    dora: Dora
    dora_before: Dora | None  # None if there was no run in that month
    taken_back: tuple[TakenBack, ...]
    waits: tuple[Wait, ...]
    flaky: tuple[Flaky, ...]
    builds: int
    missed: tuple[MissedLine, ...]
    grown: tuple[Grown, ...]


def figures(
    runs: Iterable[Run], month: Month, budget: Budget, stages: tuple[str, ...], now: float
) -> Figures:
    """``runs``: at least all that ended in the month and the one before, or have not ended, in any order."""
    ordered = sorted(runs, key=lambda run: (run.ended, run.number))
    earlier = month.before()
    old = [run for run in ordered if earlier.since <= run.ended < earlier.until]
    new = [run for run in ordered if month.since <= run.ended < month.until]
    last, until = stages[-1], max(month.since + 1.0, min(now, month.until))
    found = timings(new, budget, last, month.since, until)
    live = [run for run in new if _is_live(run, last)]
    went = tuple(_went(run, budget) for run in live)
    old_steps = _medians([run for run in old if _is_live(run, last)])
    return Figures(
        outcomes=found.outcomes,
        arrivals=tuple(sorted(_arrivals(ordered, month), key=lambda one: one.at)),
        went=went,
        within=sum(one.deploy <= budget.deploy for one in went),
        serious=sum(one.whole > budget.whole for one in went),
        whole=spread([one.whole for one in went]),
        deploy=spread([one.deploy for one in went]),
        steps=_steps(found.steps, stages, old_steps),
        failed=_failed(new),
        dora=_dora(new, budget, last, month.since, until),
        dora_before=_dora(old, budget, last, earlier.since, earlier.until) if old else None,
        taken_back=tuple(_taken_back(new)),
        waits=_waits(ordered, month, now),
        flaky=_flaky(new),
        builds=sum(any(one.step == "build" and one.detail != "reused" for one in run.steps) for run in new),
        missed=_missed(new),
        grown=_grown(live, [run for run in old if _is_live(run, last)]),
    )


def _is_live(run: Run, last: str) -> bool:
    return run.outcome == Outcome.LIVE and run.kind != Kind.REVERT and last in run.stages


def _went(run: Run, budget: Budget) -> Went:
    timing = budgets.timing(run, budget, run.ended)
    return Went(run.id, run.ended, float(timing["whole"]), float(timing["deploy"]))


def _arrivals(runs: Sequence[Run], month: Month) -> Iterator[Arrival]:
    for run in runs:
        for one in run.steps:
            at = one.started + one.seconds
            if one.step == "verify" and one.ok and month.since <= at < month.until:
                by, back = run.pusher or run.by, run.kind == Kind.REVERT
                release = run.release or 0
                yield Arrival(
                    one.stage, at, month.day(at), release, run.id, run.commit, run.message, by, back
                )


def _steps(
    found: dict[tuple[str, str], Spread], stages: tuple[str, ...], before: dict[tuple[str, str], float]
) -> tuple[StepTime, ...]:
    order = {stage: number for number, stage in enumerate(stages)}
    keys = sorted(found, key=lambda key: order.get(key[0], len(order)))
    return tuple(
        StepTime(*key, found[key].runs, found[key].p50, found[key].p95, before.get(key)) for key in keys
    )


def _medians(runs: Sequence[Run]) -> dict[tuple[str, str], float]:
    seconds: dict[tuple[str, str], list[float]] = defaultdict(list)
    for run in runs:
        whole: dict[str, float] = defaultdict(float)
        for (stage, step), took in step_seconds(run).items():
            if step:
                seconds[stage, step].append(took)
                whole[stage] += took
        for stage, took in whole.items():
            seconds[stage, ""].append(took)
    return {key: statistics.median(took) for key, took in seconds.items()}


def _grown(new: Sequence[Run], old: Sequence[Run]) -> tuple[Grown, ...]:
    """Steps that took notably longer than in the month before, the worst first."""
    if min(len(new), len(old)) < ENOUGH:
        return ()
    before, after = _medians(old), _medians(new)
    found = [
        Grown(*key, before[key], took)
        for key, took in after.items()
        if key[1] and key in before and took >= GREW * before[key] and took - before[key] >= NOTABLE
    ]
    return tuple(sorted(found, key=lambda one: one.before - one.after))


def _failed(runs: Sequence[Run]) -> tuple[Failed, ...]:
    """By step, and by the error's first line without its numbers."""
    steps: dict[str, dict[str, list[Run]]] = defaultdict(lambda: defaultdict(list))
    for run in runs:
        if run.failure:
            first = (run.failure.message.splitlines() or [""])[0]
            steps[f"{run.failure.stage}/{run.failure.step}"][re.sub(r"\d+", "0", first)].append(run)
    found = [
        Failed(step, sum(map(len, errors.values())), tuple(map(_error, _commonest(errors))))
        for step, errors in steps.items()
    ]
    return tuple(sorted(found, key=lambda one: (-one.count, one.step)))


def _commonest(errors: dict[str, list[Run]]) -> list[list[Run]]:
    return sorted(errors.values(), key=lambda runs: -len(runs))[:ERRORS]


def _error(runs: list[Run]) -> Error:
    """With the words of the newest."""
    failure = runs[-1].failure
    return Error(failure.message if failure else "", tuple(run.id for run in runs))


def _dora(runs: Sequence[Run], budget: Budget, last: str, since: float, until: float) -> Dora:
    found = timings(runs, budget, last, since, until)
    count = found.deployments
    rate = found.reverted / count if count else None
    return Dora(count, count * 7 * 86400 / found.seconds, found.lead, found.reverted, rate, found.restored)


def _taken_back(runs: Sequence[Run]) -> Iterator[TakenBack]:
    for run in runs:
        if run.kind == Kind.REVERT and run.outcome == Outcome.LIVE:
            yield TakenBack(run.id, run.stages[-1], run.ended, run.release, run.by or run.pusher, run.reason)


def _waits(runs: Sequence[Run], month: Month, now: float) -> tuple[Wait, ...]:
    """The longest, of runs that ended in the month, or wait now if it is under way."""
    found = []
    for run in runs:
        waiting = run.state == State.WAITING and month.since <= now < month.until
        if waiting or (month.since <= run.ended < month.until):
            seconds = run.human + (now - run.gate_since if waiting and run.gate else 0.0)
            if seconds >= 1:
                found.append(_wait(run, seconds, waiting))
    return tuple(sorted(found, key=lambda one: -one.seconds)[:WAITS])


def _wait(run: Run, seconds: float, waiting: bool) -> Wait:
    """In the order of the run's way. Runs of earlier versions say only where people promoted them."""
    over = [one.environment for one in run.waited if one.seconds >= 1]
    where = {*over, *run.promoted, *((run.gate,) if waiting and run.gate else ())}
    who = [one.by for one in run.approvals] + [one.by for one in run.waited]
    opened = any(not one.by and one.seconds >= 1 for one in run.waited)
    people = tuple(dict.fromkeys(name for name in who if name))
    return Wait(
        run.id, seconds, tuple(name for name in run.stages if name in where), people, not waiting, opened
    )


def _flaky(runs: Sequence[Run]) -> tuple[Flaky, ...]:
    asked: dict[tuple[str, str], list[tuple[int, float]]] = defaultdict(list)
    for run in runs:
        for stage, checks in run.checks.items():
            for one in checks:
                if one.ok:
                    asked[stage, one.asked].append((one.attempts, one.seconds))
    found = [
        Flaky(*key, len(seen), len(again), statistics.median(took for _, took in again))
        for key, seen in asked.items()
        if (again := [one for one in seen if one[0] > 1])
    ]
    return tuple(sorted(found, key=lambda one: (-one.again / one.runs, -one.again))[:LINES])


def _missed(runs: Sequence[Run]) -> tuple[MissedLine, ...]:
    builds: Counter[str] = Counter()
    seconds: dict[str, float] = defaultdict(float)
    why: dict[str, str] = {}
    for run in runs:
        for one in run.steps:
            if found := one.data.get("missed"):
                where = place(found)
                builds[where] += 1
                seconds[where] += float(found["seconds"])
                why[where] = str(found["why"])
    lines = (MissedLine(where, count, seconds[where], why[where]) for where, count in builds.items())
    return tuple(sorted(lines, key=lambda one: (-one.seconds, one.place))[:LINES])
