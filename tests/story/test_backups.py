"""Backups by command and by schedule: kept, sent, told when they fail, and restored."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Generator
from functools import partial
from pathlib import Path

import pytest

from pipeline.adapters.fake.script import Killed
from pipeline.cli.client import Where, refusal
from pipeline.cli.context import CONFLICT, exit_code
from pipeline.config.workload.backup import Destination
from pipeline.deploy.data.access import VolumeAccess
from pipeline.domain.accessories import AccessoryRef
from pipeline.domain.volumes import KeptBackup, VolumeRef, folder_of, time_of
from pipeline.errors import Busy, EngineFailed, NotFound, PushliveError, RequestError, TryAgain
from pipeline.maintenance.doctor.backups import examine
from pipeline.ports.clock import Watch
from tests.story.conftest import World
from webhooks.error_responses import status_of

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


class FakeCopies:
    def __init__(self) -> None:
        self.sent: list[str] = []
        self.away = False
        self.bucket: dict[tuple[str, str], bytes] = {}

    def send(self, to: Destination, ref: VolumeRef, file: Path, watch: Watch) -> None:
        self._answer(to, f"{file.name} was not copied")
        self.sent.append(file.name)
        if to.s3:
            self.bucket[folder_of(ref), file.name] = file.read_bytes()

    def kept(self, to: Destination, ref: VolumeRef) -> tuple[KeptBackup, ...]:
        if not to.s3:
            return ()
        self._answer(to, "the backups cannot be listed")
        files = sorted(
            (file for folder, file in self.bucket if folder == folder_of(ref)),
            key=lambda file: KeptBackup(file, time_of(file), 0).order,
            reverse=True,
        )
        return tuple(KeptBackup(one, time_of(one), len(self.bucket[folder_of(ref), one])) for one in files)

    def read(self, to: Destination, ref: VolumeRef, file: str, watch: Watch) -> Generator[bytes]:
        self._answer(to, f"{file} was not read")
        yield self.bucket[folder_of(ref), file]

    def prune(self, to: Destination, ref: VolumeRef, keep: int) -> None:
        for one in self.kept(to, ref)[keep:]:
            del self.bucket[folder_of(ref), one.file]

    def _answer(self, to: Destination, what: str) -> None:
        if self.away:
            raise EngineFailed(f"{what}: {to}: no route to host.")


@pytest.fixture
def copies(monkeypatch: pytest.MonkeyPatch) -> FakeCopies:
    found = FakeCopies()
    for name in ("send", "kept", "read", "prune"):
        act = getattr(found, name)
        monkeypatch.setattr(
            f"pipeline.ports.adapters.NoCopies.{name}", lambda _, *given, act=act: act(*given)
        )
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
    digest = hashlib.sha256(b"all that it has").hexdigest()
    assert [(one["act"], one["before"], one["after"]) for one in world.commands.audit_log()[4::-1]] == [
        ("accessory backup", "", ""),
        ("accessory backup ended", "", f"{made['file']}, 15 B, sha256 {digest}"),
        ("accessory backup read", made["file"], f"{made['file']} was sent, 15 B"),
        ("accessory restore", "its data", made["file"]),
        ("accessory restore ended", "its data", f"{made['file']}: 15 B, sha256 {digest}"),
    ]
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


def test_a_person_always_gets_a_new_one(world: World, copies: FakeCopies) -> None:
    copies.away = True
    with pytest.raises(EngineFailed, match="was not copied"):
        world.backups.make("hello", "live", "data", "ada")
    [old] = row(world, "hello")["kept"]
    copies.away = False
    world.engine.stored[DATA] = later = TAR + b"\0" * 512
    made = world.backups.make("hello", "live", "data", "ada")
    assert made["file"] != old["file"]
    assert (folder(world, DATA) / made["file"]).read_bytes() == later
    assert copies.sent == [made["file"]]
    assert row(world, "hello")["good"]["file"] == made["file"]
    assert (scheduled(world), copies.sent) == ([], [made["file"]])


def numbered(number: int) -> bytes:
    return TAR[:512] + bytes([number]) * 512 + TAR[512:]


def test_of_several_in_one_second_the_last_one_is_the_newest(world: World, copies: FakeCopies) -> None:
    world.configure(BUCKET)
    world.clock.now = lambda: 1767232800.0
    made = []
    for number in range(1, 13):
        world.engine.stored[DATA] = numbered(number)
        made.append(world.backups.make("hello", "live", "data", "ada")["file"])
    assert made[0].endswith("Z.tar")
    assert made[-1].endswith("Z-12.tar")
    assert [one["file"] for one in row(world, "hello")["kept"]] == made[:-3:-1]
    assert set(listed(world)) == set(made[-2:])
    world.engine.stored[DATA] = TAR
    world.backups.restore_volume("hello", "live", "data", "ada", "latest", stop=True)
    assert world.engine.stored[DATA] == numbered(12)


def test_one_is_kept_also_if_the_clock_was_ahead_of_it(world: World) -> None:
    world.configure(CONFIG.replace("keep: 2", "keep: 1"))
    now = world.clock.now()
    world.clock.now = lambda: now + DAY
    early = world.backups.make("shop-db", "live", "data", "ada")
    world.clock.now = lambda: now
    for _ in range(2):
        made = world.backups.make("shop-db", "live", "data", "ada")
        assert [one["file"] for one in row(world, "shop-db")["kept"]] == [made["file"]] != [early["file"]]


def test_a_refusal_while_its_files_are_replaced_is_no_failed_backup(world: World) -> None:
    access = VolumeAccess(world.store, world.clock)
    for ref in (DATA, DATABASE):
        with access.replacing(ref), pytest.raises(Busy, match="are being replaced") as refused:
            world.backups.make(ref.owner, ref.environment, ref.name, "ada")
        assert exit_code(answered(refused.value)) == CONFLICT
        assert (row(world, ref.owner)["failed"], told(world)) == ("", [])
    with access.replacing(DATABASE):
        assert "are being replaced" in "".join(scheduled(world))
    assert (row(world, "shop-db")["problem"], told(world)) == ("", [])


def answered(error: PushliveError) -> PushliveError:
    """As the command line gets it."""
    place = Where("http://127.0.0.1:9", "token", "")
    return refusal(status_of(error), "", json.dumps({"error": error.message}).encode(), place)


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


# ── a bucket ─────────────────────────────────────────────────────────────────

BUCKET = CONFIG.replace("ssh://backup.example.com/hello", "s3://backups/all").replace(
    "every: 1h", "every: 1h, keep: 2"
)


def emptied(world: World) -> None:
    """As on a machine that has lost its disk."""
    for ref in (DATA, DATABASE):
        for path in folder(world, ref).iterdir():
            path.unlink()


def listed(world: World, of: str = "hello") -> list[str]:
    [one] = world.backups.overview(of)
    assert one["copies_problem"] == ""
    return [copy["file"] for copy in one["copies"]]


def test_a_bucket_is_listed_restored_from_and_kept_small(world: World, copies: FakeCopies) -> None:
    world.configure(BUCKET)
    for _ in range(4):
        scheduled(world, HOUR)
    newest, older = listed(world)
    assert copies.sent[-2:] == [older, newest]
    assert "copies" not in row(world, "hello")  # what is polled waits for no store
    emptied(world)
    for given in ("latest", newest, f"s3://backups/all/hello/live/data/{older}"):
        world.engine.stored[DATA] = TAR + b"lost"
        world.backups.restore_volume("hello", "live", "data", "ada", given, stop=True)
        assert world.engine.stored[DATA] == TAR
    left = [one.name for one in folder(world, DATA).iterdir()]
    assert left == []  # a copy that was read goes again
    for refused in (
        f"s3://others/all/hello/live/data/{older}",
        "s3://backups/all/hello/live/data/x",
        "s3://backups/all",
    ):
        with pytest.raises(RequestError, match="no backup in a bucket that pipelines"):
            world.backups.restore_volume("hello", "live", "data", "ada", refused, stop=True)
    with pytest.raises(NotFound, match="no backup 'none'"):
        world.backups.restore_volume("hello", "live", "data", "ada", "none", stop=True)


def test_what_may_be_old_is_not_restored_as_the_latest(world: World, copies: FakeCopies) -> None:
    world.configure(BUCKET)
    scheduled(world)
    copies.away = True
    [kept] = row(world, "hello")["kept"]
    with pytest.raises(EngineFailed, match="cannot be listed") as refused:
        world.backups.restore_volume("hello", "live", "data", "ada", "latest", stop=True)
    assert f"`--kept {kept['file']}` takes the newest one that is here" in refused.value.advice
    assert "no route" in world.backups.overview("hello")[0]["copies_problem"]
    world.engine.stored[DATA] = TAR + b"lost"
    world.backups.restore_volume("hello", "live", "data", "ada", kept["file"], stop=True)
    assert world.engine.stored[DATA] == TAR


@pytest.mark.parametrize("killed", [False, True], ids=["before", "after"])
def test_the_backups_of_a_volume_follow_its_new_name(world: World, copies: FakeCopies, killed: bool) -> None:
    world.configure(BUCKET)
    for _ in range(2):
        scheduled(world, HOUR)
    files, good = [one["file"] for one in row(world, "hello")["kept"]], row(world, "hello")["good"]
    world.configure(BUCKET.replace("hello:", "shop:"))
    world.gc()

    said: list[str] = []
    move = partial(
        world.commands._operations.volumes().move, DATA, VolumeRef("shop", "live", "data"), said.append
    )
    if killed:
        world.engine.kill("remove_volume")
        with pytest.raises(Killed):
            move()
    else:
        world.engine.kill("copy_volume")
        with pytest.raises(Killed):
            move()
        assert [one.name for one in folder(world, DATA).iterdir()]
    move()
    assert said[-1] == "Removed the volume hello/live/data."
    assert "hello/live/data: 2 backups are kept as backups of shop/live/data now." in said
    assert any("`pushlive backups shop` lists them" in one for one in said)
    assert [one["file"] for one in row(world, "shop")["kept"]] == files == listed(world, "shop")
    assert row(world, "shop")["good"] == good
    world.backups.restore_volume("shop", "live", "data", "ada", "latest")
    assert world.engine.stored[VolumeRef("shop", "live", "data")] == TAR
    world.backups.make("shop", "live", "data", "ada")
    assert len(listed(world, "shop")) == 2  # `keep` counts those of both names


def test_the_backups_of_an_accessory_follow_its_new_name(world: World) -> None:
    world.configure(CONFIG.replace("every: 1d, keep: 2", "to: [store-it]"))
    made = world.backups.make("shop-db", "live", "data", "ada")
    world.engine.stored[DATABASE] = TAR
    world.configure(CONFIG.replace("shop-db", "store-db").replace("every: 1d, keep: 2", "to: [store-it]"))
    lines = world.accessories.move("shop-db", "ada", environment="live", to="store-db")
    said = "\n".join(line for some in lines for line in some)
    assert "shop-db/live: 1 backup is kept as a backup of store-db/live now." in said
    assert "The copies in another place keep the names with shop-db/live/data." in said
    assert [one["file"] for one in row(world, "store-db")["kept"]] == [made["file"]]
    world.backups.restore_accessory("store-db", "live", "ada", (), made["file"])
