"""Data under another name: whole under one of the names, or under both, wherever the process dies."""

from __future__ import annotations

from contextlib import closing

import pytest

from pipeline.adapters.fake.engine_state import EMPTY
from pipeline.adapters.fake.script import Killed
from pipeline.deploy.data.access import InUse, VolumeAccess
from pipeline.domain.accessories import AccessoryRef
from pipeline.domain.run import Outcome
from pipeline.domain.volumes import VolumeRef
from pipeline.errors import ConfigError, EngineFailed, NotFound, RequestError
from pipeline.maintenance.doctor.accessories import examine
from tests.story.conftest import World

KEEPING = """\
accessories:
  shop-db: {image: "postgres:15", volume: /data, port: 5432, secrets: {PASSWORD: generate}}
pipelines:
  hello:
    uses: {db: shop-db}
    service: {health: /healthz, volumes: {data: /app/data}, env: {URL: "db://${db.PASSWORD}"}}
    environments: {live: }
"""
RENAMED = KEEPING.replace("hello:", "shop:")
OTHER_DB = KEEPING.replace("shop-db", "store-db")
DATA, MOVED = VolumeRef("hello", "live", "data"), VolumeRef("shop", "live", "data")
OLD, NEW = AccessoryRef("shop-db", "live"), AccessoryRef("store-db", "live")
TAR = b"x" * 257 + b"ustar" + b"y" * 250 + EMPTY


@pytest.fixture
def world(make_world) -> World:
    one = make_world(KEEPING)
    assert one.push("one").outcome == Outcome.LIVE
    one.engine.stored |= {DATA: TAR, OLD.volume: TAR}
    return one


def move(world: World, to: str = "shop/live/data") -> list[str]:
    lines = world.commands.move_volume("hello", "live", "data", "ada", to=to)
    return [line for some in lines for line in some]


def move_db(world: World, to: str = "store-db") -> list[str]:
    lines = world.accessories.move("shop-db", "ada", environment="live", to=to)
    return [line for some in lines for line in some]


def password(world: World, ref: AccessoryRef) -> str:
    return world.engine.running[ref].secrets["PASSWORD"].reveal()


# ── volumes ──────────────────────────────────────────────────────────────────


def test_the_data_of_a_renamed_pipeline_follow_it(world: World) -> None:
    [line] = [one for one in world.commands.plan(RENAMED)["pipelines"]["hello"]["live"] if "volumes:" in one]
    assert "`pushlive gc`" in line
    assert "`pushlive volume mv hello/live/data NEW`" in line
    world.configure(RENAMED)
    with pytest.raises(RequestError, match=r"is in use by .*, so it was not moved") as raised:
        move(world)
    assert "`pushlive gc`" in raised.value.advice
    world.gc()
    assert move(world)[-1] == "Removed the volume hello/live/data."
    assert (world.engine.stored.get(DATA), world.engine.stored[MOVED]) == (None, TAR)
    assert world.push("two", "shop").outcome == Outcome.LIVE
    assert world.engine.stored[MOVED] == TAR
    entries = [one for one in world.commands.audit_log() if one["act"] == "volume mv"]
    assert entries[0]["detail"] == "hello/live/data to shop/live/data"


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("call", ["copy_volume", "remove_volume"])
def test_killed_in_a_move_nothing_is_lost_and_it_can_be_given_again(
    world: World, call: str, after: bool
) -> None:
    world.configure(RENAMED)
    world.gc()
    world.engine.kill(call, after=after)
    with pytest.raises(Killed):
        world.commands._operations.volumes().move(DATA, MOVED, [].append)
    found = [world.engine.stored.get(ref) for ref in (DATA, MOVED)]
    assert TAR in found
    if world.engine.stored.get(DATA):
        move(world)
    assert (world.engine.stored.get(DATA), world.engine.stored[MOVED]) == (None, TAR)


def test_files_that_are_there_are_never_replaced_by_a_move(world: World) -> None:
    world.configure(RENAMED)
    world.gc()
    world.engine.stored[MOVED] = other = TAR.replace(b"x", b"z")
    with pytest.raises(RequestError, match="has files of its own"):
        move(world)
    assert (world.engine.stored[DATA], world.engine.stored[MOVED]) == (TAR, other)


