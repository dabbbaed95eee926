"""A budget that runs will break is foretold: at a run's end, in status, timings and doctor, and once to receivers."""

from __future__ import annotations

import pytest

from pipeline.cli.app.timings import timing_lines
from pipeline.cli.status import pipeline_lines
from pipeline.deploy.explaining import foretold
from pipeline.domain.run import Outcome
from pipeline.maintenance.doctor import forecasts
from pipeline.runlog import file

URL = "https://hooks.example.com/x"
CONFIG = (
    "budget: {deploy: 5m, whole: 30s}\n"
    f'notify: [{{url: "{URL}"}}]\n'
    "pipelines: {hello: {environments: {dev: , live: }}}"
)
DAY = 86400.0
TEXT = "build/build grows by 7.00s a week; with it push → live passes the budget of 30.00s in about"


@pytest.fixture
def world(make_world):
    return make_world(CONFIG)


def push(world, seconds: float) -> int:
    world.builder.before("build", lambda: world.clock.sleep(seconds))
    number = world.push().number
    world.clock.sleep(DAY - seconds)
    return number


def grown(world, count: int = 14) -> int:
    return [push(world, 2.0 + day) for day in range(count)][-1]


def messages(world) -> list[str]:
    """What receivers are told of growth, with everything that waits delivered."""
    return [one["text"] for one in world.told() if one["event"] == "slowing"]


def plain(text: str, _style: str) -> str:
    return text


def test_it_is_said_everywhere_and_told_once(world):
    run = world.run(grown(world))
    assert run.outcome == Outcome.LIVE
    log = "\n".join(file.read(file.path(world.settings.data, "hello", run.number)))
    assert TEXT in log
    entry = world.commands.status("hello")["pipelines"][0]
    (one,) = entry["forecasts"]
    assert one["text"].startswith(TEXT)
    assert (one["budget"], one["limit"], one["stage"], one["step"]) == ("whole", 30.0, "build", "build")
    assert any(TEXT in line for line in pipeline_lines(entry, world.clock.now(), plain, 300))
    answer = world.commands.timings("hello", seconds=30 * DAY)
    assert answer["forecasts"][0]["budget"] == "whole"
    lines = timing_lines(answer, plain, 200)
    assert any(TEXT in line for line in lines)
    assert any(line.startswith("  ↗ build/build grows by 7.00s a week, now 1") for line in lines)
    (check,) = forecasts.examine(world.services, world.clock.now())
    assert (check["name"], check["ok"]) == ("budget of hello", True)
    assert TEXT in check["text"]
    assert "pushlive timings hello" in check["advice"]
    assert any(TEXT[1:] in text for text in world.commands.report("hello")["pipelines"][0]["advice"])
    push(world, 16.0)
    told = messages(world)
    assert len(told) == 1
    assert told[0].startswith(f"hello: {TEXT}")


def test_too_few_runs_foretell_nothing(world):
    grown(world, 11)
    assert world.commands.status("hello")["pipelines"][0]["forecasts"] == []
    assert messages(world) == []


def test_a_forecast_ends_with_a_changed_budget_and_without_runs(world):
    grown(world)
    world.configure(CONFIG.replace("30s", "40s"))
    assert world.commands.status("hello")["pipelines"][0]["forecasts"] == []
    world.configure(CONFIG)
    assert world.commands.status("hello")["pipelines"][0]["forecasts"]
    world.clock.sleep(40 * DAY)
    assert world.commands.status("hello")["pipelines"][0]["forecasts"] == []


def test_a_revert_leaves_the_forecast_as_it_is(world):
    grown(world)
    before = world.store.facts.get("foretold:hello")
    assert world.revert().outcome == Outcome.LIVE
    assert world.store.facts.get("foretold:hello") == before


@pytest.mark.parametrize("text", ["", "{", "[]", '{"forecasts": [{"budget": 1}]}', '{"seen": 1, "more": 2}'])
def test_a_fact_of_another_version_is_no_forecast(world, text):
    assert foretold.read(text).forecasts == ()
    world.store.facts.set("foretold:hello", text)
    assert world.push().outcome == Outcome.LIVE
    assert world.commands.status("hello")["pipelines"][0]["forecasts"] == []
