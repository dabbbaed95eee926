"""Measurements in Prometheus's text format. ``docs/operations.md`` lists the metrics."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import version
from itertools import accumulate

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from pipeline.domain.cost.cap import Sum
from pipeline.domain.engine_types import Answered
from pipeline.domain.judging.latency import times
from pipeline.domain.judging.latency.times import Times
from pipeline.domain.judging.verdict import Verdict
from pipeline.domain.measuring.measurements import (
    BUCKETS,
    FOR_FREEZE,
    FOR_PEOPLE,
    Histogram,
    Measurements,
    PipelineMeasurements,
)
from pipeline.domain.run import State

# Seconds. They are begins of buckets of ``judging.latency``.
ANSWERS = (0.001, 0.0022, 0.0047, 0.01, 0.022, 0.047, 0.1, 0.22, 0.47, 1.0, 2.2, 4.7, 10.0)
VERSION = version("pushlive")  # of the code that is loaded; later another one may be installed
OPEN_STATES = [state.value for state in State if state is not State.ENDED]
WAITED_FOR = (FOR_PEOPLE, FOR_FREEZE)
_SUMS: tuple[tuple[str, str, Callable[[Sum], float | None]], ...] = (
    ("cost", "What this month has cost so far", lambda one: one.spent),
    ("cost_projected", "What this month will have cost by its end", lambda one: one.projected),
    ("cost_cap", "The most that this month is to cost; none without a cap", lambda one: one.cap),
)
_BOUNDS = [*map(str, BUCKETS), "+Inf"]


def exposition(found: Measurements) -> bytes:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(found))
    return generate_latest(registry)


class _Collector(Collector):
    def __init__(self, found: Measurements) -> None:
        self._found = found

    def collect(self) -> Iterator[Metric]:
        yield from _service(self._found)
        yield from _costs(self._found)
        yield from _backups(self._found)
        yield from _runs(self._found)
        yield from _durations(self._found)
        yield from _waiting(self._found)
        yield from _environments(self._found)
        yield from _shifting(self._found)
        yield from _watched(self._found)
        yield from _judged(self._found)
        yield from _processes(self._found)


def _service(found: Measurements) -> Iterator[Metric]:
    build = GaugeMetricFamily(
        "pushlive_build_info", "Version of Pushlive and Python; always 1.", labels=["version", "python"]
    )
    build.add_metric([VERSION, platform.python_version()], 1)
    yield build
    yield _counter(
        "pushlive_refusals",
        "Requests that were refused, by where they arrived and why.",
        ["source", "reason"],
        ((_source_and_reason(name), count) for name, count in found.counts.items()),
    )
    yield _gauge(
        "pushlive_leases",
        "Leases in use: on runs, on environments, the keeper's and those of notifications.",
        ["kind"],
        (([{"env": "environment"}.get(kind, kind)], count) for kind, count in found.leases.items()),
    )
    yield _plain_counter(
        "pushlive_keeper_rounds", "Rounds of the keeper that has the lease.", found.keeper_rounds
    )
    yield _plain(
        "pushlive_keeper_last_round_duration_seconds",
        "Duration of the keeper's last round.",
        found.keeper_seconds,
    )
    yield _plain(
        "pushlive_keeper_last_round_timestamp_seconds",
        "When the keeper's last round ended, in seconds since the epoch; 0 before the first.",
        found.keeper_at,
    )
    yield _plain(
        "pushlive_notifications_undelivered", "Notifications that wait for delivery.", found.notifications
    )
    yield _plain(
        "pushlive_notification_receivers_failing",
        "Receivers of notifications whose last delivery failed.",
        found.receivers_failing,
    )
    yield _plain_counter(
        "pushlive_notifications_given_up", "Notifications that were never delivered.", found.given_up
    )
    yield _plain(
        "pushlive_pipelines_damaged",
        "Pipelines with a record that cannot be read; their other records are shown.",
        len(found.damaged),
    )
    yield _gauge(
        "pushlive_machine_exhausted_timestamp_seconds",
        "When a resource of a machine will be used up if it goes on growing, within a week; absent if it will not.",
        ["engine", "resource"],
        ((list(key), at) for key, at in found.shortages.items()),
    )


def _costs(found: Measurements) -> Iterator[Metric]:
    """Of the month in all, and of each pipeline; without prices none."""
    whole = [one for one in found.sums if not one.pipeline]
    pipelines = [one for one in found.sums if one.pipeline]
    for what, text, value in _SUMS:
        yield _gauge(
            f"pushlive_month_{what}",
            f"{text}, of all machines that have a price.",
            ["currency"],
            (([found.currency], amount) for one in whole if (amount := value(one)) is not None),
        )
        yield _gauge(
            f"pushlive_pipeline_month_{what}",
            f"{text}: the pipeline's part of the machines.",
            ["pipeline", "currency"],
            (
                ([one.pipeline, found.currency], amount)
                for one in pipelines
                if (amount := value(one)) is not None
            ),
        )


def _backups(found: Measurements) -> Iterator[Metric]:
    labels = ["owner", "environment", "name"]
    yield _gauge(
        "pushlive_backup_last_success_timestamp_seconds",
        "When the last good backup was made, in seconds since the epoch; absent if there is none.",
        labels,
        ((list(key), one.good) for key, one in found.backups.items() if one.good is not None),
    )
    yield _gauge(
        "pushlive_backup_overdue",
        "1 if the last good backup is older than its schedule allows, or there is none yet.",
        labels,
        ((list(key), int(one.late)) for key, one in found.backups.items()),
    )


def _runs(found: Measurements) -> Iterator[Metric]:
    pipelines = found.pipelines.items()
    yield _counter(
        "pushlive_runs",
        "Runs that have ended.",
        ["pipeline", "kind", "outcome"],
        (([name, *labels], count) for name, one in pipelines for labels, count in one.runs.items()),
    )
    yield _gauge(
        "pushlive_runs_due",
        "Runs that a worker must take, or has taken.",
        ["pipeline"],
        (([name], one.due) for name, one in pipelines),
    )
    yield _gauge(
        "pushlive_runs_open",
        "Runs that have not ended, by state.",
        ["pipeline", "state"],
        (([name, state], one.open.get(state, 0)) for name, one in pipelines for state in OPEN_STATES),
    )


def _durations(found: Measurements) -> Iterator[Metric]:
    pipelines = found.pipelines.items()
    yield _histogram(
        "pushlive_deploy_duration_seconds",
        "From image ready to live, without time spent waiting; runs that went live.",
        ["pipeline"],
        (([name], one.deploy) for name, one in pipelines if any(one.deploy.counts)),
    )
    yield _histogram(
        "pushlive_stage_duration_seconds",
        "Sum of the steps of a stage; runs that have ended.",
        ["pipeline", "stage", "result"],
        (([name, *labels], each) for name, one in pipelines for labels, each in one.stages.items()),
    )
    yield _histogram(
        "pushlive_step_duration_seconds",
        "Duration of a step; runs that have ended.",
        ["pipeline", "stage", "step", "result"],
        (([name, *labels], each) for name, one in pipelines for labels, each in one.steps.items()),
    )


def _waiting(found: Measurements) -> Iterator[Metric]:
    """What keeps runs out of environments, and which ones wait."""
    pipelines = found.pipelines.items()
    yield _gauge(
        "pushlive_runs_waiting",
        "Runs that wait before an environment: for people, who approve or resume, or for the end of a freeze.",
        ["pipeline", "for"],
        (([name, what], one.waiting.get(what, 0)) for name, one in pipelines for what in WAITED_FOR),
    )
    yield _gauge(
        "pushlive_environment_frozen",
        "1 if the environment is frozen: no push and no deploy enters it.",
        ["pipeline", "environment"],
        (([name, key], int(frozen)) for name, one in pipelines for key, frozen in one.frozen.items()),
    )


def _environments(found: Measurements) -> Iterator[Metric]:
    yield _gauge(
        "pushlive_environment_held",
        "1 if the environment is held: no run is promoted into it.",
        ["pipeline", "environment"],
        (
            ([name, environment], int(held))
            for name, one in found.pipelines.items()
            for environment, held in one.held.items()
        ),
    )
    yield _gauge(
        "pushlive_environment_down",
        "1 if the release that serves does not work, or restarts again and again.",
        ["pipeline", "environment"],
        (
            ([name, environment], int(down))
            for name, one in found.pipelines.items()
            for environment, down in one.down.items()
        ),
    )
    yield _gauge(
        "pushlive_environment_asleep",
        "1 if the environment sleeps, or is being woken.",
        ["pipeline", "environment"],
        (
            ([name, environment], int(asleep))
            for name, one in found.pipelines.items()
            for environment, asleep in one.asleep.items()
        ),
    )
    yield _gauge(
        "pushlive_environment_restarts",
        "Restarts of the serving release's containers, since they last ran for five minutes without one.",
        ["pipeline", "environment"],
        (
            ([name, environment], count)
            for name, one in found.pipelines.items()
            for environment, count in one.restarts.items()
        ),
    )
    yield _gauge(
        "pushlive_environment_out_of_memory",
        "Replicas of the release that serves which ran out of memory and were killed, as long as that is reported.",
        ["pipeline", "environment"],
        (
            ([name, environment], count)
            for name, one in found.pipelines.items()
            for environment, count in one.out_of_memory.items()
        ),
    )


def _shifting(found: Measurements) -> Iterator[Metric]:
    """Releases that get the visitors step by step."""
    labels = ["pipeline", "environment"]
    pipelines = found.pipelines.items()
    yield _gauge(
        "pushlive_environment_shift_ratio",
        "The part of the new visitors that a release has beside the one that serves, by `shift`; 0 without one.",
        labels,
        (([name, key], percent / 100) for name, one in pipelines for key, percent in one.shares.items()),
    )
    yield _gauge(
        "pushlive_environment_shift_step",
        "Which step of `shift` that is, from 1; 0 without one.",
        labels,
        (([name, key], step) for name, one in pipelines for key, step in one.shift_steps.items()),
    )
    yield _counter(
        "pushlive_shifts",
        "Shifts that have ended: done, all visitors at the new release; failed; or back, for another reason.",
        [*labels, "outcome"],
        (([name, *key], count) for name, one in pipelines for key, count in one.shifts.items()),
    )


def _watched(found: Measurements) -> Iterator[Metric]:
    """What is seen of each environment's release."""
    labels = ["pipeline", "environment"]
    pipelines = found.pipelines.items()
    yield _gauge(
        "pushlive_environment_replicas",
        "Web replicas of the release that serves.",
        labels,
        (([name, key], count) for name, one in pipelines for key, count in one.replicas.items()),
    )
    yield _gauge(
        "pushlive_environment_replicas_serving",
        "Those of them that answer.",
        labels,
        (([name, key], count) for name, one in pipelines for key, count in one.serving.items()),
    )
    yield _gauge(
        "pushlive_environment_baking",
        "1 while a release is watched after its switch, by `bake`.",
        labels,
        (([name, key], int(yes)) for name, one in pipelines for key, yes in one.watched.items()),
    )
    yield _gauge(
        "pushlive_environment_revived",
        "Restarts of the serving release's web containers that did not answer, by `liveness`, in short succession.",
        labels,
        (([name, key], count) for name, one in pipelines for key, count in one.revived.items()),
    )


