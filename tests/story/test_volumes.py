"""Data that outlives releases: what people do with it, and what never takes it away."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from pipeline.adapters.fake.engine_state import EMPTY
from pipeline.config.workload.kubernetes import ClaimOptions
from pipeline.deploy.data.access import VolumeAccess
from pipeline.deploy.data.engines import with_data_left
from pipeline.deploy.tools.sessions import OpenSession
from pipeline.domain.audit_chain import Actor
from pipeline.domain.engine_types import CommandResult, SlotRef, SlotSpec
from pipeline.domain.slots import slot_ref
from pipeline.domain.volumes import VolumeRef
from pipeline.errors import EngineFailed, NotFound, RequestError, TryAgain
from pipeline.service.tools import Asked
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
ADA = Actor("ada", "maintainer")
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
    left = {one["environment"]: one["left"] for one in world.commands.volumes()["volumes"]}
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


def acts(world: World) -> list[str]:
    return [name for name in world.engine.names() if name in ("pause", "unroute", "stop")]


@pytest.mark.parametrize("when", ["before", "while its files are sent"])
def test_a_restore_looks_for_what_it_would_not_stop_before_it_stops_anything(
    keeping: World, when: str
) -> None:
    world, before, opened = keeping, acts(keeping), list[OpenSession]()

    def command() -> None:
        asked = Asked(("cat",))
        opened.append(world.tools.run_command("hello", ADA, asked, environment="live"))

    def sent() -> Iterator[bytes]:
        if when != "before":
            command()
        yield TAR.replace(b"x", b"z")

    if when == "before":
        command()
    with pytest.raises(RequestError, match="nothing was stopped"):
        world.commands.restore_volume("hello", "live", "data", "ada", sent(), stop=True)
    assert (acts(world), world.engine.stored[DATA]) == (before, TAR)
    opened[0].close()
    world.commands.restore_volume("hello", "live", "data", "ada", sent_now(), stop=True)


def sent_now() -> Iterator[bytes]:
    yield TAR


def test_a_restore_says_what_serves_again_and_what_is_not_warm_any_more(keeping: World) -> None:
    world = keeping
    world.push("two")
    said = world.commands.restore_volume("hello", "live", "data", "ada", [TAR], stop=True)
    assert said == (
        "hello/live/data has the files of the backup.",
        "hello/live: r1 is no longer kept warm; a revert to it starts it first.",
        "hello/live: r2 serves again.",
    )
    live = world.environment("live")
    assert [one.state for one in live.slots.values()] == ["serving"]
    assert [ref.slot for ref in world.engine.contents if ref.environment == "live"] == [live.active]
    assert world.revert().outcome == "live"
    assert world.environment("live").serving == 1


def test_a_restore_after_which_nothing_runs_fails_and_says_that_the_files_are_there(keeping: World) -> None:
    world, other = keeping, TAR.replace(b"x", b"z")
    world.engine.fail("restore", EngineFailed("no space left on device."), times=9)
    with pytest.raises(EngineFailed, match="has the files of the backup, but what serves does not") as raised:
        world.commands.restore_volume("hello", "live", "data", "ada", [other], stop=True)
    assert "no space left" in raised.value.message
    assert "goes on trying" in raised.value.advice
    assert world.engine.stored[DATA] == other
    assert world.commands.volumes("hello")["volumes"][-1]["unfinished"] == ""


def started(world: World) -> list[str]:
    return [name for name in world.engine.mounting if DATA in world.engine.mounting[name]]


def test_nothing_starts_with_a_volume_while_its_files_are_replaced(keeping: World) -> None:
    world = keeping
    text = KEEPING.replace("volumes:", 'processes: {mail: {cron: "* * * * *", command: [x]}}\n      volumes:')
    world.configure(text)
    world.push("two")
    world.jobs.cron.run()
    with VolumeAccess(world.store, world.clock).alone("hello/live"):
        world.clock.sleep(61)
        world.jobs.cron.run()
        assert not started(world)
        with pytest.raises(TryAgain, match="are being replaced"):
            world.tools.run_command("hello", ADA, Asked(("cat",)), environment="live")
    world.jobs.cron.run()
    assert started(world)


def test_no_deploy_and_no_revert_waits_for_a_command_of_a_backup(keeping: World) -> None:
    world, seen = keeping, list[object]()

    def meanwhile(_: SlotSpec, argv: tuple[str, ...]) -> CommandResult:
        world.clock.sleep(3600)
        world.reconcile()
        if argv == ("./freeze",):
            seen.append(world.engine.command_runs(serving_ref(world)))  # the keeper leaves it alone
            seen.append(world.push("two").outcome)
        return CommandResult(0, "", 0.0)

    world.engine.commands = meanwhile
    with closing(world.commands.volume_files("hello", "live", "data", "ada")) as pieces:
        assert b"".join(pieces) == TAR
    assert seen == [frozenset({1}), "live"]


def test_volumes_stay_within_reach_once_nothing_else_is_on_their_engine(keeping: World) -> None:
    """A cluster, or a machine, that only a removed pipeline was on."""
    world, gone = keeping, KEEPING.replace("dev: , live: ", "live: ")
    place = world.environment("live").engine
    world.configure("pipelines: {}\n")
    said = "\n".join(str(one) for one in world.commands.gc("ada"))
    assert "its volumes stay, see `pushlive volume list`" in said
    world.configure(f"{gone.replace('hello:', 'other:')}".replace("live: ", "live: {engine: kubernetes}"))
    assert with_data_left(world.store) == {place}
    assert ("hello", "live") in {
        (one["owner"], one["environment"]) for one in world.commands.volumes()["volumes"]
    }
    world.engine.fail("volumes", TryAgain("it does not answer."))
    assert {one["engine"] for one in world.commands.volumes()["unanswered"]} == {place}
    world.engine.fail("volumes", TryAgain("it does not answer."))
    with pytest.raises(TryAgain, match="does not answer"):  # not that there is no such volume
        world.commands.remove_volume("hello", "live", "data", "ada")
    for environment in ("dev", "live"):
        world.engine.stored.setdefault(VolumeRef("hello", environment, "data"), TAR)
        world.commands.remove_volume("hello", environment, "data", "ada")
    assert with_data_left(world.store) == frozenset()
