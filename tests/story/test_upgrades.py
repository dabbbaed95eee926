"""An accessory with another image: its data are copied first, and it can be taken back, wherever the process dies."""

from __future__ import annotations

import pytest

from pipeline.adapters.fake.engine_state import EMPTY
from pipeline.adapters.fake.script import Killed
from pipeline.domain.accessories import AccessoryRef
from pipeline.domain.run import Outcome
from pipeline.errors import EngineFailed, RequestError
from tests.story.conftest import World

CONFIG = """\
accessories:
  shop-db: {image: "postgres:15.1", volume: /data, port: 5432, ready: 2s, secrets: {PASSWORD: generate}}
pipelines:
  hello:
    uses: {db: shop-db}
    service: {health: /healthz, env: {URL: "db://${db.PASSWORD}"}}
    environments: {live: }
"""
NEWER = CONFIG.replace("15.1", "15.2")
DB = AccessoryRef("shop-db", "live")
BEFORE = b"x" * 257 + b"ustar" + b"y" * 250 + EMPTY
AFTER = BEFORE.replace(b"x", b"z")


@pytest.fixture
def world(make_world) -> World:
    one = make_world(CONFIG)
    assert one.push("one").outcome == Outcome.LIVE
    one.engine.stored[DB.volume] = BEFORE
    return one


def upgrade(world: World, *, back: bool = False) -> list[str]:
    lines = world.accessories.upgrade("shop-db", "ada", environment="live", back=back)
    return [line for some in lines for line in some]


def image(world: World) -> str:
    return world.engine.running[DB].spec.config.image


def password(world: World) -> str:
    return world.engine.running[DB].secrets["PASSWORD"].reveal()


def test_it_says_what_it_does_and_is_taken_back_with_the_data_of_before(world: World) -> None:
    value = password(world)
    with pytest.raises(RequestError, match="there is nothing to upgrade"):
        upgrade(world)
    with pytest.raises(RequestError, match="has no upgrade that could be taken back"):
        upgrade(world, back=True)
    world.configure(NEWER)
    said = upgrade(world)
    assert said[0] == "shop-db/live: image: postgres:15.1 → postgres:15.2"
    assert "`pushlive accessory upgrade shop-db live --back`" in said[-1]
    assert (image(world), password(world)) == ("postgres:15.2", value)
    assert world.engine.stored[DB.before_upgrade] == BEFORE
    assert [
        one["left"] for one in world.commands.volumes()["volumes"] if one["name"] == "before-upgrade"
    ] == [""]
    world.engine.stored[DB.volume] = AFTER
    assert upgrade(world, back=True)[0] == "shop-db/live: image: postgres:15.2 → postgres:15.1"
    assert (image(world), password(world)) == ("postgres:15.1", value)
    assert (world.engine.stored[DB.volume], world.engine.stored.get(DB.before_upgrade)) == (BEFORE, None)
    entries = [one["detail"] for one in world.commands.audit_log() if one["act"] == "accessory upgrade"]
    assert entries == ["shop-db back", "shop-db image: postgres:15.1 → postgres:15.2"]


def test_a_second_upgrade_is_taken_back_to_the_first(world: World) -> None:
    world.configure(NEWER)
    upgrade(world)
    world.engine.stored[DB.volume] = AFTER
    world.configure(NEWER.replace("15.2", "15.3"))
    upgrade(world)
    assert world.engine.stored[DB.before_upgrade] == AFTER
    upgrade(world, back=True)
    assert (image(world), world.engine.stored[DB.volume]) == ("postgres:15.2", AFTER)


@pytest.mark.parametrize("call", ["provide_accessory", "copy_volume"])
def test_what_fails_before_the_other_image_leaves_it_as_it_was(world: World, call: str) -> None:
    world.configure(NEWER)
    world.engine.fail(call, EngineFailed("no space left on device."))
    with pytest.raises(EngineFailed, match="no space left"):
        upgrade(world)
    assert (image(world), world.engine.running[DB].alive) == ("postgres:15.1", True)
    assert world.engine.running[DB].made == 1
    upgrade(world)
    assert image(world) == "postgres:15.2"


def test_one_that_does_not_become_ready_says_how_it_is_taken_back(world: World) -> None:
    world.configure(NEWER)
    world.engine.before("accessory_unready", lambda: setattr(world.engine.running[DB], "sick", "no response"))
    said: list[str] = []
    with pytest.raises(EngineFailed, match="did not become ready"):
        world.accessories._upgrade(DB, "ada", said.append)
    assert "`pushlive accessory upgrade shop-db live --back` takes it back" in said[-1]
    world.engine.stored[DB.volume] = AFTER
    upgrade(world, back=True)
    assert (image(world), world.engine.stored[DB.volume]) == ("postgres:15.1", BEFORE)


