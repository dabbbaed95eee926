"""A configuration that comes back, or goes, with the next push is named before it enters."""

from __future__ import annotations

from pipeline.domain.run import Outcome, State

BASE = """\
pipelines:
  hello:
    service: {memory: 256MiB, env: {GREETING: hello}}
    environments: {dev: , live: }
"""
BAD = BASE.replace("256MiB", "64MiB").replace("hello}", "hullo}")
COMES_BACK = (
    "r3 brings back to live what r2 had (too little): "
    "memory: 256 MiB → 64 MiB, env GREETING: 'hello' → 'hullo'"
)


def said(world, run) -> list[str]:
    return [event.text for event in world.events(run, "warning")]


def reverted(make_world):
    """r2 had the changed configuration, and was reverted; the file still has it."""
    world = make_world(BASE)
    world.push("one")
    world.configure(BAD)
    world.push("two")
    world.revert(reason="too little")
    return world


def test_a_reverted_configuration_that_comes_back_is_named_at_the_gate_and_by_resume(make_world):
    world = reverted(make_world)
    run = world.push("three")
    assert (run.state, run.gate) == (State.WAITING, "live")
    assert said(world, run) == [COMES_BACK]
    [waiting] = world.commands.status()["pipelines"][0]["waits"]
    assert waiting["returning"] == [COMES_BACK]
    assert world.commands.show("hello", run.number)["run"]["returning"] == [COMES_BACK]
    assert world.commands.resume("hello", "ann")[-1] == f"{COMES_BACK}."
    world.work()
    assert world.run(run.number).outcome == Outcome.LIVE


def test_only_what_comes_back_is_named(make_world):
    world = reverted(make_world)
    world.configure(BAD.replace("64MiB", "512MiB"))
    [text] = said(world, world.push("three"))
    assert text == "r3 brings back to live what r2 had (too little): env GREETING: 'hello' → 'hullo'"


def test_a_corrected_configuration_is_not_named(make_world):
    world = reverted(make_world)
    world.configure(BASE)
    run = world.push("three")
    assert said(world, run) == []
    assert world.commands.resume("hello", "ann")[-1] == "hello#4 (r3) continues to live."


def test_once_it_was_let_in_it_is_not_named_again(make_world):
    world = reverted(make_world)
    world.push("three")
    world.commands.resume("hello", "ann")
    world.work()
    assert said(world, world.push("four")) == []


def test_a_sent_configuration_that_the_next_push_undoes_is_named(make_world):
    world = make_world(BASE)
    world.push("one")
    sent = world.commands.deploy("hello", "ann", config=BASE.replace("hello}", "moin, MORE: x}"))
    world.work()
    run = world.push("two")
    undone = (
        f"r3 undoes in {{}} what {sent.id} brought with `deploy --config` by ann: "
        "env GREETING: 'moin' → 'hello', env MORE: − 'x'. To keep it, write it into pipelines.yaml"
    )
    assert said(world, run) == [undone.format("dev"), undone.format("live")]
    assert run.outcome == Outcome.LIVE
    assert said(world, world.push("three")) == []


def test_what_was_sent_in_several_steps_is_named_as_a_whole(make_world):
    world = make_world(BASE)
    world.push("one")
    for text in (
        BASE.replace("256MiB", "300MiB"),
        BASE.replace("256MiB", "300MiB").replace("hello}", "moin}"),
    ):
        world.commands.deploy("hello", "ann", config=text)
        world.work()
    text = said(world, world.push("two"))[0]
    assert "memory: 300 MiB → 256 MiB, env GREETING: 'moin' → 'hello'" in text


def test_a_sent_configuration_that_was_written_down_is_not_named(make_world):
    world = make_world(BASE)
    world.push("one")
    changed = BASE.replace("hello}", "moin}")
    world.commands.deploy("hello", "ann", config=changed)
    world.work()
    world.configure(changed)
    assert said(world, world.push("two")) == []


def test_what_the_file_changed_itself_is_not_named(make_world):
    world = make_world(BASE)
    world.push("one")
    world.configure(BAD)
    assert said(world, world.push("two")) == []
