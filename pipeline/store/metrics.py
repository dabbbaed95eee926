"""Counters of ended runs and of the keeper's rounds, and everything that one scrape reads.

Counters are kept in the store because several processes work on one installation and each of them restarts. A scrape
reads the counters and the open runs, never the history, so its cost does not grow with it.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import redis

from pipeline.domain.engine_types import Answered
from pipeline.domain.environment import Environment
from pipeline.domain.judging.latency import times
from pipeline.domain.judging.latency.times import Times
from pipeline.domain.measuring.measurements import (
    BUCKETS,
    FOR_FREEZE,
    FOR_PEOPLE,
    Histogram,
    Measurements,
    PipelineMeasurements,
    ProcessMeasurements,
    bucket,
    durations,
)
from pipeline.domain.outages import process_known, serving_health
from pipeline.domain.run import Run, State
from pipeline.domain.shifting import rule as shifting
from pipeline.domain.watching.liveness import revivals
from pipeline.errors import DamagedRecord, StoreUnavailable
from pipeline.store.capacity import OUTLOOK, read_outlook
from pipeline.store.connection import Client, read, translate
from pipeline.store.outbox import GIVEN_UP
from pipeline.store.records import Records

LEASE_KINDS = ("run", "env", "keeper", "notify")
SCRAPE_SECONDS = 2.0  # after that the scrape is given up: Prometheus waits 10 s by default
_SUM, _ABOVE = "sum", "inf"
# Labels of each family.
_WATCHED = {
    "bakes": 2,
    "worse": 2,
    "shifts": 2,
    "requests": 1,
    "errors": 1,
    "verdict": 1,
    "times": 1,
    "latency": 1,
    "releases": 1,
    "release-times": 1,
}
_LENGTH = {"runs": 2, "deploy": 0, "stage": 2, "step": 3}  # labels of each family

# KEYS: a hash. ARGV: command, field and value, repeated. A damaged counter must not fail the transaction that counts.
_COUNT = "for i=1,#ARGV,3 do redis.pcall(ARGV[i],KEYS[1],ARGV[i+1],ARGV[i+2]) end return 0"

_Parse = Callable[[PipelineMeasurements, Any], None]


class Metrics:
    """``scraping``: a client with a short timeout, so that a store that does not answer cannot block a scrape."""

    def __init__(self, client: Client, scraping: Client, records: Records) -> None:
        self._client, self._scraping, self._records = client, scraping, records

    # ── counting, in the transaction that ends a run ─────────────────────────

    def count_end(self, pipe: Any, run: Run) -> None:
        """Adds a run that has just ended. Its durations are counted now, each once, since a step that is repeated
        after a crash replaces its result."""
        outcome = run.outcome.value if run.outcome else "none"
        changes: list[str] = ["hincrby", _field("runs", run.kind.value, outcome), "1"]
        for one in durations(run):
            index = bucket(one.seconds)
            bound = f"{BUCKETS[index]:g}" if index < len(BUCKETS) else _ABOVE
            changes += ["hincrby", _field(one.family, *one.labels, bound), "1"]
            changes += ["hincrbyfloat", _field(one.family, *one.labels, _SUM), f"{one.seconds:.3f}"]
        pipe.eval(_COUNT, 1, self._key(run.pipeline), *changes)

    def count_bake(self, pipe: Any, environment: Environment, how: str) -> None:
        """Adds a bake that has just ended."""
        self._count_one(pipe, environment, "bakes", how)

    def count_worse(self, pipe: Any, environment: Environment, what: str) -> None:
        """Adds a release that was found to be worse than the one before it, by what followed."""
        self._count_one(pipe, environment, "worse", what)

    def count_shift(self, pipe: Any, environment: Environment, how: str) -> None:
        """Adds a shift that has just ended."""
        self._count_one(pipe, environment, "shifts", how)

    def _count_one(self, pipe: Any, environment: Environment, family: str, label: str) -> None:
        name = _field(family, environment.name, label)
        pipe.eval(_COUNT, 1, self._key(environment.pipeline), "hincrby", name, "1")

    # ── the keeper ───────────────────────────────────────────────────────────

    def keeper_round(self, seconds: float, at: float) -> None:
        """Counts one round of the keeper that acts. ``at``: when it ended, in seconds since the epoch."""
        key = self._records.key("keeper-rounds")
        with translate():
            self._client.eval(
                _COUNT,
                1,
                key,
                "hincrby",
                "count",
                "1",
                "hset",
                "seconds",
                f"{seconds:.3f}",
                "hset",
                "at",
                f"{at:.3f}",
            )

    def answered(
        self,
        pipeline: str,
        environment: str,
        whole: Answered,
        verdict: str,
        releases: Mapping[int, Answered] | None = None,
    ) -> None:
        """Sets what was answered there until now, also by each of the last releases, and the verdict on what serves, ""
        if there is none. Idempotent."""
        changes: list[str] = []
        known = (("requests", str(whole.requests)), ("errors", str(whole.errors)), ("verdict", verdict))
        for family, value in known:
            changes += ["hset", _field(family, environment), value]
        of_each = {str(one): [each.requests, each.errors] for one, each in (releases or {}).items()}
        changes += ["hset", _field("releases", environment), json.dumps(of_each)]
        with translate():
            self._client.eval(_COUNT, 1, self._key(pipeline), *changes)

    def timed(
        self,
        pipeline: str,
        environment: str,
        whole: Times | None,
        verdict: str,
        releases: Mapping[int, Times] | None = None,
    ) -> None:
        """Sets how long answers took there until now, also those of each of the last releases, None if that is not for
        the proxy to say, and the verdict on that of what serves, "" if there is none. Idempotent."""
        changes = [] if whole is None else ["hset", _field("times", environment), times.text(whole)]
        changes += ["hset", _field("latency", environment), verdict]
        of_each = {str(one): times.text(each) for one, each in (releases or {}).items()}
        changes += ["hset", _field("release-times", environment), json.dumps(of_each)]
        with translate():
            self._client.eval(_COUNT, 1, self._key(pipeline), *changes)

    # ── an environment that is removed ───────────────────────────────────────

    def fields_of(self, pipeline: str, environment: str) -> list[str]:
        """What is counted of it alone, and goes with it. Raises StoreUnavailable."""
        with translate():
            try:
                known = self._client.hkeys(self._key(pipeline))
            except redis.ResponseError:  # damaged: a scrape reports it
                return []
        return [name for name in map(str, known) if _is_of(name.split(":"), environment)]

    def queue_removal(self, pipe: Any, pipeline: str, fields: Sequence[str]) -> None:
        """In the transaction that removes the environment."""
        if fields:
            pipe.hdel(self._key(pipeline), *fields)

    # ── one scrape ───────────────────────────────────────────────────────────

    def read(self) -> Measurements:
        """Everything, in four round trips whatever the number of pipelines. What is damaged is left out and named.
        Raises StoreUnavailable if the store does not answer within SCRAPE_SECONDS."""
        deadline = time.monotonic() + SCRAPE_SECONDS
        found = Measurements()
        names, boxes = self._common(found)
        _in_time(deadline)
        open_runs = self._pipelines(found, names)
        _in_time(deadline)
        self._open(found, open_runs)
        _in_time(deadline)
        self._outbox(found, boxes)
        return found

    def _common(self, found: Measurements) -> tuple[list[str], list[str]]:
        """The names of the pipelines and of the outbox's boxes."""
        key = self._records.key
        pipe = self._scraping.pipeline(transaction=False)
        pipe.smembers(key("pipelines"))
        pipe.hkeys(key("outboxes"))
        pipe.hkeys(key("beats"))
        pipe.hgetall(key("counts"))
        pipe.hgetall(key("keeper-rounds"))
        pipe.get(key("fact", OUTLOOK))
        answers = [{} if isinstance(answer, redis.ResponseError) else answer for answer in _execute(pipe)]
        names, boxes, leases, counts, rounds, outlook = answers
        found.counts = {str(name): _whole(count) for name, count in counts.items()}
        found.given_up = found.counts.pop(GIVEN_UP, 0)
        found.leases = dict.fromkeys(LEASE_KINDS, 0)
        for name in leases:
            kind = str(name).partition(":")[0]
            if kind in found.leases:
                found.leases[kind] += 1
        kept = read_outlook(str(outlook or ""))
        found.shortages = {(one.engine, one.what): one.at for one in kept.shortages}
        found.keeper_rounds = _whole(rounds.get("count", 0))
        found.keeper_seconds = _number(rounds.get("seconds", 0))
        found.keeper_at = _number(rounds.get("at", 0))
        return sorted(map(str, names)), sorted(map(str, boxes))

    def _pipelines(self, found: Measurements, names: list[str]) -> dict[str, list[str]]:
        """Reads counters, due runs and environments; returns the numbers of the open runs."""
        key = self._records.key
        pipe = self._scraping.pipeline(transaction=False)
        for name in names:
            pipe.hgetall(self._key(name))
            pipe.scard(key("due", name))
            pipe.hgetall(key("environments", name))
            pipe.smembers(key("open", name))
        answers, open_runs = iter(_execute(pipe)), {}
        for name in names:
            for parse in (_counters, _due, self._environments(name)):
                answer = next(answers)
                _parse(found, name, parse, answer)
            if isinstance(answer, dict):
                _without_removed(found.pipelines[name], set(map(str, answer)))
            open_runs[name] = _strings(next(answers))
        return open_runs

    def _environments(self, name: str) -> _Parse:
        key = self._records.key("environments", name)

        def parse(one: PipelineMeasurements, records: Any) -> None:
            for environment, text in records.items():
                found = read(Environment, text, key, str(environment))
                health = serving_health(found)
                one.held[str(environment)] = found.hold is not None
                one.down[str(environment)] = health is not None and health.down
                one.restarts[str(environment)] = health.restarts if health else 0
                one.out_of_memory[str(environment)] = health.out_of_memory if health else 0
                if health:
                    one.serving[str(environment)], one.replicas[str(environment)] = (
                        health.serving,
                        health.replicas,
                    )
                one.asleep[str(environment)] = found.asleep is not None
                one.watched[str(environment)] = found.bake is not None
                shift = shifting.wanted(found)
                one.shares[str(environment)] = shift.percent if shift else 0.0
                one.shift_steps[str(environment)] = min(shift.step + 1, len(shift.steps)) if shift else 0
                one.revived[str(environment)] = sum(each.count for each in revivals(found))
                for process in found.processes:
                    if known := process_known(found, process):
                        missing = known.replicas - known.serving
                        one.processes[str(environment), process] = ProcessMeasurements(
                            known.poor, missing, known.restarts, known.out_of_memory
                        )

        return parse

    def _open(self, found: Measurements, open_runs: dict[str, list[str]]) -> None:
        wanted = {name: numbers for name, numbers in open_runs.items() if numbers}
        pipe = self._scraping.pipeline(transaction=False)
        for name, numbers in wanted.items():
            pipe.hmget(self._records.key("runs", name), numbers)
        for name, answer in zip(wanted, _execute(pipe), strict=True):
            _parse(found, name, self._states(name), answer)

    def _states(self, name: str) -> _Parse:
        key = self._records.key("runs", name)

        def parse(one: PipelineMeasurements, texts: Any) -> None:
            for text in texts:
                if text:
                    run = read(Run, text, key)
                    if run.state is not State.ENDED:
                        one.open[run.state.value] = one.open.get(run.state.value, 0) + 1
                    if run.state is State.WAITING:
                        what = FOR_FREEZE if run.frozen else FOR_PEOPLE
                        one.waiting[what] = one.waiting.get(what, 0) + 1

        return parse

    def _outbox(self, found: Measurements, boxes: list[str]) -> None:
        key = self._records.key
        pipe = self._scraping.pipeline(transaction=False)
        for box in boxes:
            pipe.llen(key("outbox", box))
            pipe.exists(key("outbox-trouble", box))
        answers = [0 if isinstance(answer, redis.ResponseError) else int(answer) for answer in _execute(pipe)]
        found.notifications = sum(answers[::2])
        found.receivers_failing = sum(answers[1::2])

    def _key(self, pipeline: str) -> str:
        return self._records.key("run-counters", pipeline)


