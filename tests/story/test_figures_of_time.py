"""On a cluster a Prometheus says how long answers take: releases are compared by it, as far as its buckets tell."""

from __future__ import annotations

import json
import math
from bisect import bisect_left
from dataclasses import replace

import pytest

from pipeline.domain.judging.series import LAG
from pipeline.domain.run import Outcome
from pipeline.errors import TryAgain
from pipeline.evidence.records import Records
from pipeline.lib.secret import Secret
from tests.story.test_evidence_of_watching import SCHEMA
from tests.support.json_schema import problems

URL = "http://prometheus.example.com:9090"
OWN = "requests: 'all{$pods}', errors: 'bad{$pods}', "
FINE = tuple(round(0.005 * 1.25**number, 6) for number in range(32))
INGRESS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
FAST, SLOW = {0.02: 3000, 0.08: 400}, {0.05: 3000, 0.2: 400}  # answers by their seconds, in a minute


class Timing:
    """``ports.judging.Figures``: requests without errors, and a histogram of each pod. ``wrong``: why it does not
    answer; ``no_times``: it has no histograms."""

    def __init__(self) -> None:
        self.bounds, self.pod, self.wrong, self.no_times = FINE, "a", "", False
        self.requests: dict[str, float] = {}
        self.counts: dict[str, dict[float, float]] = {}
        self.asked: list[str] = []

    def counters(self, url: str, query: str, token: Secret | None) -> dict[str, float]:
        self.asked.append(query)
        if self.wrong:
            raise TryAgain(self.wrong)
        if query.startswith("bad") or "status=~" in query:
            return {}
        if query.startswith("times") or "_bucket" in query:
            return {} if self.no_times else self._histograms()
        return dict(self.requests)

    def _histograms(self) -> dict[str, float]:
        return {
            json.dumps({"le": str(end).replace("inf", "+Inf"), "pod": pod}): count
            for pod, counts in self.counts.items()
            for end, count in counts.items()
        }

    def add(self, answers: dict[float, int]) -> None:
        ends = (*self.bounds, math.inf)
        known = self.counts.setdefault(self.pod, dict.fromkeys(ends, 0.0))
        for seconds, count in answers.items():
            self.requests[self.pod] = self.requests.get(self.pod, 0.0) + count
            for end in ends[bisect_left(ends, seconds) :]:
                known[end] += count


def config(metrics: str = "", more: str = "") -> str:
    return f"""
pipelines:
  hello:
    registry: r.example/hello
    environments:
      live: {{engine: {{kubernetes: prod, namespace: shop}}, bake: 0, metrics: {{{metrics}prometheus: '{URL}'}}{more}}}
"""


@pytest.fixture
def begun(make_world):
    def make(text: str):
        world = make_world(text)
        world.figures = Timing()
        world.figures.add({0.02: 0})
        world.adapters = replace(world.adapters, figures=world.figures)
        world.jobs = world.another_process()
        push(world)
        return world

    return make


def push(world, name: str = "one") -> None:
    assert world.push(name).outcome == Outcome.LIVE
    world.clock.sleep(LAG)


def serve(world, answers: dict[float, int], looks: int = 40) -> list[str]:
    """A minute between two looks."""
    said = look(world)
    for _ in range(looks):
        world.figures.add(answers)
        world.clock.sleep(60)
        said += look(world)
    return said


def look(world) -> list[str]:
    return world.jobs.answers.run() + world.jobs.latencies.run() + world.jobs.acting.run()


def shown(world) -> dict:
    [found] = world.commands.status("hello")["pipelines"][0]["environments"]
    return found


def latency(world) -> dict:
    return shown(world)["answers"]["latency"]


def untimed(world) -> str:
    return shown(world)["figures"]["latency"]


def test_a_release_that_is_slower_by_the_default_query_is_worse_and_taken_back(begun):
    world = begun(config(more=", judge: act"))
    serve(world, FAST)
    assert latency(world)["verdict"] == "nothing to compare with"
    assert (latency(world)["source"], latency(world)["requests"]) == ("prometheus", 39 * 3400)
    push(world, "two")
    said = serve(world, SLOW)
    assert any("worse than r1 (19 to 24 ms and 73 to 91 ms)" in one for one in said)
    assert "hello/live: r2 is taken back (hello#3)" in said
    world.work()
    assert world.serving() == {"live": 1}
    [query] = {one for one in world.figures.asked if "_bucket" in one}
    assert 'exported_namespace="shop",ingress="hello-live",status!~"1..|5.."' in query


