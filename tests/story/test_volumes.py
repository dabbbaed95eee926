"""Data that outlives releases: what people do with it, and what never takes it away."""

from __future__ import annotations

from contextlib import closing

import pytest

from pipeline.adapters.fake.engine_state import EMPTY
from pipeline.config.workload.kubernetes import ClaimOptions
from pipeline.domain.engine_types import CommandResult, SlotRef, SlotSpec
from pipeline.domain.slots import slot_ref
from pipeline.domain.volumes import VolumeRef
from pipeline.errors import EngineFailed, NotFound, RequestError
from tests.story.conftest import World

KEEPING = """\
pipelines:
  hello:
    service:
      health: /healthz
      volumes: {data: {path: /app/data, before_backup: [./freeze], after_backup: [./thaw]}}
    environments: {dev: , live: }
"""
ON_A_CLUSTER = """\
pipelines:
  far:
    registry: r.example.com/far
    service:
      health: /healthz
      volumes: {data: /app/data}
    environments:
      live: {engine: kubernetes, kubernetes: {volumes: {data: {size: 5GiB, class: fast}}}}
"""
DATA = VolumeRef("hello", "live", "data")
TAR = b"x" * 257 + b"ustar" + b"y" * 250 + EMPTY


def serving_ref(world: World) -> SlotRef:
    environment = world.environment("live")
    return slot_ref(environment, environment.active or "blue")


@pytest.fixture
def keeping(world: World) -> World:
    world.configure(KEEPING)
    world.push()
    world.engine.stored[DATA] = TAR
    return world


def test_nothing_but_its_removal_takes_a_volume_away(keeping: World) -> None:
    world = keeping
    world.push()
    world.commands.revert("hello", "ada")
    world.work()
    world.configure("pipelines: {}\n")
    world.commands.gc("ada")
    for ref in tuple(world.engine.environments()):
        world.engine.remove(ref)
    assert world.engine.stored[DATA] == TAR
    left = {one["environment"]: one["left"] for one in world.commands.volumes()}
    assert left["live"] == "there is no pipeline hello in pipelines.yaml"
    world.commands.remove_volume("hello", "live", "data", "ada")
    assert DATA not in world.engine.stored
    with pytest.raises(NotFound):
        world.commands.remove_volume("hello", "live", "data", "ada")
    assert world.commands.audit_log()[0]["act"] == "volume rm"


def test_a_volume_in_use_is_not_removed(keeping: World) -> None:
    with pytest.raises(RequestError, match="in use"):
        keeping.commands.remove_volume("hello", "live", "data", "ada")
    assert keeping.engine.stored[DATA] == TAR


def test_a_backup_is_taken_between_its_commands(keeping: World) -> None:
    said: list[tuple[str, ...]] = []

    def note(_: SlotSpec, argv: tuple[str, ...]) -> CommandResult:
        said.append(argv)
        return CommandResult(0, "", 0.0)

    keeping.engine.commands = note
    with closing(keeping.commands.volume_files("hello", "live", "data", "ada")) as pieces:
        assert b"".join(pieces) == TAR
    assert said == [("./freeze",), ("./thaw",)]
    assert keeping.engine.command_runs(serving_ref(keeping)) == frozenset()


def test_without_its_command_there_is_no_backup(keeping: World) -> None:
    keeping.engine.commands = lambda _, argv: CommandResult(int(argv == ("./freeze",)), "locked\n", 0.0)
    with (
        pytest.raises(EngineFailed, match="freeze exited with 1") as raised,
        closing(keeping.commands.volume_files("hello", "live", "data", "ada")) as pieces,
    ):
        next(pieces)
    assert raised.value.evidence == ("locked",)
    assert "export_volume" not in keeping.engine.names()


def test_a_restore_stops_what_serves_only_if_asked(keeping: World) -> None:
    world, other = keeping, TAR.replace(b"x", b"z")
    with pytest.raises(RequestError, match="r1 serves") as raised:
        world.commands.restore_volume("hello", "live", "data", "ada", [other])
    assert "--stop" in raised.value.advice
    assert world.engine.stored[DATA] == TAR
    world.commands.restore_volume("hello", "live", "data", "ada", [other], stop=True)
    assert world.engine.stored[DATA] == other
    assert world.engine.serving(serving_ref(world)) == world.environment("live").active
    assert world.engine.replicas(serving_ref(world))


def test_a_restore_that_fails_brings_back_what_served(keeping: World) -> None:
    world = keeping
    world.engine.fail("stop", EngineFailed("the Engine fails"))
    with pytest.raises(EngineFailed):
        world.commands.restore_volume("hello", "live", "data", "ada", [TAR], stop=True)
    assert world.engine.serving(serving_ref(world)) == world.environment("live").active


def test_a_restore_of_a_volume_that_is_gone_asks_for_what_the_configuration_says(
    keeping: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, asked = keeping, dict[VolumeRef, ClaimOptions]()
    world.configure(ON_A_CLUSTER)
    monkeypatch.setattr(world.engine, "ensure_volume", lambda ref, said: asked.update({ref: said}))
    far = VolumeRef("far", "live", "data")
    world.commands.restore_volume("far", "live", "data", "ada", [TAR])
    assert asked == {far: ClaimOptions(size=5 << 30, storage_class="fast")}
    assert world.engine.stored[far] == TAR