def _field(*parts: str) -> str:
    return ":".join(parts)


def _is_of(parts: list[str], environment: str) -> bool:
    """An environment is a stage of runs as well."""
    return parts[0] in (*_WATCHED, "stage", "step") and len(parts) > 1 and parts[1] == environment


def _without_removed(one: PipelineMeasurements, known: set[str]) -> None:
    """Leaves out what was counted of environments that there are no more: an earlier version kept it for ever."""
    by_name: tuple[dict[str, Any], ...] = (
        one.requests, one.errors, one.verdicts, one.times, one.latency_verdicts,
    )  # fmt: skip
    by_more: tuple[dict[Any, Any], ...] = (
        one.bakes, one.worse, one.shifts, one.of_releases, one.times_of_releases,
    )  # fmt: skip
    for figures in by_name:
        for name in figures.keys() - known:
            del figures[name]
    for figures in by_more:
        for key in [key for key in figures if key[0] not in known]:
            del figures[key]


def _execute(pipe: Any) -> list[Any]:
    """One answer for each command; an error of a single command is its answer."""
    with translate():
        return list(pipe.execute(raise_on_error=False))


def _parse(found: Measurements, name: str, parse: _Parse, answer: Any) -> None:
    """One part of a pipeline. A damaged part is left out; the others are not."""
    one = found.pipelines.setdefault(name, PipelineMeasurements())
    try:
        if isinstance(answer, redis.ResponseError):
            raise ValueError(answer)
        parse(one, answer)
    except (DamagedRecord, ValueError):
        found.damaged.add(name)