def test_one_that_is_as_fast_is_no_worse(begun):
    world = begun(config())
    serve(world, FAST)
    push(world, "two")
    serve(world, FAST)
    found = latency(world)
    assert (found["verdict"], found["slower"], found["coarse"]) == ("no worse", [], [])
    measured = world.commands.measurements().pipelines["hello"]
    assert (measured.latency_verdicts, measured.times) == ({"live": "no worse"}, {})
    assert (found["p50_from"], found["p50"]) == (0.019073, 0.023842)


def test_buckets_that_are_too_coarse_are_said(begun):
    world = begun(config(more=", judge: act"))
    world.figures.bounds, world.figures.counts = INGRESS, {}
    serve(world, FAST)
    push(world, "two")
    serve(world, SLOW)
    found = latency(world)
    assert (found["verdict"], found["coarse"]) == ("too coarse to judge", ["p50", "p95"])
    assert found["text"].endswith(
        "beside r1 (10 to 25 ms and 50 to 100 ms); the buckets are too coarse to judge p50 and p95"
    )
    assert world.serving() == {"live": 2}


@pytest.mark.parametrize(
    ("bounds", "said"), [(FINE, "no worse"), (INGRESS, "too coarse to judge"), ((0.001,), "")]
)
def test_the_record_of_the_verdict_has_the_bounds(begun, bounds, said):
    world = begun(config())
    world.figures.bounds, world.figures.counts = bounds, {}
    serve(world, FAST)
    push(world, "two")
    serve(world, FAST)
    world.clock.sleep(3600)
    look(world)
    world.jobs.evidence.run()
    found = [one for one in Records(world.settings.data).of("hello") if one.kind == "verdict-live"]
    [record] = [one.record() for one in found if one.record()["id"] == "hello#2"]
    assert problems(record, SCHEMA["verdict"]) == []
    verdict = record["verdict"]
    assert verdict["outcome"] == "no worse"
    assert verdict["by_latency"]["outcome"] == (said or "too coarse to judge")
    assert (verdict["by_latency"]["p95"] is None) == (bounds == (0.001,))
    assert verdict["by_latency"]["before"]["p95_from"] == verdict["by_latency"]["p95_from"] > 0


def test_pods_come_and_go_and_begin_again(begun):
    world = begun(config())
    serve(world, FAST, looks=3)
    world.figures.pod = "b"  # its first answers come between two looks
    serve(world, FAST, looks=2)
    assert latency(world)["requests"] == 4 * 3400
    world.figures.pod = "a"
    del world.figures.counts["a"]
    serve(world, FAST, looks=2)  # it counts from zero
    assert latency(world)["requests"] == 6 * 3400


def test_queries_of_ones_own_need_one_for_the_times(begun):
    world = begun(config(OWN))
    serve(world, FAST, looks=5)
    assert shown(world)["answers"]["requests"] == 5 * 3400
    assert latency(world) is None
    assert untimed(world) == (
        "answers are not compared by time: `metrics` has queries of its own, but none for `latency`."
    )
    world.configure(config(OWN + "latency: 'times{$slot}', "))
    serve(world, FAST, looks=5)
    assert untimed(world) == ""
    assert latency(world)["requests"] > 0
    assert f"times{{{world.environment('live').active}}}" in world.figures.asked


def test_one_without_histograms_is_said_and_no_fault_of_the_release(begun):
    world = begun(config())
    world.figures.no_times = True
    serve(world, FAST, looks=5)
    assert untimed(world).startswith(
        f"answers are not compared by time: Prometheus at {URL}: the query for latency gives no series"
    )
    assert shown(world)["figures"]["problem"] == ""
    world.figures.no_times = False
    serve(world, FAST, looks=1)
    assert untimed(world) == ""


def test_one_that_is_away_is_said_once(begun):
    world = begun(config())
    serve(world, FAST, looks=3)
    world.figures.wrong = f"Prometheus at {URL}: no answer within 5 s."
    look(world)
    assert "no answer within 5 s" in shown(world)["figures"]["problem"]
    assert untimed(world) == "", "the same is not said twice"
    assert shown(world)["hold"] is None


def test_a_keeper_that_begins_again_counts_nothing_twice(begun):
    world = begun(config())
    serve(world, FAST, looks=5)
    before = latency(world)["requests"]
    world.jobs = world.another_process()
    look(world)
    assert latency(world)["requests"] == before
    serve(world, FAST, looks=1)
    assert latency(world)["requests"] == before + 3400


def test_what_the_slot_before_answered_is_not_timed(begun):
    world = begun(config())
    serve(world, FAST)
    assert world.push("two").outcome == Outcome.LIVE
    world.figures.add({2.0: 5000})  # scraped after the switch, answered before it
    look(world)
    world.clock.sleep(LAG)
    serve(world, FAST, looks=6)
    assert latency(world)["p95"] < 0.1