@pytest.mark.parametrize(
    ("to", "error"),
    [
        ("nothing/live/data", RequestError),
        ("shop/live/other", RequestError),
        ("shop/live", ConfigError),
        ("shop/live/data/x", ConfigError),
        ("hello/live/data", ConfigError),
    ],
)
def test_a_name_that_nothing_would_use_is_refused(world: World, to: str, error: type[Exception]) -> None:
    world.configure(RENAMED)
    world.gc()
    with pytest.raises(error):
        move(world, to)
    assert world.engine.stored[DATA] == TAR


# ── accessories ──────────────────────────────────────────────────────────────


def test_an_accessory_keeps_its_data_and_its_password_under_its_new_name(world: World) -> None:
    value = password(world, OLD)
    [line] = [
        one
        for one in world.commands.plan(OTHER_DB)["pipelines"]["hello"]["live"]
        if "accessory shop-db" in one
    ]
    assert "`pushlive accessory mv shop-db live NEW`" in line
    with pytest.raises(RequestError, match="hello uses it by this name"):
        move_db(world)
    world.configure(OTHER_DB)
    with pytest.raises(NotFound, match="no pipeline uses an accessory nothing in live"):
        move_db(world, "nothing")
    assert (
        move_db(world)[-1] == "shop-db/live is store-db/live now, with its data and its secrets, and ready."
    )
    assert move_db(world) == ["shop-db/live is store-db/live already, with its data and its secrets."]
    assert OLD not in world.engine.running
    assert OLD.volume not in world.engine.stored
    assert world.engine.stored[NEW.volume] == TAR
    assert password(world, NEW) == value
    assert world.store.accessories.get("shop-db", "live") is None
    assert world.push("two").outcome == Outcome.LIVE
    assert (password(world, NEW), world.engine.running[NEW].made) == (value, 1)


@pytest.mark.parametrize(
    ("call", "after"),
    [
        ("copy_volume", False),
        ("copy_volume", True),
        ("keep_accessory", False),
        ("remove_accessory", False),
        ("remove_volume", False),
        ("remove_volume", True),
    ],
)
def test_killed_in_the_move_of_an_accessory_it_goes_on_from_there(
    world: World, call: str, after: bool
) -> None:
    value = password(world, OLD)
    world.configure(OTHER_DB)
    world.engine.kill(call, after=after)
    with pytest.raises(Killed):
        world.accessories._move(OLD, NEW, "ada", [].append)
    assert TAR in [world.engine.stored.get(ref.volume) for ref in (OLD, NEW)]
    if new := world.engine.running.get(NEW):
        world.engine.stored[NEW.volume] = TAR + EMPTY  # it has run, and written
        assert new.secrets["PASSWORD"].reveal() == value
    kept = world.engine.stored.get(NEW.volume, TAR)
    move_db(world)
    assert OLD not in world.engine.running
    assert OLD.volume not in world.engine.stored
    assert world.engine.stored[NEW.volume] in (kept, TAR)
    assert password(world, NEW) == value
    assert world.store.accessories.get("store-db", "live").moved_from == ""


def test_one_that_a_broken_off_move_has_stopped_says_so(world: World) -> None:
    world.configure(OTHER_DB)
    world.engine.kill("copy_volume")
    with pytest.raises(Killed):
        world.accessories._move(OLD, NEW, "ada", [].append)
    world.reconcile()
    again = "`pushlive accessory mv shop-db live store-db --yes shop-db/live`"
    [row] = [one for one in world.accessories.overview() if one["name"] == "shop-db"]
    assert row["state"] == "stopped"
    assert "`accessory mv`, begun" in row["why"]
    assert f"was broken off; {again} goes on with it" in row["why"]
    [shown] = world.commands.status("hello")["pipelines"][0]["environments"][0]["accessories"]
    assert shown["problem"] == row["why"]
    [check] = [
        one for one in examine(world.services, world.adapters) if one["name"] == "accessory shop-db/live"
    ]
    assert "was broken off; deploys that need it fail" in check["text"]
    assert check["advice"].startswith(again)
    move_db(world)