def _judged(found: Measurements) -> Iterator[Metric]:
    """What each environment answered, and what followed from that and from what was seen."""
    labels = ["pipeline", "environment"]
    pipelines = found.pipelines.items()
    yield _counter(
        "pushlive_bakes",
        "Bakes that were not cut short: baked, or failed and taken back, held or told.",
        [*labels, "outcome"],
        (([name, *key], count) for name, one in pipelines for key, count in one.bakes.items()),
    )
    yield _counter(
        "pushlive_worse_releases",
        "Releases that answered worse than the one before them: taken back, held, told or observed.",
        [*labels, "outcome"],
        (([name, *key], count) for name, one in pipelines for key, count in one.worse.items()),
    )
    yield _counter(
        "pushlive_environment_requests",
        "Requests that were answered, as the engine counts them.",
        labels,
        (([name, key], count) for name, one in pipelines for key, count in one.requests.items()),
    )
    yield _counter(
        "pushlive_environment_request_errors",
        "Those of them with an error: a status of 5xx, or an answer that was broken off.",
        labels,
        (([name, key], count) for name, one in pipelines for key, count in one.errors.items()),
    )
    yield _verdicts(
        "pushlive_environment_verdict",
        "1 for the verdict on what serves, 0 for the others; none if nothing was counted yet.",
        (([name, key], verdict) for name, one in pipelines for key, verdict in one.verdicts.items()),
    )
    yield _verdicts(
        "pushlive_environment_latency_verdict",
        "The same for the time that its answers take.",
        (([name, key], verdict) for name, one in pipelines for key, verdict in one.latency_verdicts.items()),
    )
    by_release = [*labels, "release"]
    yield _counter(
        "pushlive_release_requests",
        "Requests that each of the last three releases answered that served there.",
        by_release,
        ((labelled, each.requests) for labelled, each in _of_releases(pipelines)),
    )
    yield _counter(
        "pushlive_release_request_errors",
        "Those of them with an error.",
        by_release,
        ((labelled, each.errors) for labelled, each in _of_releases(pipelines)),
    )
    yield _answers(
        "pushlive_environment_answer_seconds",
        "Time until answers begin, as the proxy measures it, without checks, errors, streams and uploads.",
        labels,
        (([name, key], whole) for name, one in pipelines for key, whole in one.times.items()),
    )
    yield _answers(
        "pushlive_release_answer_seconds",
        "The same for each of the last three releases that served there.",
        by_release,
        (
            ([name, key, f"r{r}"], of)
            for name, one in pipelines
            for (key, r), of in one.times_of_releases.items()
        ),
    )


