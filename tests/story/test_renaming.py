"""An environment or a pipeline gets another name, or a host name moves to another environment: it leads to the old one
until the new one's switch."""

from __future__ import annotations

import pytest

from pipeline.domain.run import Outcome
from pipeline.errors import RequestError

HOST = "www.example.com"
BEFORE = """\
pipelines:
  hello:
    service: {health: /healthz}
    smoke: [{get: /, contains: r}]
    environments: {dev: , live: {host: www.example.com}}
"""
ENVIRONMENT = BEFORE.replace("live:", "production:")
PIPELINE = BEFORE.replace("hello:", "shop:\n    source: {repository: hello}").replace("live: {", "prod: {")
MOVED = BEFORE.replace("dev: , live: {host: www.example.com}", "dev: {host: www.example.com}, live: ")


@pytest.fixture
def world(make_world):
    one = make_world(BEFORE)
    assert one.push("one").outcome == Outcome.LIVE
    assert led(one) == [("hello", "live")]
    return one


def led(world) -> list[tuple[str, str]]:
    """The environments to which the host name leads."""
    return [key for key, names in world.engine.hosts.items() if HOST in names]


@pytest.mark.parametrize(
    ("text", "new"), [(ENVIRONMENT, ("hello", "production")), (PIPELINE, ("shop", "prod"))]
)
def test_the_host_name_moves_with_the_switch(world, text, new) -> None:
    pipeline, name = new
    plan = world.commands.plan(text)["pipelines"][pipeline][name]
    assert (
        f"hosts: {HOST} moves here from hello/live with the next release; until then it leads there" in plan
    )
    world.configure(text)
    assert world.reconcile() == []
    kept = f"hello/live is no longer in pipelines.yaml, but {HOST} leads there until {pipeline}/{name} serves"
    assert [text.startswith(kept) for text in world.gc() if HOST in text] == [True]
    run = world.commands.deploy(pipeline, "ann", commit=world.commit("two", pipeline))
    world.engine.before("switch", lambda: seen.append(led(world)), times=2)
    seen: list[list[tuple[str, str]]] = []
    world.work(pipeline)
    ended = world.run(run.number, pipeline)
    assert ended.outcome == Outcome.LIVE, ended.reason
    assert seen[-1] == [("hello", "live")], "the old one serves until then"
    assert led(world) == [new]
    world.reconcile()
    assert led(world) == [new], "the keeper does not take it back"
    assert "hello/live is no longer in pipelines.yaml and was removed" in world.gc()
    assert led(world) == [new]


def test_a_host_name_that_moves_between_environments_of_the_file_moves_with_the_switch(world) -> None:
    world.configure(MOVED)
    assert world.push("two").outcome == Outcome.LIVE
    assert led(world) == [("hello", "dev")]
    world.revert()  # live goes back to a release that still has the name
    world.reconcile()
    assert world.serving() == {"dev": 2, "live": 1}
    assert led(world) == [("hello", "dev")]


def test_a_release_that_fails_leaves_the_host_name_where_it_was(world) -> None:
    world.configure(ENVIRONMENT)
    world.break_app(2)
    assert world.push("two").outcome == Outcome.FAILED
    world.reconcile()
    assert led(world) == [("hello", "live")]


@pytest.mark.parametrize(
    ("text", "new"), [(ENVIRONMENT, ("hello", "production")), (PIPELINE, ("shop", "prod"))]
)
def test_a_revert_names_what_was_live_under_the_old_name_and_how_it_comes_back(world, text, new) -> None:
    pipeline, name = new
    commit = world.run(1).commit
    world.configure(text)
    # The built-in server has one repository for both names; the fake keeps one for each.
    world.source.repositories[pipeline] = world.source.repositories["hello"]
    world.commands.deploy(pipeline, "ann", commit=world.commit("two", pipeline))
    world.work(pipeline)
    world.gc()
    with pytest.raises(RequestError) as refused:
        world.commands.revert(pipeline, "ann")
    assert f"{commit[:7]} “one” was live as hello/live" in str(refused.value)
    command = f"`pushlive deploy {pipeline} --commit {commit[:7]}`"
    assert command in refused.value.advice
    again = world.commands.deploy(pipeline, "ann", commit=commit[:7])
    world.work(pipeline)
    assert world.run(again.number, pipeline).outcome == Outcome.LIVE
    assert world.store.release(pipeline, world.serving(pipeline)[name]).commit == commit


def test_a_revert_to_a_release_of_the_old_name_says_how_its_commit_comes_back(world) -> None:
    commit = world.run(1).commit
    world.configure(ENVIRONMENT)
    assert world.push("two").outcome == Outcome.LIVE
    with pytest.raises(RequestError, match="made without the environment production") as refused:
        world.commands.revert("hello", "ann", to=1)
    assert f"`pushlive deploy hello --commit {commit[:7]}`" in refused.value.advice
