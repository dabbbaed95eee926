"""Backups by command and by schedule: kept, sent, told when they fail, and restored."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.adapters.fake.script import Killed
from pipeline.config.workload.backup import Destination
from pipeline.domain.accessories import AccessoryRef
from pipeline.domain.volumes import VolumeRef
from pipeline.errors import EngineFailed, NotFound, RequestError, TryAgain
from pipeline.maintenance.doctor.backups import examine
from pipeline.ports.clock import Watch
from pipeline.ports.volumes import NoCopies
from tests.story.conftest import World

CONFIG = """\
notify: [{url: "https://chat.example.com/x"}]
accessories:
  shop-db:
    image: postgres:15
    volume: /var/lib/postgresql/data
    backup: {run: [pg_dump], restore: [psql], every: 1d, keep: 2}
pipelines:
  hello:
    uses: {db: shop-db}
    service:
      health: /healthz
      volumes: {data: {path: /app/data, backup: {every: 1h, to: "ssh://backup.example.com/hello"}}}
    environments: {live: }
"""
DATABASE, DATA = VolumeRef("shop-db", "live", "data", "accessory"), VolumeRef("hello", "live", "data")
LIVE = AccessoryRef("shop-db", "live")
TAR = b"x" * 257 + b"ustar" + b"y" * 250 + b"\0" * 1024
HOUR, DAY = 3600.0, 86400.0


class FakeCopies(NoCopies):
    def __init__(self) -> None:
        self.sent: list[str] = []
        self.away = False

    def send(self, to: Destination, ref: VolumeRef, file: Path, watch: Watch) -> None:
        if self.away:
            raise EngineFailed(f"{file.name} was not copied to {to}: no route to host.")
        self.sent.append(file.name)


@pytest.fixture
def copies(monkeypatch: pytest.MonkeyPatch) -> FakeCopies:
    found = FakeCopies()
    monkeypatch.setattr("pipeline.ports.adapters.NoCopies.send", lambda _, *given: found.send(*given))
    return found


@pytest.fixture
def world(make_world, copies: FakeCopies) -> World:
    world = make_world(CONFIG)
    world.push()
    world.engine.stored[DATA] = TAR
    return world


def scheduled(world: World, seconds: float = 0.0) -> list[str]:
    """What the keeper makes after that time; what it says of it."""
    world.clock.sleep(seconds)
    job = world.another_process().backups
    job.make(job._work.due())
    return job._said


def row(world: World, owner: str) -> dict:
    [found] = [one for one in world.backups.overview() if one["owner"] == owner]
    return found


def folder(world: World, ref: VolumeRef) -> Path:
    return world.settings.data / "backups" / ref.owner / ref.environment / ref.name


def told(world: World) -> list[str]:
    client, prefix = world.store.client, world.settings.instance
    found = [text for key in client.scan_iter(f"{prefix}:outbox:*") for text in client.lrange(key, 0, -1)]
    return [one["text"] for one in map(json.loads, found) if one["event"] == "backup"]


def test_one_is_made_and_restored_when_asked(world: World) -> None:
    made = world.backups.make("shop-db", "live", "data", "ada")
    assert made["file"].endswith(".dump")
    path = world.backups.path("shop-db", "live", "data", made["file"], "ada")
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"all that it has", 0o600)
    world.engine.running[LIVE].content = b"something else"
    world.backups.restore_accessory("shop-db", "live", "ada", (), "latest")
    assert world.engine.running[LIVE].content == b"all that it has"
    acts = [one["act"] for one in world.commands.audit_log()[:3]]
    assert acts == ["accessory restore", "accessory backup read", "accessory backup"]
    for refused in ("../../../token", "none.dump"):
        with pytest.raises(NotFound):
            world.backups.path("shop-db", "live", "data", refused, "ada")
    with pytest.raises(NotFound):
        world.backups.make("shop-db", "dev", "data", "ada")


def test_without_a_command_a_backup_is_its_files(world: World) -> None:
    world.configure(CONFIG.replace("restore: [psql], ", ""))
    world.backups.restore_accessory("shop-db", "live", "ada", [TAR])
    assert world.engine.stored[DATABASE] == TAR
    names = world.engine.names()
    assert (
        names.index("import_volume")
        < names.index("halt_accessory")
        < len(names) - 1 - names[::-1].index("keep_accessory")
    )
    with pytest.raises(RequestError, match="not a tar archive"):
        world.backups.restore_accessory("shop-db", "live", "ada", [b"x" * 2000])
    with pytest.raises(RequestError, match="empty"):
        world.backups.restore_accessory("shop-db", "live", "ada", [])
    assert world.engine.running[LIVE].alive
    assert world.engine.stored[DATABASE] == TAR


def test_the_schedule_makes_keeps_and_sends_them(world: World, copies: FakeCopies) -> None:
    scheduled(world)
    assert scheduled(world, 60) == []
    assert (len(row(world, "shop-db")["kept"]), len(row(world, "hello")["kept"])) == (1, 1)
    for _ in range(3):
        scheduled(world, DAY)
    kept = row(world, "shop-db")["kept"]
    assert len(kept) == 2
    assert kept[0] == row(world, "shop-db")["good"]
    assert copies.sent == [one["file"] for one in row(world, "hello")["kept"]][::-1]
    assert told(world) == []


def test_nothing_is_due_before_there_is_anything(make_world, copies: FakeCopies) -> None:
    world = make_world(CONFIG)
    assert scheduled(world, 3 * DAY) == []
    assert told(world) == []


def test_fault_61_a_process_that_dies_in_the_middle_leaves_none_that_counts(world: World) -> None:
    world.engine.kill("dump_accessory", after=True)
    with pytest.raises(Killed):
        scheduled(world)
    part = folder(world, DATABASE) / ".left.part"
    part.write_bytes(b"all")  # as SIGKILL leaves it
    assert row(world, "shop-db")["kept"] == []
    scheduled(world, DAY)
    assert [one["size"] for one in row(world, "shop-db")["kept"]] == [15]
    assert not part.exists()


def test_fault_61_two_keepers_make_one(world: World) -> None:
    first, second = world.another_process().backups, world.another_process().backups
    due = first._work.due()
    assert second._work.due() == due
    world.engine.before("dump_accessory", lambda: second.make(due))
    first.make(due)
    second.make(due)
    assert world.engine.names().count("dump_accessory") == 1
    assert world.engine.names().count("export_volume") == 1
    assert (first._said, second._said) == ([], [])


def test_fault_61_one_that_lost_its_lease_does_not_count(world: World) -> None:
    def lose() -> None:
        world.store.client.set(f"{world.settings.instance}:lease:backup-of:{DATABASE}", "another")

    world.engine.before("dump_accessory", lose)
    with pytest.raises(TryAgain):
        world.backups.make("shop-db", "live", "data", "ada")
    assert row(world, "shop-db")["kept"] == []
    assert row(world, "shop-db")["good"] is None
    assert not list(folder(world, DATABASE).glob("*"))


def test_a_failure_is_told_once_and_its_end_as_well(world: World) -> None:
    scheduled(world)
    world.engine.fail("dump_accessory", EngineFailed("pg_dump exited with 1: no space."), times=2, after=True)
    [said] = scheduled(world, DAY)
    assert "pg_dump exited with 1" in said
    assert "the last attempt failed: pg_dump" in row(world, "shop-db")["problem"]
    assert len(row(world, "shop-db")["kept"]) == 1
    scheduled(world, 2 * HOUR)
    scheduled(world, 2 * HOUR)
    failed, again = (one for one in told(world) if one.startswith("shop-db/live: "))
    assert "the backup failed: pg_dump exited with 1: no space. It is tried again." in failed
    assert "there is a good backup again" in again
    assert row(world, "shop-db")["problem"] == ""


def test_one_that_could_not_be_sent_is_sent_again_and_not_made_again(
    world: World, copies: FakeCopies
) -> None:
    copies.away = True
    scheduled(world)
    assert row(world, "hello")["good"] is None
    [one] = row(world, "hello")["kept"]
    copies.away = False
    scheduled(world, HOUR / 2)
    assert copies.sent == [one["file"]]
    assert row(world, "hello")["good"] == one
    assert world.engine.names().count("export_volume") == 1


def test_an_old_one_is_told_once(world: World) -> None:
    scheduled(world)
    world.accessories.stop("shop-db", "ada", environment="live")
    for _ in range(4):
        scheduled(world, DAY)
        scheduled(world, 60)
    late = [one for one in told(world) if "old" in one]
    assert len(late) == 1
    assert late[0].startswith("shop-db/live: the last good backup is ")


def test_status_and_doctor_show_the_last_good_one_and_what_is_wrong(world: World) -> None:
    def shown() -> dict[str, dict]:
        [live] = world.commands.status("hello")["pipelines"][0]["environments"]
        return {one["of"]: one for one in live["backups"]}

    def checks() -> dict[str, dict]:
        found = examine(world.services, world.clock.now())
        return {one["name"]: one for one in found}

    assert (shown()["shop-db/live"]["good"], checks()) == (None, {})
    scheduled(world)
    assert shown()["shop-db/live"] == {
        "of": "shop-db/live",
        "good": row(world, "shop-db")["good"],
        "problem": "",
    }
    assert "the last good one is 0 s old, 15 B" in checks()["backup shop-db/live"]["text"]
    assert checks()["backup hello/live/data"]["ok"]
    world.engine.fail("dump_accessory", EngineFailed("pg_dump exited with 1."), times=9)
    scheduled(world, 2.5 * DAY)
    wrong = checks()["backup shop-db/live"]
    assert not wrong["ok"]
    assert wrong["text"].startswith(
        "the last good backup is 2 d old; the last attempt failed: pg_dump exited"
    )
    assert "`pushlive accessory backup shop-db live`" in wrong["advice"]
    assert shown()["shop-db/live"]["problem"] in wrong["text"]


def test_a_volume_comes_back_from_one_that_is_kept(world: World) -> None:
    made = world.backups.make("hello", "live", "data", "ada")
    world.engine.stored[DATA] = TAR.replace(b"x", b"z")
    with pytest.raises(RequestError, match="r1 serves"):
        world.backups.restore_volume("hello", "live", "data", "ada", made["file"])
    world.backups.restore_volume("hello", "live", "data", "ada", "latest", stop=True)
    assert world.engine.stored[DATA] == TAR