def test_nothing_is_stopped_for_a_restore_that_could_not_be_started_again(world: World) -> None:
    world.store.client.hdel(f"{world.settings.instance}:accessories", OLD.id)
    before = world.engine.names()
    with pytest.raises(
        RequestError, match=r"r1 serves in hello/live and could not be started again, so nothing was"
    ):
        world.commands.restore_volume("hello", "live", "data", "ada", [TAR], stop=True)
    assert [one for one in world.engine.names()[len(before) :] if one in ("stop", "import_volume")] == []


def test_what_serves_uses_it_by_its_former_name_as_well(world: World) -> None:
    world.configure(OTHER_DB)
    move_db(world)
    world.configure(
        KEEPING.replace("uses: {db: shop-db}", "").replace(', env: {URL: "db://${db.PASSWORD}"}', "")
    )
    with pytest.raises(RequestError, match=r"in use by hello \(r1, which is serving there\)"):
        world.accessories.remove("store-db", "ada", environment="live")
    assert world.store.accessories.get("store-db", "live").attached


def test_an_accessory_that_cannot_be_copied_goes_on_under_its_old_name(world: World) -> None:
    world.configure(OTHER_DB)
    world.engine.fail("copy_volume", EngineFailed("no space left on device."))
    with pytest.raises(EngineFailed, match="no space left"):
        move_db(world)
    assert world.engine.running[OLD].alive
    assert world.store.accessories.get("shop-db", "live").stopped == ""
    assert world.store.accessories.get("store-db", "live") is None


@pytest.mark.parametrize("engine", ["same image", "another image"])
def test_one_whose_rename_was_forgotten_is_not_begun_without_data(world: World, engine: str) -> None:
    renamed = OTHER_DB if engine == "same image" else OTHER_DB.replace("postgres:15", "mariadb:11")
    if engine == "same image":
        renamed = renamed.replace("uses: {db:", "uses: {base:").replace("${db.", "${base.")
    world.configure(renamed)
    run = world.push("two")
    assert run.outcome == Outcome.FAILED
    assert "hello/live uses store-db/live, which was never made, and shop-db/live" in run.failure.message
    assert "`pushlive accessory mv shop-db live store-db`" in run.failure.advice
    assert list(world.engine.running) == [OLD]
    assert world.environment("live").serving == 1
    if engine == "same image":
        move_db(world)
    else:
        world.accessories.start("store-db", "ada", environment="live")
    assert world.push("three").outcome == Outcome.LIVE


def test_a_former_name_is_that_of_its_environment_alone(world: World) -> None:
    world.configure(OTHER_DB)
    move_db(world)
    assert world.store.accessories.known_as("shop-db", "live").name == "store-db"
    assert world.store.accessories.known_as("shop-db", "dev") is None


def test_after_a_move_what_serves_is_started_again_by_the_keeper(world: World) -> None:
    value = password(world, OLD)
    world.configure(OTHER_DB)
    move_db(world)
    [ref] = world.engine.contents
    world.engine.vanish(ref)
    world.reconcile()
    [content] = world.engine.contents.values()
    assert content.secrets["URL"].reveal() == f"db://{value}"


def test_a_release_finds_it_by_any_name_that_it_had(world: World) -> None:
    value = password(world, OLD)
    for before, after in (("shop-db", "store-db"), ("store-db", "third-db")):
        world.configure(KEEPING.replace("shop-db", after))
        list(world.accessories.move(before, "ada", environment="live", to=after))
        assert world.push(after).outcome == Outcome.LIVE
    third = AccessoryRef("third-db", "live")
    assert world.store.accessories.get("third-db", "live").formerly == ("shop-db/live", "store-db/live")
    for number in (2, 1):  # cold
        assert world.revert(to=number).outcome == Outcome.LIVE
        [content] = [one for one in world.engine.contents.values() if one.spec.release == number]
        assert content.secrets["URL"].reveal() == f"db://{value}"
    assert list(world.engine.running) == [third]


