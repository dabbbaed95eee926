"""`shift` on a cluster: how long both releases take to answer, as a Prometheus says that `metrics` names."""

from __future__ import annotations

import json
import math
from bisect import bisect_left

import pytest

from pipeline.adapters.fake.script import Killed
from pipeline.domain.judging.latency.times import merged, total
from pipeline.domain.run import Outcome
from pipeline.domain.shifting import times
from pipeline.errors import TryAgain
from pipeline.lib.secret import Secret
from tests.story import test_shifting_by_a_route as by_a_route
from tests.story.conftest import World
from tests.story.test_shifting import during, said, state
from tests.story.test_shifting_by_a_route import METRICS, config

FINE = tuple(round(0.005 * 1.25**number, 6) for number in range(32))
INGRESS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
TIMES = METRICS.replace("errors:", "latency: 'times $namespace $pods', errors:")


class Figures:
    """A Prometheus: each slot answers a hundred requests between two questions, each of which takes so many seconds.
    ``wrong``: why it does not answer about times; ``asked``: queries for times."""

    def __init__(self) -> None:
        self.took = {"blue": 0.04, "green": 0.04}
        self.bounds = {"blue": FINE, "green": FINE}
        self.wrong, self.asked = "", list[str]()
        self.whole: dict[str, float] = {}
        self.counts: dict[str, dict[float, float]] = {}

    def counters(self, url: str, query: str, token: Secret | None) -> dict[str, float]:
        slot = next(one for one in ("blue", "green") if one in query)
        if query.startswith("times"):
            self.asked.append(query)
            if self.wrong:
                raise TryAgain(self.wrong)
            known = self.counts.get(slot, {})
            return {json.dumps({"le": str(end), "pod": slot}): many for end, many in known.items()}
        if query.startswith("bad"):
            return {}
        self.whole[slot] = self.whole.get(slot, 0.0) + 100
        ends = (*self.bounds[slot], math.inf)
        known = self.counts.setdefault(slot, dict.fromkeys(ends, 0.0))
        for end in ends[bisect_left(ends, self.took[slot]) :]:
            known[end] += 100
        return {"a": self.whole[slot]}


def begun(world: World, metrics: str = TIMES) -> World:
    """r1 serves, in blue."""
    text = config(metrics).replace("for: 1m", "for: 3m")
    return by_a_route.begun(world, text, Figures())


def test_a_release_that_is_slower_goes_back(world: World) -> None:
    visited = begun(world)
    visited.figures.took["green"] = 0.09
    run = visited.push()
    assert run.outcome == Outcome.FAILED
    assert run.failure is not None
    assert "it answers more slowly than r1: errors 0 % of" in run.failure.message
    assert (
        "p50 73 to 91 ms and p95 73 to 91 ms, beside 37 to 47 ms and 37 to 47 ms of r1" in run.failure.message
    )
    assert state(visited) == (1, False, False)
    assert {"times shop hello-live-green-.*", "times shop hello-live-blue-.*"} == set(visited.figures.asked)


def test_one_that_is_as_fast_stays_and_its_times_are_kept(world: World) -> None:
    visited = begun(world)
    run = visited.push()
    assert run.outcome == Outcome.LIVE, run.reason
    [step] = [one for one in run.steps if one.step == "shift"]
    assert step.data["latency"]["new"]["p50_from"] == step.data["latency"]["old"]["p50_from"] == 0.037253
    assert "are not compared by time" not in said(visited, run)


def test_buckets_that_are_too_coarse_are_said(world: World) -> None:
    visited = begun(world)
    visited.figures.bounds = {"blue": INGRESS, "green": INGRESS}
    visited.figures.counts = {}
    visited.figures.took["green"] = 0.09
    seen: list[dict] = []
    during(
        visited,
        lambda: seen.append(visited.commands.status("hello")["pipelines"][0]["environments"][0]),
        look=100,
    )
    run = visited.push()
    assert run.outcome == Outcome.LIVE, run.reason
    assert seen[0]["shift"]["text"].endswith(
        "p50 50 to 100 ms and p95 50 to 100 ms, beside 25 to 50 ms and 25 to 50 ms of r1; "
        "the buckets are too coarse to judge p50 and p95"
    )


@pytest.mark.parametrize(
    ("metrics", "why"),
    [
        (METRICS, "`metrics` has queries of its own, but none for `latency`"),
        (
            TIMES.replace("$pods', errors", "', errors"),
            "the query for `latency` does not tell the two releases apart",
        ),
    ],
)
def test_without_a_query_for_each_of_the_two_it_is_said_once(world: World, metrics: str, why: str) -> None:
    visited = begun(world, metrics)
    visited.figures.took["green"] = 0.9
    run = visited.push()
    assert run.outcome == Outcome.LIVE, run.reason
    assert said(visited, run).count(f"answers are not compared by time: {why}") == 1


def test_one_that_does_not_know_the_times_is_no_fault_of_the_release(world: World) -> None:
    visited = begun(world)

    def away() -> None:
        visited.figures.wrong = "Prometheus: no answer within 5 s."

    during(visited, away)
    run = visited.push()
    assert run.outcome == Outcome.LIVE, run.reason
    assert said(visited, run).count("answers are not compared by time: Prometheus: no answer within 5 s") == 1


def test_histograms_of_two_releases_are_taken_by_the_bounds_that_both_have(world: World) -> None:
    visited = begun(world)
    visited.figures.bounds["green"] = tuple(sorted({*FINE, 0.04, 0.08}))
    visited.figures.took["green"] = 0.09
    assert visited.push().outcome == Outcome.FAILED


def test_two_releases_with_no_bound_in_common_are_not_compared(world: World) -> None:
    visited = begun(world)
    visited.figures.bounds["green"] = (0.123, 0.456)
    visited.figures.took["green"] = 0.9
    run = visited.push()
    assert run.outcome == Outcome.LIVE
    assert "the histograms of the two releases have no bound in common" in said(visited, run)


def test_killed_in_the_midst_the_next_worker_goes_on_and_counts_nothing_twice(world: World) -> None:
    visited = begun(world)
    visited.figures.took["green"] = 0.09
    during(visited, lambda: visited.engine.kill("shared"), step=0, look=170)
    number = visited.accept(visited.commit("two")).number
    with pytest.raises(Killed):
        visited.work()
    before = times.read(visited.store.facts.get(times.fact_name("hello/live")))
    assert before is not None
    assert before.stretches
    visited.reconcile()
    visited.work()
    run = visited.run(number)
    assert run.outcome == Outcome.FAILED
    assert run.failure is not None
    assert "it answers more slowly than r1" in run.failure.message
    after = times.read(visited.store.facts.get(times.fact_name("hello/live")))
    assert after is not None
    assert after.stretches[: len(before.stretches)] == before.stretches
    assert total(merged(one.new for one in after.stretches)) < visited.figures.whole["green"]