def _of_releases(
    pipelines: Iterable[tuple[str, PipelineMeasurements]],
) -> Iterator[tuple[list[str], Answered]]:
    """What each of the last releases answered, with its labels."""
    for name, one in pipelines:
        for (environment, release), answered in one.of_releases.items():
            yield [name, environment, f"r{release}"], answered


def _answers(name: str, text: str, labels: list[str], rows: Iterable[tuple[list[str], Times]]) -> Metric:
    family, bounds = HistogramMetricFamily(name, text, labels=labels), [*map(str, ANSWERS), "+Inf"]
    for values, whole in rows:
        counts, seconds = times.cumulative(whole, ANSWERS)
        each = list(zip(bounds, [*counts, times.total(whole)], strict=True))
        family.add_metric(values, each, sum_value=seconds)
    return family


def _verdicts(name: str, text: str, rows: Iterable[tuple[list[str], str]]) -> Metric:
    found = (
        ([*labels, each], int(each == verdict)) for labels, verdict in rows for each in Verdict if verdict
    )
    return _gauge(name, text, ["pipeline", "environment", "verdict"], found)


def _processes(found: Measurements) -> Iterator[Metric]:
    labels = ["pipeline", "environment", "process"]
    known = [
        ([name, *key], one) for name, each in found.pipelines.items() for key, one in each.processes.items()
    ]
    yield _gauge(
        "pushlive_process_failing",
        "1 if the process restarts again and again, or has fewer replicas than wanted.",
        labels,
        ((key, int(one.failing)) for key, one in known),
    )
    yield _gauge(
        "pushlive_process_replicas_missing",
        "Replicas of the process that are wanted and do not run.",
        labels,
        ((key, one.missing) for key, one in known),
    )
    yield _gauge(
        "pushlive_process_restarts",
        "Restarts of the process's containers, since they last ran for five minutes without one.",
        labels,
        ((key, one.restarts) for key, one in known),
    )
    yield _gauge(
        "pushlive_process_out_of_memory",
        "Replicas of the process which ran out of memory and were killed, as long as that is reported.",
        labels,
        ((key, one.out_of_memory) for key, one in known),
    )


def _source_and_reason(name: str) -> list[str]:
    source, _, reason = name.partition(": ")
    return [source, reason]


def _plain(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)


def _plain_counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(name, text, value=value)


def _gauge(name: str, text: str, labels: list[str], rows: Iterable[tuple[list[str], float]]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for values, value in sorted(rows):
        family.add_metric(values, value)
    return family


def _counter(name: str, text: str, labels: list[str], rows: Iterable[tuple[list[str], float]]) -> Metric:
    family = CounterMetricFamily(name, text, labels=labels)
    for values, value in sorted(rows):
        family.add_metric(values, value)
    return family


def _histogram(
    name: str, text: str, labels: list[str], rows: Iterable[tuple[list[str], Histogram]]
) -> Metric:
    family = HistogramMetricFamily(name, text, labels=labels)
    for values, one in rows:
        family.add_metric(values, list(zip(_BOUNDS, accumulate(one.counts), strict=True)), sum_value=one.sum)
    return family