def _strings(answer: Any) -> list[str]:
    """Members of a set; none if the key has another type."""
    return [] if isinstance(answer, redis.ResponseError) else sorted(map(str, answer))


def _due(one: PipelineMeasurements, count: Any) -> None:
    one.due = int(count)


def _counters(one: PipelineMeasurements, counters: Any) -> None:
    """Raises ValueError for a field that ``count_end`` did not write, after all others were read."""
    unknown = [name for name, value in counters.items() if not _counter(one, str(name).split(":"), value)]
    if unknown:
        raise ValueError(unknown[0])


def _counter(one: PipelineMeasurements, parts: list[str], value: Any) -> bool:
    family, labels, last = parts[0], tuple(parts[1:-1]), parts[-1]
    try:
        if family in _WATCHED and len(parts) == 1 + _WATCHED[family]:
            return _watched(one, parts, value)
        if family == "runs" and len(parts) == 1 + _LENGTH["runs"]:
            one.runs[parts[1], parts[2]] = int(value)
            return True
        if len(labels) != _LENGTH[family]:
            return False
        histogram = _histogram(one, family, labels)
        if last == _SUM:
            histogram.sum = float(value)
        else:
            # A version with other buckets wrote it: it goes into the next larger one of ours.
            histogram.counts[len(BUCKETS) if last == _ABOVE else bucket(float(last))] += int(value)
    except (ValueError, KeyError, TypeError, AttributeError):
        return False
    return True


