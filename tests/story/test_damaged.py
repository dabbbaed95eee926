"""Damaged and foreign records in the store are named, never executed, and do not affect other pipelines."""

from __future__ import annotations

import json

import pytest

from pipeline.domain.run import Outcome, State
from pipeline.errors import DamagedRecord
from pipeline.ports.terminal import SessionRecord

TWO = """\
pipelines:
  hello: {service: {health: /healthz}, environments: {live: }}
  other: {service: {health: /healthz}, environments: {live: }}
"""
PICKLE = "cos\nsystem\n(S'touch /tmp/pushlive-pwned'\ntR."


def damages(text: str) -> dict[str, str]:
    """Ways to damage a record: not JSON, JSON of another type, an unknown word, a missing field, code."""
    record = json.loads(text)
    return {
        "cut": text[: len(text) // 2],
        "list": "[]",
        "null": "null",
        "word": json.dumps({**record, "state": "dancing", "kind": "dancing", "slots": "none", "image": 7}),
        "gone": json.dumps({"pipeline": "hello"}),
        "deep": "[" * 100_000,
        "pickle": PICKLE,
        "yaml": "!!python/object/apply:os.system ['touch /tmp/pushlive-pwned']",
    }


KINDS = list(damages("{}"))


def spoil(world, key: str, field: str, how: str) -> str:
    name = world.store.key(key, "hello")
    world.store.client.hset(name, field, damages(world.store.client.hget(name, field))[how])
    return f"{name} [{field}]"


def tick(world) -> list[str]:
    """A round of the maintenance jobs, some seconds later."""
    world.clock.sleep(6.0)
    return world.keeper.tick()


@pytest.mark.parametrize("how", KINDS)
@pytest.mark.parametrize(("key", "field"), [("runs", "1"), ("releases", "1"), ("environments", "live")])
def test_fault_45_a_damaged_record_is_named_and_other_pipelines_go_on(make_world, key, field, how):
    world = make_world(TWO)
    world.push("one")
    name = spoil(world, key, field, how)
    looks = {
        "runs": lambda: world.store.run("hello", 1),
        "releases": lambda: world.store.release("hello", 1),
        "environments": lambda: world.store.environments("hello"),
    }
    with pytest.raises(DamagedRecord) as caught:
        looks[key]()
    assert name in str(caught.value)
    assert "pwned" not in str(caught.value)  # the message does not repeat the content
    said = [line for _ in range(8) for line in tick(world)]
    assert len([line for line in said if name in line]) <= 1  # once, not every second
    run = world.push("two", "other")
    assert run.outcome == Outcome.LIVE
    status = {entry["name"]: entry for entry in world.commands.status()["pipelines"]}
    assert status["other"]["environments"][0]["release"] == 1
    assert [line for line in tick(world) if "other" in line] == []


def test_fault_45_a_damaged_run_that_is_due_stops_no_other_run(make_world):
    world = make_world(TWO)
    first, second = (world.accept(world.commit(text)) for text in ("one", "two"))
    world.store.client.sadd(world.store.key("due", "hello"), str(first.number))
    name = spoil(world, "runs", str(first.number), "cut")
    world.work()
    run = world.run(second.number)
    assert run.outcome == Outcome.LIVE
    assert any(name in line for _ in range(3) for line in tick(world))


def test_fault_45_a_run_into_a_damaged_environment_fails_and_names_it(make_world):
    world = make_world(TWO)
    world.push("one")
    name = spoil(world, "environments", "live", "cut")
    run = world.push("two")
    assert (run.state, run.outcome) == (State.ENDED, Outcome.FAILED)
    assert name in run.reason


def test_fault_45_a_member_that_is_not_a_number_is_reported(make_world):
    world = make_world(TWO)
    world.push("one")
    key = world.store.key("due", "hello")
    world.store.client.sadd(key, "__import__('os')")
    with pytest.raises(DamagedRecord, match="due:hello"):
        world.store.due("hello")
    tick(world)
    assert world.push("two", "other").outcome == Outcome.LIVE


def test_fault_45_a_key_of_another_type_is_a_damaged_record(make_world):
    world = make_world(TWO)
    world.push("one")
    key = world.store.key("releases", "hello")
    world.store.client.delete(key)
    world.store.client.set(key, "x")
    with pytest.raises(DamagedRecord):
        world.store.releases("hello")
    tick(world)
    assert world.push("two", "other").outcome == Outcome.LIVE


def test_fault_45_a_damaged_token_grants_nothing(make_world):
    world = make_world(TWO)
    text = world.commands.create_token("ann", "viewer", "ann")
    key = world.store.key("tokens")
    (digest,) = world.store.client.hkeys(key)
    world.store.client.hset(key, digest, '{"name": "ann", "role": ["maintainer"], "created": 1}')
    with pytest.raises(DamagedRecord, match="tokens"):
        world.commands.token(text)


@pytest.mark.parametrize("how", KINDS)
def test_fault_45_a_damaged_run_of_the_past_holds_up_no_push(world, how):
    for text in ("one", "two"):
        world.push(text)
    spoil(world, "runs", "1", how)
    assert world.push("three").outcome == Outcome.LIVE


def test_fault_45_a_damaged_run_of_the_past_holds_up_no_revert(world):
    for text in ("one", "two", "three"):
        world.push(text)
    spoil(world, "runs", "1", KINDS[0])
    assert world.revert().release == 2
    assert world.revert(to=1).outcome == Outcome.LIVE


def test_fault_45_a_damaged_release_of_the_past_holds_up_no_push(world):
    for text in ("one", "two"):
        world.push(text)
    world.revert()
    spoil(world, "releases", "2", KINDS[0])
    run = world.push("three")
    assert world.commands.resume("hello", "ann")[-1] == f"{run.id} (r3) continues to live."
    world.work()
    assert world.run(run.number).outcome == Outcome.LIVE


def test_a_damaged_record_of_a_session_is_named_once_and_others_are_ended(make_world):
    world = make_world(TWO)
    world.push("one")
    world.store.client.hset(world.store.key("sessions"), "aaaa", "[]")
    world.store.sessions.put(SessionRecord("bbbb", "hello", "live", 1, "blue", by="ann"))
    said = [line for _ in range(3) for line in tick(world)]
    assert len([line for line in said if "sessions [aaaa]" in line]) == 1
    assert [line for line in said if "a command of ann was ended" in line]
    assert world.store.sessions.all()[0] == ()
