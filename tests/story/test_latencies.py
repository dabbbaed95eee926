"""A release that answers more slowly than the one before it: the keeper sees it and says so."""

from __future__ import annotations

import pytest

from pipeline.domain.engine_types import Answered
from pipeline.domain.judging.latency.times import Timed, bucket_of
from pipeline.errors import EngineAway

CONFIG = "pipelines: {hello: {environments: {live: }}}"
FAST = {bucket_of(0.020): 3000, bucket_of(0.080): 400}
SLOW = {bucket_of(0.050): 3000, bucket_of(0.160): 400}


@pytest.fixture
def world(make_world):
    world = make_world(CONFIG)
    world.push("one")
    return world


def serve(world, times: dict[int, int], looks: int = 40) -> list[str]:
    """The slot that serves answers so between two looks of the keeper, which are a minute apart."""
    engine = world.engine
    ref = next(ref for ref in engine.contents if ref.slot == engine.active[("hello", "live")])
    said = world.jobs.latencies.run()
    world.jobs.answers.run()
    for _ in range(looks):
        known = (engine.times.get(ref) or Timed(1)).times
        engine.times[ref] = Timed(1, known | {one: known.get(one, 0) + n for one, n in times.items()})
        engine.counted[ref] = Answered(sum(engine.times[ref].times.values()))
        world.clock.sleep(60)
        world.jobs.answers.run()
        said += world.jobs.latencies.run()
    return said


def latency(world) -> dict | None:
    [found] = world.commands.status("hello")["pipelines"][0]["environments"]
    return (found["answers"] or {}).get("latency")


def test_a_slower_release_is_said_once(world):
    assert latency(world) is None
    assert serve(world, FAST) == []
    assert latency(world)["verdict"] == "nothing to compare with"
    world.push("two")
    [said] = serve(world, SLOW)
    assert said.startswith("hello/live: r2: p50 ")
    assert said.endswith(", worse than r1 (21 ms and 79 ms)")
    found = latency(world)
    assert (found["verdict"], found["slower"]) == ("worse", ["p50", "p95"])
    assert found["before"]["release"] == 1
    assert serve(world, FAST) == []
    assert latency(world)["verdict"] == "worse"


def test_one_that_is_as_fast_is_no_worse(world):
    serve(world, FAST)
    world.push("two")
    assert serve(world, FAST) == []
    assert latency(world)["verdict"] == "no worse"


def test_nothing_is_said_as_long_as_nothing_is_measured(world):
    world.engine.times = dict.fromkeys(world.engine.contents, None)
    assert world.jobs.latencies.run() == []
    assert latency(world) is None


def test_nothing_is_lost_while_an_engine_is_away(world):
    serve(world, FAST)
    before = latency(world)["requests"]
    world.engine.fail("timed", EngineAway("no answer"), times=5)
    assert serve(world, FAST, looks=4) == []
    assert latency(world)["requests"] == before
    serve(world, FAST, looks=1)
    assert latency(world)["requests"] == before + 5 * 3400


def test_all_that_was_timed_is_in_the_metrics(world):
    serve(world, FAST, looks=3)
    world.push("two")
    serve(world, SLOW, looks=3)
    found = world.store.metrics.read().pipelines["hello"]
    assert sum(found.times["live"].values()) == 2 * 2 * 3400
    assert found.latency_verdicts["live"] == "nothing to compare with"


def test_what_is_not_to_be_judged_is_measured_all_the_same(make_world):
    world = make_world("pipelines: {hello: {environments: {live: {judge: off}}}}")
    world.push("one")
    world.push("two")
    serve(world, FAST, looks=5)
    assert latency(world) is None
    assert world.store.metrics.read().pipelines["hello"].times["live"]