def _watched(one: PipelineMeasurements, parts: list[str], value: Any) -> bool:
    """What is counted of an environment. Raises ValueError."""
    family, environment = parts[0], parts[1]
    if family == "verdict":
        one.verdicts[environment] = str(value)
    elif family == "latency":
        one.latency_verdicts[environment] = str(value)
    elif family == "times":
        one.times[environment] = times.read(str(value))
    elif family == "releases":
        for release, (requests, errors) in json.loads(value).items():
            one.of_releases[environment, int(release)] = Answered(int(requests), int(errors))
    elif family == "release-times":
        for release, text in json.loads(value).items():
            one.times_of_releases[environment, int(release)] = times.read(text)
    elif family in ("requests", "errors"):
        (one.requests if family == "requests" else one.errors)[environment] = int(value)
    else:
        counted = {"bakes": one.bakes, "worse": one.worse, "shifts": one.shifts}
        counted[family][environment, parts[2]] = int(value)
    return True


def _histogram(one: PipelineMeasurements, family: str, labels: tuple[str, ...]) -> Histogram:
    if family == "deploy":
        return one.deploy
    return (one.stages if family == "stage" else one.steps)[labels]


def _in_time(deadline: float) -> None:
    if time.monotonic() > deadline:
        raise StoreUnavailable(
            f"the store took longer than {SCRAPE_SECONDS:g} s to answer.", advice="Try again in a moment."
        )


def _whole(text: Any) -> int:
    return int(_number(text))


def _number(text: Any) -> float:
    """0 for what is not a number: one damaged counter does not hide the others."""
    try:
        number = float(text)
    except ValueError:
        return 0.0
    return number if math.isfinite(number) else 0.0
