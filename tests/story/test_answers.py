"""A release that answers with more errors than the one before it: the keeper counts and says so."""

from __future__ import annotations

import pytest

from pipeline.domain.engine_types import Answered
from pipeline.errors import EngineAway

CONFIG = "pipelines: {hello: {environments: {live: }}}"


@pytest.fixture
def world(make_world):
    world = make_world(CONFIG)
    world.push("one")
    return world


def serve(world, requests: int, errors: int, looks: int = 40) -> list[str]:
    """The slot that serves answers that often, and with so many errors, between two looks of the keeper."""
    said, engine = [], world.engine
    ref = next(ref for ref in engine.contents if ref.slot == engine.active[("hello", "live")])
    said += world.jobs.answers.run()
    for _ in range(looks):
        known = engine.counted.get(ref, Answered())
        engine.counted[ref] = Answered(known.requests + requests, known.errors + errors)
        world.clock.sleep(15)
        said += world.jobs.answers.run()
    return said


def answers(world) -> dict:
    [found] = world.commands.status("hello")["pipelines"][0]["environments"]
    return found["answers"]


def test_checks_after_the_switch_are_not_counted(world):
    seen = []

    def ask() -> None:
        for number in (0, 3):  # the keeper looks twice before the run is done there
            world.engine.counted.update(dict.fromkeys(world.engine.contents, Answered(number, number)))
            seen.append(world.jobs.answers.run())

    world.engine.before("public", ask)
    world.push("two")
    assert seen == [[], []]
    assert answers(world) is None
    serve(world, 10, 0, looks=5)
    assert (answers(world)["requests"], answers(world)["errors"]) == (50, 0)


def test_the_first_release_has_nothing_to_compare_with(world):
    assert answers(world) is None
    assert serve(world, 100, 1) == []
    found = answers(world)
    assert (found["release"], found["requests"], found["errors"]) == (1, 4000, 40)
    assert (found["verdict"], found["before"]) == ("nothing to compare with", None)


def test_twice_the_errors_are_said_once(world):
    serve(world, 500, 5, looks=100)
    world.push("two")
    [said] = serve(world, 500, 10)
    assert said.startswith("hello/live: r2: errors 2 % of ")
    assert said.endswith(", worse than r1 (1 %)")
    assert answers(world)["verdict"] == "worse"
    assert answers(world)["before"] == {"release": 1, "requests": 50_000, "errors": 500}
    assert serve(world, 500, 0) == []
    assert answers(world)["verdict"] == "worse"


def test_as_many_errors_are_no_worse(world):
    serve(world, 500, 5, looks=100)
    world.push("two")
    assert serve(world, 500, 5, looks=100) == []
    assert answers(world)["text"] == "errors 1 % of 50,000 requests, no worse than r1 (1 %)"


def test_a_revert_is_compared_with_what_it_took_back(world):
    serve(world, 500, 5, looks=100)
    world.push("two")
    serve(world, 500, 10)
    world.commands.revert("hello", "ann")
    world.work()
    assert answers(world) is None  # what is known is about r2
    serve(world, 500, 5, looks=100)
    found = answers(world)
    assert (found["release"], found["before"]["release"], found["verdict"]) == (1, 2, "no worse")


def test_nothing_is_counted_while_an_engine_is_away(world):
    serve(world, 100, 0)
    world.engine.fail("answered", EngineAway("no answer"), times=3)
    assert serve(world, 100, 0, looks=2) == []
    assert answers(world)["requests"] == 4000
    assert world.jobs.answers.run() == []
    assert answers(world)["requests"] == 4200
