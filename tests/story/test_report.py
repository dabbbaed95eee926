"""A month of pipelines from their recorded runs."""

from __future__ import annotations

import pytest

from pipeline.errors import NotFound, RequestError
from pipeline.lib.secret import Secret

CONFIG = "pipelines: {hello: {environments: {dev: , live: }}, shop: {environments: {live: }}}"
DAY = 86400.0


@pytest.fixture
def world(make_world):
    return make_world(CONFIG)


def of(world, pipeline: str = "hello", **asked: str):
    (one,) = world.commands.report(pipeline, **asked)["pipelines"]
    return one


def test_all_pipelines_or_one(world):
    world.push("one")
    found = world.commands.report()
    assert [one["pipeline"] for one in found["pipelines"]] == ["hello", "shop"]
    assert (found["zone"], found["under_way"]) == ("UTC", True)
    assert found["since"] <= world.clock.now() < found["until"]
    assert [one["runs"] for one in found["pipelines"]] == [1, 0]
    assert found["pipelines"][1]["first_run"] == 0.0
    assert of(world)["runs"] == 1


def test_what_cannot_be_asked_is_refused(world):
    with pytest.raises(NotFound):
        world.commands.report("nope")
    with pytest.raises(RequestError, match="is not a month"):
        world.commands.report(month="2026-13")
    with pytest.raises(RequestError, match="is not a time zone"):
        world.commands.report(zone="Mars")


def test_a_push_and_a_revert(world):
    world.push("one")
    world.push("two")
    world.revert()
    found = of(world)
    assert found["outcomes"] == {"live": 2, "reverted": 1}
    assert [(one["environment"], one["release"], one["back"]) for one in found["arrivals"]] == [
        ("dev", 1, False), ("live", 1, False), ("dev", 2, False), ("live", 2, False), ("live", 1, True),
    ]  # fmt: skip
    assert [(one["run"], one["to"], one["by"]) for one in found["taken_back"]] == [("hello#3", 1, "ann")]
    assert (found["dora"]["deployments"], found["dora"]["reverted"]) == (2, 1)
    assert (len(found["went"]), found["within"], found["serious"]) == (2, 2, 0)


def test_the_month_before_is_compared_and_the_one_after_is_empty(world):
    first = world.commands.report()["month"]
    world.push("one")
    world.clock.sleep(31 * DAY)
    world.push("two")
    found = of(world)
    assert found["runs"] == 1
    assert found["dora_before"]["deployments"] == 1
    assert of(world, month=first)["dora_before"] is None
    assert of(world, month="2020-01")["runs"] == 0
    assert of(world, month="2020-01")["first_run"] > 0


def test_secrets_are_masked_also_in_what_was_recorded_before(world):
    world.push("hunter2hunter2 in a message")
    assert "hunter2" in repr(of(world))
    world.commands.set_secret("hello", "ann", "TOKEN", Secret("hunter2hunter2"))
    found = of(world)
    assert "hunter2" not in repr(found)
    assert found["arrivals"][0]["message"].endswith(" in a message")


def test_a_run_that_waits_is_among_the_waits(make_world):
    world = make_world("pipelines: {hello: {environments: {dev: , live: {promote: manual}}}}")
    world.push("one")
    world.clock.sleep(500.0)
    (wait,) = of(world)["waits"]
    assert (wait["run"], wait["environments"], wait["over"]) == ("hello#1", ["live"], False)
    assert wait["seconds"] >= 500.0


def test_a_wait_that_is_over_says_before_what_and_who_ended_it(make_world):
    world = make_world("pipelines: {hello: {environments: {dev: , live: }}}")
    world.commands.hold("hello", "ann", environment="dev")
    world.commands.freeze("ann", environment="live", reason="a launch", lasting="1h")
    world.push("one")
    world.clock.sleep(500.0)
    world.commands.resume("hello", "ben", environment="dev")
    world.work()
    world.clock.sleep(3600.0)
    world.jobs.opening.run()
    world.work()
    (wait,) = of(world)["waits"]
    assert wait | {"seconds": 0} == {
        "run": "hello#1", "seconds": 0, "environments": ["dev", "live"], "by": ["ben"], "over": True, "opened": True,
    }  # fmt: skip
