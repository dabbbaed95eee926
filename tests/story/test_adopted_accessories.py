"""Accessories after a lost store: their data still know the values that they were made with."""

from __future__ import annotations

import pytest

from pipeline.domain.run import Outcome
from pipeline.errors import NotFound
from pipeline.lib.secret import Secret
from pipeline.maintenance.doctor.accessories import examine
from tests.story.test_accessories import CONFIG, DEV, LIVE, given, password
from tests.story.test_lost_store import lose
from tests.story.test_secrets import everything

NAME = "POSTGRES_PASSWORD"


@pytest.fixture
def world(make_world):
    return make_world(CONFIG)


def adopted(world) -> tuple[str, ...]:
    lose(world)
    world.another_keeper().tick()
    return world.commands.adopt("ann")


def wrong(world) -> list[str]:
    return [one["text"] for one in examine(world.services, world.adapters) if not one["ok"]]


@pytest.mark.parametrize("remembers_nothing", [False, True])
def test_adopting_reads_the_values_from_the_containers(world, remembers_nothing):
    world.engine.remembers_nothing = remembers_nothing
    world.accessories.start("shop-db", "ann", environment="live")  # so that live has the lower number
    world.push("one")
    before = {
        ref: (password(world, ref.environment), world.engine.running[ref].places) for ref in (DEV, LIVE)
    }
    said = adopted(world)
    assert (
        f"the accessory shop-db/dev: it goes on as it is, and its {NAME} was read from its container" in said
    )
    assert not [value for value, _ in before.values() if value in everything(world) or value in "".join(said)]
    assert world.push("two").outcome == Outcome.LIVE
    assert f":{before[LIVE][0]}@" in given(world, "live")["DATABASE_URL"]
    for ref, (value, places) in before.items():
        one = world.engine.running[ref]
        assert (one.made, password(world, ref.environment)) == (1, value)
        assert places[0] in one.places
    assert wrong(world) == []
    world.accessories.apply("shop-db", "ann", environment="live")
    assert world.engine.running[LIVE].made == 1


def test_a_value_that_was_set_for_all_environments_is_so_again(make_world):
    world = make_world(CONFIG.replace("generate", "set"))
    world.commands.set_secret("shop-db", "ann", NAME, Secret("a password"))
    world.push("one")
    adopted(world)
    assert [one["environment"] for one in world.commands.secrets("shop-db")] == [""]
    assert world.push("two").outcome == Outcome.LIVE
    assert wrong(world) == []


def test_one_of_an_earlier_version_that_was_changed_in_the_file_is_taken_up_and_named(world):
    world.engine.remembers_nothing = True
    world.push("one")
    world.configure(CONFIG.replace("postgres:15", "postgres:15.8"))
    before = password(world, "dev")
    adopted(world)
    assert world.push("two").outcome == Outcome.LIVE
    assert f":{before}@" in given(world, "dev")["DATABASE_URL"]
    assert [text[:34] for text in wrong(world)] == ["It was made from another definitio"] * 2


def test_an_adoption_that_was_interrupted_goes_on(world):
    world.push("one")
    lose(world)
    world.another_keeper().tick()
    put, times = world.store.accessories.put, []

    def fails(*given):
        times.append(given)
        if len(times) == 2:
            raise KeyboardInterrupt
        put(*given)

    world.services.store.accessories.put = fails
    with pytest.raises(KeyboardInterrupt):
        world.commands.adopt("ann")
    assert not world.store.origin.known()
    world.commands.adopt("ann")
    assert [(one["environment"], one["version"]) for one in world.commands.secrets("shop-db")] == [
        ("dev", 1),
        ("live", 2),
    ]
    assert world.push("two").outcome == Outcome.LIVE


def test_an_accessory_alone_tells_that_a_store_was_lost(world):
    world.accessories.start("shop-db", "ann", environment="live")
    lose(world)
    [said] = world.another_keeper().tick()
    assert "the accessory shop-db/live is on docker" in said


def test_values_that_are_lost_with_the_containers_are_not_made_again(world):
    world.push("one")
    values = {ref: password(world, ref.environment) for ref in (DEV, LIVE)}
    world.engine.running.clear()
    adopted(world)
    run = world.push("two")
    assert run.outcome == Outcome.FAILED
    text = str(run.failure)
    assert (
        f"the accessory shop-db/dev has data that was made with another {NAME} than would be generated"
        in text
    )
    assert f"`pushlive secret set shop-db {NAME} --env dev`" in text
    assert not world.engine.running
    for ref, value in values.items():
        said = world.commands.set_secret("shop-db", "ann", NAME, Secret(value), environment=ref.environment)
        assert "the accessory gets it when it is made" in said["messages"][0]
    assert world.push("three").outcome == Outcome.LIVE
    assert f":{values[DEV]}@" in given(world, "dev")["DATABASE_URL"]


# ── people set values ────────────────────────────────────────────────────────


def test_the_values_of_an_accessory_are_set_listed_and_revoked(make_world):
    world = make_world(CONFIG.replace("generate", "set"))
    run = world.push("one")
    assert f"`pushlive secret set shop-db {NAME} --env dev`" in run.failure.advice
    world.commands.set_secret("shop-db", "ann", NAME, Secret("a first value"))
    assert world.push("two").outcome == Outcome.LIVE
    said = world.commands.set_secret("shop-db", "ann", NAME, Secret("another value"), environment="live")
    assert said["messages"][0].startswith(
        f"version 2 of {NAME} is set for live; `pushlive accessory apply shop-db live` gives it to the accessory."
    )
    world.accessories.apply("shop-db", "ann", environment="live")
    assert (password(world, "dev"), password(world, "live")) == ("a first value", "another value")
    [first, _] = world.commands.remove_secret("shop-db", "ann", NAME, environment="live")
    assert first == f"version 2 of {NAME} is revoked: no new container gets it."
    assert world.commands.secrets("shop-db")
    with pytest.raises(NotFound, match="no pipeline uses shop-db in 'qa'"):
        world.commands.set_secret("shop-db", "ann", NAME, Secret("a value"), environment="qa")


def test_the_version_that_an_accessory_has_is_kept(make_world):
    world = make_world(CONFIG.replace("generate", "set"))
    for number in range(2):
        world.commands.set_secret("shop-db", "ann", NAME, Secret(f"value {number} of many"))
        if not number:
            world.push("one")
    for number in range(2, 14):
        world.commands.set_secret("shop-db", "ann", NAME, Secret(f"value {number} of many"))
    assert world.push("two").outcome == Outcome.LIVE
    assert ":value%200%20of%20many@" in given(world, "live")["DATABASE_URL"]


def test_a_secret_that_the_file_does_not_name_is_said(world):
    said = world.commands.set_secret("shop-db", "ann", "OTHER", Secret("a value"))
    assert said["messages"][1].endswith("add `secrets: {OTHER: set}` under accessories.shop-db.")
