"""How fast and how well a pipeline has been, from its recorded runs."""

from __future__ import annotations

import pytest

from pipeline.cli.app.timings import timing_lines
from pipeline.errors import NotFound

CONFIG = "pipelines: {hello: {environments: {dev: , live: }}}"
DAY = 86400.0


@pytest.fixture
def world(make_world):
    return make_world(CONFIG)


def lines(world, seconds: float = DAY) -> str:
    found = world.commands.timings("hello", seconds=seconds)
    return "\n".join(timing_lines(found, lambda text, _style: text, 100))


def test_a_pipeline_without_runs(world):
    assert lines(world) == "hello  0 runs in 1d"
    with pytest.raises(NotFound):
        world.commands.timings("other", seconds=DAY)


def test_pushes_and_a_revert(world):
    world.push("one")
    world.push("two")
    world.commands.revert("hello", "ann")
    world.work()
    found = world.commands.timings("hello", seconds=DAY)
    assert (found["runs"], found["outcomes"]) == (3, {"live": 2, "reverted": 1})
    assert (found["deployments"], found["reverted"], found["within"]) == (2, 1, 2)
    assert [one["stage"] for one in found["steps"] if not one["step"]] == ["build", "dev", "live"]
    text = lines(world)
    assert "2 of 2 within the budget of 5:00 (100 %)" in text
    assert "deployments          2, 2.0 a day" in text
    assert "reverted             1 of 2 (50 %)" in text


def test_runs_from_before_that_time_do_not_count(world):
    world.push("one")
    world.clock.sleep(2 * DAY)
    assert world.commands.timings("hello", seconds=DAY)["runs"] == 0
    assert world.commands.timings("hello", seconds=3 * DAY)["runs"] == 1
