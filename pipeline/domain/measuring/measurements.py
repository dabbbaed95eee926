"""What is measured: the durations of a run that has ended, and everything that one scrape shows. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from pipeline.domain import budget
from pipeline.domain.cost.cap import Sum
from pipeline.domain.engine_types import Answered
from pipeline.domain.judging.latency.times import Times
from pipeline.domain.run import Outcome, Run

# Upper bounds in seconds: a switch takes a tenth of a second, a slow build half an hour.
BUCKETS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0)
OK, FAILED = "ok", "failed"
FOR_FREEZE, FOR_PEOPLE = "freeze", "people"  # what a run waits for before an environment


@dataclass(frozen=True)
class Duration:
    """``family``: deploy (no labels), stage (stage, result) or step (stage, step, result)."""

    family: str
    labels: tuple[str, ...]
    seconds: float


def durations(run: Run) -> Iterator[Duration]:
    """The durations of a run that has ended. ``deploy``: from image ready to live, without waiting; only of runs that
    went live."""
    seconds: dict[str, float] = defaultdict(float)
    failed = {step.stage for step in run.steps if not step.ok}
    for step in run.steps:
        seconds[step.stage] += step.seconds
        yield Duration("step", (step.stage, step.step, OK if step.ok else FAILED), step.seconds)
    for stage, whole in seconds.items():
        yield Duration("stage", (stage, FAILED if stage in failed else OK), whole)
    if run.outcome == Outcome.LIVE and run.image_ready:
        yield Duration("deploy", (), budget.spent(run, run.ended))


def bucket(seconds: float) -> int:
    """The index of the first of ``BUCKETS`` that is not below ``seconds``; their number if there is none."""
    return bisect_left(BUCKETS, seconds)


@dataclass
class Histogram:
    """``counts``: for each of ``BUCKETS``, and one more for what is above them; not cumulative."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS) + 1))
    sum: float = 0.0


@dataclass(frozen=True)
class ProcessMeasurements:
    """A process beside the web one, as the keeper last saw it. ``failing``: it restarts again and again, or has fewer
    replicas than wanted; ``missing``: how many of them do not run; ``out_of_memory``: how many were killed for it."""

    failing: bool
    missing: int
    restarts: int
    out_of_memory: int


@dataclass(frozen=True)
class BackupMeasurements:
    """Of one volume or accessory. ``good``: when its last good backup was made, in seconds since the epoch, None if
    there is none; ``late``: it is older than its schedule allows."""

    good: float | None
    late: bool


@dataclass
class PipelineMeasurements:
    runs: dict[tuple[str, str], int] = field(default_factory=dict)  # by kind and outcome
    deploy: Histogram = field(default_factory=Histogram)
    stages: dict[tuple[str, ...], Histogram] = field(default_factory=lambda: defaultdict(Histogram))
    steps: dict[tuple[str, ...], Histogram] = field(default_factory=lambda: defaultdict(Histogram))
    due: int = 0
    open: dict[str, int] = field(default_factory=dict)  # by state
    waiting: dict[str, int] = field(default_factory=dict)  # by what for: FOR_FREEZE, FOR_PEOPLE
    held: dict[str, bool] = field(default_factory=dict)  # by environment
    frozen: dict[str, bool] = field(default_factory=dict)  # by environment; empty if that cannot be read
    down: dict[str, bool] = field(default_factory=dict)  # by environment, as the keeper last saw it
    asleep: dict[str, bool] = field(default_factory=dict)  # by environment
    restarts: dict[str, int] = field(default_factory=dict)  # of the release that serves, by environment
    out_of_memory: dict[str, int] = field(
        default_factory=dict
    )  # its replicas that were killed for memory last
    serving: dict[str, int] = field(default_factory=dict)  # replicas that serve, by environment
    replicas: dict[str, int] = field(default_factory=dict)  # that there are
    watched: dict[str, bool] = field(default_factory=dict)  # a release is watched after its switch
    bakes: dict[tuple[str, str], int] = field(default_factory=dict)  # by environment and how they ended
    worse: dict[tuple[str, str], int] = field(
        default_factory=dict
    )  # releases, by environment and what followed
    shares: dict[str, float] = field(
        default_factory=dict
    )  # percent of the new visitors at a release that does not serve yet, by environment
    shift_steps: dict[str, int] = field(default_factory=dict)  # the step of that, from 1; 0 if there is none
    shifts: dict[tuple[str, str], int] = field(default_factory=dict)  # by environment and how they ended
    requests: dict[str, int] = field(default_factory=dict)  # that were answered, by environment
    errors: dict[str, int] = field(default_factory=dict)  # of these answers
    times: dict[str, Times] = field(default_factory=dict)  # that answers took, by environment
    of_releases: dict[tuple[str, int], Answered] = field(
        default_factory=dict
    )  # what the last releases answered, by environment and release
    times_of_releases: dict[tuple[str, int], Times] = field(default_factory=dict)  # and how long that took
    latency_verdicts: dict[str, str] = field(
        default_factory=dict
    )  # on what serves there; "" if there is none
    verdicts: dict[str, str] = field(
        default_factory=dict
    )  # on what serves, "" if there is none, by environment
    revived: dict[str, int] = field(default_factory=dict)  # restarts of replicas that did not answer
    processes: dict[tuple[str, str], ProcessMeasurements] = field(
        default_factory=dict
    )  # by environment and process


@dataclass
class Measurements:
    """One scrape. ``damaged``: pipelines with a record that could not be read. Times are seconds since the epoch."""

    pipelines: dict[str, PipelineMeasurements] = field(default_factory=dict)
    damaged: set[str] = field(default_factory=set)
    counts: dict[str, int] = field(default_factory=dict)  # refused requests, by "source: reason"
    leases: dict[str, int] = field(default_factory=dict)  # by kind: run, env, keeper, notify
    keeper_rounds: int = 0
    keeper_seconds: float = 0.0  # of the last round
    keeper_at: float = 0.0  # when it ended, 0 before the first
    notifications: int = 0  # in the outbox
    given_up: int = 0  # notifications that were never delivered
    receivers_failing: int = 0
    sums: tuple[Sum, ...] = ()  # of this month, as the keeper last saw them
    currency: str = ""
    backups: dict[tuple[str, str, str], BackupMeasurements] = field(
        default_factory=dict
    )  # by owner, environment and name
    shortages: dict[tuple[str, str], float] = field(
        default_factory=dict
    )  # when it will be used up, by engine and what: disk, memory, load