def test_one_that_a_push_has_made_already_is_not_replaced(world: World) -> None:
    world.configure(OTHER_DB)
    assert world.accessories.start("store-db", "ada", environment="live")
    assert world.push("two").outcome == Outcome.LIVE
    with pytest.raises(RequestError, match="there is an accessory store-db/live, with data of its own"):
        move_db(world)
    assert world.engine.running[OLD].alive


# ── a backup that runs ───────────────────────────────────────────────────────


def touched(world: World) -> list[str]:
    """What was asked of the engine that changes something."""
    acts = {
        "import_volume",
        "copy_volume",
        "remove_volume",
        "ensure_volume",
        "halt_accessory",
        "keep_accessory",
    }
    return [name for name in world.engine.names() if name in acts]


@pytest.mark.parametrize("act", ["volume mv", "volume rm", "volume restore"])
def test_a_backup_that_runs_is_not_ended(world: World, act: str) -> None:
    acts = {
        "volume mv": lambda: move(world),
        "volume rm": lambda: world.commands.remove_volume("hello", "live", "data", "ada"),
        "volume restore": lambda: world.commands.restore_volume("hello", "live", "data", "ada", [TAR]),
    }
    world.configure(RENAMED if act == "volume mv" else "pipelines: {}\n")
    world.gc()
    before = touched(world)
    with closing(world.commands.volume_files("hello", "live", "data", "ada")) as backup:
        assert next(backup) == TAR
        with pytest.raises(
            InUse, match=r"A backup of hello/live/data has been running since .*nothing was changed"
        ):
            acts[act]()
        assert touched(world) == before
        with closing(world.commands.volume_files("hello", "live", "data", "ada")) as another:
            assert next(another) == TAR  # reading takes nothing from who reads as well
    acts[act]()
    assert touched(world) != before


@pytest.mark.parametrize(
    "act",
    [
        "accessory mv",
        "accessory upgrade",
        "accessory restore",
        "accessory restart",
        "accessory apply",
        "accessory stop",
    ],
)
def test_the_backup_of_an_accessory_is_not_ended_by_stopping_it(world: World, act: str) -> None:
    backed_up = KEEPING.replace("volume: /data,", "volume: /data, backup: {run: [tar]},")
    changed = {
        "accessory mv": backed_up.replace("shop-db", "store-db"),
        "accessory upgrade": backed_up.replace("postgres:15", "postgres:15.2"),
        "accessory restore": backed_up,
        "accessory restart": backed_up,
        "accessory apply": backed_up.replace("postgres:15", "postgres:15.2"),
        "accessory stop": backed_up,
    }
    acts = {
        "accessory mv": lambda: move_db(world),
        "accessory upgrade": lambda: list(world.accessories.upgrade("shop-db", "ada", environment="live")),
        "accessory restore": lambda: world.backups.restore_accessory("shop-db", "live", "ada", [TAR]),
        "accessory restart": lambda: world.accessories.restart("shop-db", "ada", environment="live"),
        "accessory apply": lambda: world.accessories.apply("shop-db", "ada", environment="live"),
        "accessory stop": lambda: world.accessories.stop("shop-db", "ada", environment="live"),
    }
    world.configure(changed[act])
    access = VolumeAccess(world.store, world.clock)
    before = touched(world)
    with (
        access.reading(OLD.volume),
        pytest.raises(InUse, match=r"A backup of shop-db/live/data has been running since"),
    ):
        acts[act]()
    assert touched(world) == before
    assert world.engine.running[OLD].alive
    acts[act]()


def test_no_backup_starts_while_files_are_replaced(world: World) -> None:
    access = VolumeAccess(world.store, world.clock)
    with access.replacing(DATA), pytest.raises(InUse, match="are being replaced"):
        next(world.commands.volume_files("hello", "live", "data", "ada"))
    with closing(world.commands.volume_files("hello", "live", "data", "ada")) as backup:
        assert next(backup) == TAR
