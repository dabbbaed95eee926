"""What every engine promises of data that outlives releases."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import pytest

from pipeline.adapters.fake import FakeEngine
from pipeline.domain.engine_types import SlotSpec
from pipeline.domain.volumes import Helper, StoredVolume, VolumeRef
from pipeline.errors import LeaseLost, NotFound, PushliveError, RequestError, TryAgain
from pipeline.ports.scheduled import Job
from pipeline.ports.terminal import Wanted
from tests.contract.test_engine_contract import Kit, kit_for
from tests.support.clusterbench import local_volume
from tests.support.lost import Lost
from tests.support.waiting import until

# In a folder that the image has, since its user may write there. It shows what a release before it has written, and
# then writes its own name.
KEEPS = """
mkdir -p /tmp/www; cp /tmp/who /tmp/www/before; echo $PUSHLIVE_RELEASE >/tmp/who
echo well >/tmp/www/healthz; exec httpd -f -p 8080 -h /tmp/www
"""


@pytest.fixture(params=["fake", "docker", "remote", "cluster"])
def kit(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Kit]:
    for one in kit_for(request):
        yield from with_room_for_data(one, tmp_path)


def with_room_for_data(kit: Kit, folder: Path) -> Iterator[Kit]:
    """The test cluster has nothing that makes volumes."""
    if kit.key != "kubernetes":
        yield from prepared(kit)
        return
    with ExitStack() as stack:
        for number, ref in enumerate((data(kit), moved(kit))):
            claim, there = kit.engine.volume_name(ref), folder / str(number)
            stack.enter_context(local_volume(kit.engine._api.namespace, claim, there))
        yield from prepared(kit)


def prepared(one: Kit) -> Iterator[Kit]:
    one.engine.prepare(one.ref(), ())
    yield one
    for slot in ("blue", "green"):
        one.engine.unroute(one.ref(slot))
        one.engine.stop(one.ref(slot))
    for volume in mine(one):
        one.engine.remove_volume(volume.ref)


def data(kit: Kit) -> VolumeRef:
    return VolumeRef(kit.name, "live", "data")


def moved(kit: Kit) -> VolumeRef:
    return VolumeRef(kit.name, "prod", "data")


def keeping(kit: Kit, slot: str, release: int) -> SlotSpec:
    return kit.spec(slot, release, replicas=1, volumes={"data": "/tmp"}, command=("sh", "-c", KEEPS))


def mine(kit: Kit, *, sizes: bool = False) -> list[StoredVolume]:
    return [one for one in kit.engine.volumes(sizes=sizes) if one.ref.owner == kit.name]


def packed(**files: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        folder = tarfile.TarInfo("./")
        folder.type, folder.mode, folder.uid = tarfile.DIRTYPE, 0o750, 1000
        archive.addfile(folder)
        for name, text in files.items():
            member = tarfile.TarInfo(f"./{name}")
            member.size, member.uid, member.gid, member.mode = len(text), 1000, 1001, 0o640
            archive.addfile(member, io.BytesIO(text.encode()))
    return out.getvalue()


def unpacked(pieces: Iterable[bytes]) -> dict[str, tuple[str, int, int]]:
    """Text, owner and mode of each file."""
    with tarfile.open(fileobj=io.BytesIO(b"".join(pieces))) as archive:
        files = {one.name.removeprefix("./"): one for one in archive if one.isreg()}
        return {
            name: (archive.extractfile(one).read().decode(), one.uid, one.mode & 0o777)  # type: ignore[union-attr]
            for name, one in files.items()
        }


def contents(kit: Kit) -> dict[str, tuple[str, int, int]]:
    with closing(kit.engine.export_volume(data(kit), kit.watch())) as pieces:
        return unpacked(pieces)


def test_both_slots_and_commands_share_a_volume_that_outlives_them(kit: Kit) -> None:
    engine, blue, green = kit.engine, keeping(kit, "blue", 1), keeping(kit, "green", 2)
    kit.stand(blue)
    engine.switch(blue)
    kit.stand(green)
    engine.switch(green)
    [one] = mine(kit)
    assert (one.ref, one.stored_as) == (data(kit), engine.volume_name(data(kit)))
    assert len(one.users) == 2
    if not isinstance(engine, FakeEngine):  # it runs nothing
        until(lambda: kit.probe.get(engine.public(green), "/before", 5).body == b"r1\n")
        assert kit.command(green, "look", "cat", "/tmp/who").output == "r2\n"
        engine.forget_command(green, "look")
    with pytest.raises(RequestError, match="in use"):
        engine.remove_volume(data(kit))
    assert engine.remove(blue.ref) == ""
    until(lambda: [volume.users for volume in mine(kit)] == [()])
    assert mine(kit, sizes=True)[0].size is not None
    for _ in range(2):
        engine.remove_volume(data(kit))
    assert mine(kit) == []


def test_a_run_by_a_schedule_that_is_over_does_not_use_its_volume(kit: Kit) -> None:
    spec, job = keeping(kit, "blue", 1), Job("mail", 1_800_000_000)
    kit.stand(spec)
    kit.engine.start_job(spec, job, ("true",), kit.watch())
    kit.engine.stop(spec.ref)
    until(lambda: [volume.users for volume in mine(kit)] == [()])
    kit.engine.remove_volume(data(kit))
    assert mine(kit) == []


def test_files_come_back_with_their_owners_and_replace_what_was_there(kit: Kit) -> None:
    engine = kit.engine
    engine.import_volume(data(kit), [packed(old="1", both="1")], kit.watch())
    engine.import_volume(data(kit), iter([packed(both="2", **{".hidden": "3"})]), kit.watch())
    assert contents(kit) == {"both": ("2", 1000, 0o640), ".hidden": ("3", 1000, 0o640)}


def test_what_is_not_a_whole_archive_changes_nothing(kit: Kit) -> None:
    engine, whole = kit.engine, packed(new="x" * 5000, other="y")
    engine.import_volume(data(kit), [packed(old="1")], kit.watch())
    at_a_file = 512 + 512 + 5120  # the folder and the first file: whoever unpacks it misses nothing
    for broken in (whole[:at_a_file], whole[:2000], b"no archive" * 100, b""):
        with pytest.raises(RequestError):
            engine.import_volume(data(kit), [broken], kit.watch())

    def breaks_off() -> Iterator[bytes]:
        yield whole[:2000]
        raise ConnectionResetError

    with pytest.raises((ConnectionResetError, TryAgain)):
        engine.import_volume(data(kit), breaks_off(), kit.watch())
    assert contents(kit) == {"old": ("1", 1000, 0o640)}


def test_what_runs_beside_the_slots_is_named(kit: Kit) -> None:
    engine, spec = kit.engine, keeping(kit, "blue", 1)
    kit.stand(spec)
    assert engine.running_beside(data(kit)) == ()
    session = engine.run_session(spec, Wanted("a1", ("sh", "-c", "read line")), kit.watch())
    [name] = engine.running_beside(data(kit))
    assert "a1" in name
    session.close()
    engine.end_session(spec.ref, "a1")
    until(lambda: engine.running_beside(data(kit)) == ())
    job = Job("mail", 1_800_000_000)
    engine.start_job(spec, job, ("sleep", "60"), kit.watch())
    [name] = engine.running_beside(data(kit))
    assert str(job.at) in name
    engine.end_job(spec.ref, job)
    until(lambda: engine.running_beside(data(kit)) == ())
    engine.forget_job(spec.ref, job)


def test_files_are_not_replaced_under_what_runs(kit: Kit) -> None:
    kit.stand(keeping(kit, "blue", 1))
    with pytest.raises(RequestError, match="in use"):
        kit.engine.import_volume(data(kit), [packed(a="1")], kit.watch())


def test_a_volume_that_does_not_exist_cannot_be_read(kit: Kit) -> None:
    with pytest.raises(NotFound), closing(kit.engine.export_volume(data(kit), kit.watch())) as pieces:
        next(pieces)


def test_files_stay_if_the_watch_says_so_after_the_stop(kit: Kit) -> None:
    engine, ended, kept = kit.engine, list[str](), {"old": ("1", 1000, 0o640)}
    engine.import_volume(data(kit), [packed(old="1")], kit.watch())
    watch = Lost(kit.watch(), lambda: bool(ended))
    with pytest.raises(LeaseLost):
        engine.import_volume(data(kit), [packed(new="2")], watch, lambda: ended.append("stopped"))
    assert contents(kit) == kept


def test_a_copy_is_whole_or_nothing_and_may_be_repeated(kit: Kit) -> None:
    engine, target = kit.engine, moved(kit)
    with pytest.raises(NotFound):
        engine.copy_volume(data(kit), target, kit.watch())
    texts = {"one": "1", ".hidden": "2", "a name": "3"}
    engine.import_volume(data(kit), [packed(**texts)], kit.watch())
    before = {name: (text, 1000, 0o640) for name, text in texts.items()}

    def refused() -> None:
        raise LeaseLost("another process has taken over.")

    with pytest.raises(LeaseLost):
        engine.copy_volume(data(kit), target, kit.watch(), refused)
    with closing(engine.export_volume(target, kit.watch())) as pieces:
        assert unpacked(pieces) == {}
    for _ in range(2):  # the second time as after a kill before the removal of the first
        engine.copy_volume(data(kit), target, kit.watch())
    with closing(engine.export_volume(target, kit.watch())) as pieces:
        assert unpacked(pieces) == before
    engine.import_volume(data(kit), [packed(one="another")], kit.watch())
    with pytest.raises(RequestError, match="has files of its own"):
        engine.copy_volume(data(kit), target, kit.watch())
    with closing(engine.export_volume(target, kit.watch())) as pieces:
        assert unpacked(pieces) == before


def test_what_a_killed_backup_has_left_is_named_and_ended(kit: Kit) -> None:
    engine, kept = kit.engine, {"old": ("1", 1000, 0o640)}
    engine.import_volume(data(kit), [packed(old="1")], kit.watch())
    assert helpers(kit) == []
    pieces = engine.export_volume(data(kit), kit.watch())
    next(pieces)  # a process that dies here leaves it
    [one] = helpers(kit)
    assert data(kit) in one.refs
    for _ in range(2):
        engine.end_helpers(data(kit))
    until(lambda: helpers(kit) == [])
    with suppress(PushliveError):
        pieces.close()
    assert contents(kit) == kept


def helpers(kit: Kit) -> list[Helper]:
    return [one for one in kit.engine.helpers() if any(ref.owner == kit.name for ref in one.refs)]