@pytest.mark.parametrize("back", [False, True], ids=["on", "back"])
@pytest.mark.parametrize(
    ("call", "after"),
    [
        ("halt_accessory", True),
        ("copy_volume", True),
        ("replace_accessory", False),
        ("replace_accessory", True),
    ],
)
def test_killed_in_an_upgrade_it_goes_on_or_back(world: World, call: str, after: bool, back: bool) -> None:
    world.configure(NEWER)
    world.engine.kill(call, after=after)
    with pytest.raises(Killed):
        world.accessories._upgrade(DB, "ada", [].append)
    world.clock.sleep(31)
    world.keeper.tick()
    assert world.engine.running[DB].alive
    before = BEFORE
    if image(world) == "postgres:15.1":  # it went on, and wrote
        world.engine.stored[DB.volume] = before = AFTER
    if back and world.store.accessories.get("shop-db", "live").upgrade is None:
        assert image(world) == "postgres:15.1"  # nothing to take back
        return
    upgrade(world, back=back)
    assert image(world) == ("postgres:15.1" if back else "postgres:15.2")
    assert world.engine.stored[DB.volume] == before
    assert world.engine.stored.get(DB.before_upgrade) == (None if back else before)
    assert world.engine.running[DB].alive


@pytest.mark.parametrize(
    ("call", "after"),
    [
        ("import_volume", False),
        ("import_volume", True),
        ("replace_accessory", False),
        ("replace_accessory", True),
        ("remove_volume", False),
    ],
)
def test_killed_on_the_way_back_it_goes_on(world: World, call: str, after: bool) -> None:
    world.configure(NEWER)
    upgrade(world)
    world.engine.stored[DB.volume] = AFTER
    world.engine.kill(call, after=after)
    with pytest.raises(Killed):
        world.accessories._take_back(DB, "ada", [].append)
    world.clock.sleep(31)
    world.keeper.tick()
    if world.store.accessories.get("shop-db", "live").upgrade:
        upgrade(world, back=True)
    assert (image(world), world.engine.stored[DB.volume]) == ("postgres:15.1", BEFORE)
    assert world.engine.running[DB].alive


def test_an_earlier_copy_is_never_taken_for_data_while_it_is_replaced(world: World) -> None:
    world.configure(NEWER)
    upgrade(world)
    world.engine.stored[DB.volume] = AFTER
    world.configure(NEWER.replace("15.2", "15.3"))
    world.engine.kill("copy_volume")
    with pytest.raises(Killed):
        world.accessories._upgrade(DB, "ada", [].append)
    world.engine.stored[DB.before_upgrade] = EMPTY  # half a copy
    with pytest.raises(RequestError, match="has no upgrade that could be taken back"):
        upgrade(world, back=True)
    assert world.engine.stored[DB.volume] == AFTER


# ── a backup by its own command ──────────────────────────────────────────────


BACKED_UP = CONFIG.replace("volume: /data,", "volume: /data, backup: {run: [dump]},")


def kept(world: World) -> int:
    return len(world.backups.overview("shop-db")[0]["kept"])


def test_it_is_backed_up_first_if_there_is_a_command(world: World) -> None:
    world.configure(BACKED_UP.replace("15.1", "15.2"))
    said = upgrade(world)
    assert said[0] == "shop-db/live is backed up."
    assert kept(world) == 1
    names = world.engine.names()
    assert names.index("dump_accessory") < names.index("halt_accessory")
    upgrade(world, back=True)
    assert kept(world) == 1


def test_a_backup_that_fails_is_said_and_the_files_are_copied_all_the_same(world: World) -> None:
    world.configure(BACKED_UP.replace("15.1", "15.2"))
    world.engine.fail("dump_accessory", EngineFailed("no such command."))
    said = upgrade(world)
    assert any("The backup failed: no such command" in line for line in said)
    assert (image(world), world.engine.stored[DB.before_upgrade]) == ("postgres:15.2", BEFORE)


def test_without_a_volume_nothing_is_upgraded_without_its_backup(make_world) -> None:
    bare = BACKED_UP.replace("volume: /data, ", "")
    world = make_world(bare)
    assert world.push("one").outcome == Outcome.LIVE
    world.configure(bare.replace("15.1", "15.2"))
    world.engine.fail("dump_accessory", EngineFailed("no such command."))
    with pytest.raises(EngineFailed, match="no such command"):
        upgrade(world)
    assert (image(world), world.engine.running[DB].alive) == ("postgres:15.1", True)


def test_one_that_does_not_run_is_upgraded_without_a_backup(world: World) -> None:
    world.configure(BACKED_UP.replace("15.1", "15.2"))
    world.accessories.stop("shop-db", "ada", environment="live")
    assert "no backup of it is made first" in upgrade(world)[0]
    assert (image(world), world.engine.running[DB].alive) == ("postgres:15.2", True)
