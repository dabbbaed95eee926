"""Whatever waits for a person, or can be done about it, is shown and named: behind any number of newer runs, and when
its pipeline or its environment was taken out of the file."""

from __future__ import annotations

import pytest

from pipeline.domain.run import Outcome, State
from pipeline.errors import NotFound, RequestError

GATED = """\
pipelines:
  hello:
    service: {health: /healthz}
    environments: {dev: , qa: {promote: manual}, live: {promote: manual}}
"""
GONE = "pipelines: {other: {environments: {live: }}}"


@pytest.fixture
def world(make_world):
    return make_world(GATED)


def status(world, name: str = "hello") -> dict:
    return world.commands.status(name)["pipelines"][0]


def test_a_run_that_waits_is_shown_behind_any_number_of_newer_ones(world) -> None:
    waiting = world.push("one")
    world.commands.promote("hello", "ann")
    world.work()
    for _ in range(30):
        run = world.commands.deploy("hello", "ann")
        world.commands.cancel("hello", run.number, "ann")
    assert status(world)["waiting"]["id"] == waiting.id
    assert waiting.id in [run["id"] for run in world.commands.runs("hello", 5)]
    assert world.commands.promote("hello", "ann").id == waiting.id


def test_every_run_that_waits_is_shown(world) -> None:
    first = world.push("one")
    world.commands.promote("hello", "ann")
    world.work()
    second = world.push("two")
    found = status(world)
    assert [(one["id"], one["gate"]) for one in found["waits"]] == [(second.id, "qa"), (first.id, "live")]
    assert found["waiting"]["id"] == second.id
    with pytest.raises(RequestError) as told:
        world.commands.promote("hello", "ann", environment="dev")
    text = f"no run of hello waits before dev; {first.id} waits before live, {second.id} waits before qa."
    assert told.value.message == text
    with pytest.raises(
        RequestError, match=f"hello#9 does not wait for a promotion; {first.id} waits before live"
    ):
        world.commands.promote("hello", "ann", run=9)


def test_a_pipeline_that_was_taken_out_of_the_file_is_shown_while_something_of_it_is_there(world) -> None:
    waiting = world.push("one")
    world.configure(GONE)
    named = [entry["name"] for entry in world.commands.status()["pipelines"]]
    assert named == ["other", "hello"]
    found = status(world)
    assert found["removed"].startswith("is no longer in pipelines.yaml; what runs keeps serving")
    assert found["waiting"]["id"] == waiting.id
    assert [one["name"] for one in found["environments"]] == ["dev", "qa"]
    assert found["environments"][0]["release"] == 1
    assert not found["environments"][0]["revert"]["ready"]
    assert found["waiting"]["gate"] == "qa"
    assert world.commands.plan(GONE)["pipelines"]["hello"]["qa"][1] == f"{waiting.id} waits before it"
    assert world.commands.promote("hello", "ann").id == waiting.id
    world.work()
    assert world.run(waiting.number).gate == "live"
    world.commands.cancel("hello", waiting.number, "ann")
    world.gc()
    assert [entry["name"] for entry in world.commands.status()["pipelines"]] == ["other"]
    with pytest.raises(NotFound, match="there is no pipeline 'hello'"):
        world.commands.status("hello")


def test_a_hold_in_an_environment_that_was_taken_out_of_the_file_can_be_lifted(world) -> None:
    world.commands.hold("hello", "bo", environment="qa", reason="a freeze")
    waiting = world.push("one")
    world.configure(GATED.replace("qa: {promote: manual}, ", ""))
    found = {one["name"]: one for one in status(world)["environments"]}
    assert list(found) == ["dev", "live", "qa"]
    assert (bool(found["qa"]["removed"]), found["dev"]["removed"]) == (True, "")
    assert found["qa"]["hold"]["reason"] == "a freeze"
    assert status(world)["waiting"]["held"]
    said = world.commands.resume("hello", "bo", environment="qa")
    assert f"{waiting.id} still waits for a promotion: `pushlive promote 'hello#1'`." in said
    world.commands.promote("hello", "bo")
    world.work()
    assert world.run(waiting.number).gate == "live"


def test_gc_names_the_run_that_keeps_an_environment(world) -> None:
    waiting = world.push("one")
    world.configure(GONE)
    text = f"hello/qa is no longer in pipelines.yaml, but {waiting.id} waits before qa; to give it up: "
    assert any(said.startswith(text) for said in world.gc())
    assert world.run(waiting.number).state == State.WAITING
    world.commands.cancel("hello", waiting.number, "ann")
    world.gc()
    assert world.store.environments("hello") == {}
    assert world.run(waiting.number).outcome == Outcome.CANCELLED


def test_the_runs_of_a_pipeline_that_does_not_exist_are_not_none_yet(world) -> None:
    with pytest.raises(NotFound, match="there is no pipeline 'nobody'") as refused:
        world.commands.runs("nobody")
    assert "hello" in refused.value.advice
    assert world.commands.runs("hello") == []
    with pytest.raises(NotFound, match="there is no run of nobody"):
        world.commands.cancel("nobody", None, "ann")


def test_a_promotion_in_a_pipeline_that_does_not_exist_says_so(world) -> None:
    with pytest.raises(NotFound, match="there is no pipeline 'shop'"):
        world.commands.promote("shop", "ann")
