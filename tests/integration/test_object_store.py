"""Copies of backups in a bucket, on a real object store that checks signatures."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from pipeline.adapters.s3 import copies as s3
from pipeline.adapters.s3.client import client
from pipeline.adapters.s3.copies import S3Copies
from pipeline.adapters.s3.errors import failed
from pipeline.config.settings import Settings, load
from pipeline.config.workload.backup import Destination
from pipeline.domain.volumes import KeptBackup, VolumeRef
from pipeline.errors import EngineFailed, NotFound, TimedOut
from pipeline.lib.secret import Secret
from pipeline.ports.clock import Deadline, SystemClock
from tests.support.object_store import ObjectStore, running
from tests.support.paths import ROOT
from tests.support.ports import free_port
from tests.support.waiting import until

pytestmark = pytest.mark.timeout(1200)  # its program may have to be built first
TO = Destination(url="s3://backups/shop")
DATA = VolumeRef("shop", "live", "data")
FIRST, SECOND, THIRD = (f"shop-live-data-2026010{day}T020000Z.tar" for day in (1, 2, 3))
MIB = 1 << 20


@pytest.fixture(scope="module")
def store() -> Iterator[ObjectStore]:
    with running("backups") as found:
        yield found


@pytest.fixture
def settings(store: ObjectStore, tmp_path: Path) -> Settings:
    for path in (store.folder / "backups").rglob("*"):
        if path.is_file():
            path.unlink()
    return load({"PUSHLIVE_DATA": str(tmp_path), **store.settings})


@pytest.fixture
def copies(settings: Settings) -> S3Copies:
    return S3Copies(settings)


def watch() -> Deadline:
    return Deadline(SystemClock(), 300)


def backup(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def read(copies: S3Copies, name: str) -> bytes:
    return b"".join(copies.read(TO, DATA, name, watch()))


def halves(settings: Settings) -> list[str]:
    found = client(settings)._list_multipart_uploads("backups", prefix="shop").uploads
    return [one.object_name or "" for one in found]


@pytest.mark.parametrize("size", [0, 5, 11 * MIB + 1])
def test_a_copy_is_sent_listed_and_read(
    copies: S3Copies, store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(s3, "PART", 5 * MIB)  # so the last one goes in three parts
    content = os.urandom(size)
    for _ in range(2):
        copies.send(TO, DATA, backup(tmp_path, FIRST, content), watch())
    assert store.objects("backups") == [f"shop/shop/live/data/{FIRST}"]
    [found] = copies.kept(TO, DATA)
    assert (found.file, found.size) == (FIRST, size)
    assert read(copies, FIRST) == content
    assert copies.kept(TO, replace(DATA, environment="dev")) == ()
    for missing in (SECOND, "../../other", ""):
        with pytest.raises(NotFound, match="no backup"):
            read(copies, missing)


def test_older_ones_are_removed_and_nothing_else_is(
    copies: S3Copies, store: ObjectStore, settings: Settings, tmp_path: Path
) -> None:
    for name in (FIRST, SECOND, THIRD):
        copies.send(TO, DATA, backup(tmp_path, name, b"x"), watch())
    folder = store.folder / "backups" / "shop" / "shop" / "live" / "data"
    by_hand = "shop-live-data-20250101T020000Z.tar"
    (folder / by_hand).write_bytes(b"copied there by hand")
    (folder / "notes.txt").write_bytes(b"notes")
    other = S3Copies(settings.model_copy(update={"instance": "other"}))
    other.prune(TO, DATA, 1)
    assert [one.file for one in copies.kept(TO, DATA)] == [THIRD, SECOND, FIRST, by_hand]
    for _ in range(2):
        copies.prune(TO, DATA, 1)
    assert [one.file for one in copies.kept(TO, DATA)] == [THIRD, by_hand]
    assert (folder / "notes.txt").exists()


def test_of_several_in_one_second_the_last_one_is_the_newest(copies: S3Copies, tmp_path: Path) -> None:
    names = [SECOND, *(SECOND.replace("Z.", f"Z-{number}.") for number in (2, 9, 10))]
    for name in names:
        copies.send(TO, DATA, backup(tmp_path, name, b"x"), watch())
    assert [one.file for one in copies.kept(TO, DATA)] == names[::-1]
    copies.prune(TO, DATA, 2)
    assert [one.file for one in copies.kept(TO, DATA)] == names[:1:-1]


class Ends:
    """A watch that lets some pieces pass."""

    def __init__(self, pieces: int) -> None:
        self.left = pieces

    def check(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise TimedOut("the test took longer than it may.")

    def remaining(self) -> float:
        return 60.0

    def wait(self, seconds: float) -> None:
        self.check()


def test_what_breaks_off_leaves_nothing(
    copies: S3Copies, settings: Settings, store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3, "PART", 5 * MIB)
    with pytest.raises(TimedOut):
        copies.send(TO, DATA, backup(tmp_path, FIRST, bytes(11 * MIB)), Ends(1))
    assert (copies.kept(TO, DATA), halves(settings)) == ((), [])


def test_fault_61_what_a_killed_process_has_begun_does_not_count_and_is_given_up(
    copies: S3Copies, settings: Settings, store: ObjectStore, tmp_path: Path
) -> None:
    script = (
        "import sys, time; from pathlib import Path; from tests.integration import test_object_store as t; "
        "from pipeline.config.settings import load; t.s3.PART = 5 * t.MIB; "
        "watch = t.Ends(9); watch.check = lambda: watch.left and setattr(watch, 'left', watch.left - 8) "
        "or watch.left > 0 or time.sleep(60); "
        "t.S3Copies(load()).send(t.TO, t.DATA, Path(sys.argv[1]), watch)"
    )
    large = backup(tmp_path, FIRST, bytes(11 * MIB))
    environment = {**os.environ, "PUSHLIVE_DATA": str(tmp_path), **store.settings, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, "-c", script, str(large)], env=environment)
    try:
        until(lambda: halves(settings) or process.poll() is not None, 30)
        assert process.poll() is None
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert copies.kept(TO, DATA) == ()
    assert halves(settings) == [f"shop/shop/live/data/{FIRST}"]
    copies.send(TO, DATA, backup(tmp_path, SECOND, b"x"), watch())
    assert halves(settings) == []
    assert [one.file for one in copies.kept(TO, DATA)] == [SECOND]


WRONG = {
    "the access key": (
        {"s3_access_key": "nobody"},
        TO,
        "does not know the access key",
        "PUSHLIVE_S3_ACCESS_KEY",
    ),
    "its secret": ({"s3_secret_key": Secret("x")}, TO, "its secret is wrong", "PUSHLIVE_S3_SECRET_KEY"),
    "the bucket": ({}, Destination(url="s3://none-of-ours"), "no such bucket", "`backup.to`"),
    "the region": ({"s3_region": "eu-west-1"}, TO, "another region", "PUSHLIVE_S3_REGION"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_said_and_what_to_do(settings: Settings, tmp_path: Path, what: str) -> None:
    changed, to, says, advice = WRONG[what]
    copies = S3Copies(settings.model_copy(update=changed))
    with pytest.raises(EngineFailed) as refused:
        copies.send(to, DATA, backup(tmp_path, FIRST, b"x"), watch())
    assert says in refused.value.message
    assert advice in refused.value.advice
    with pytest.raises(EngineFailed, match=says):
        copies.kept(to, DATA)
    assert "x" not in repr(settings.s3_secret_key)


def test_a_store_that_cannot_be_reached_is_named(settings: Settings, tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    copies = S3Copies(settings.model_copy(update={"s3_endpoint": url}))
    with pytest.raises(EngineFailed, match=f"{url} cannot be reached") as refused:
        copies.send(TO, DATA, backup(tmp_path, FIRST, b"x"), watch())
    assert "PUSHLIVE_S3_ENDPOINT" in refused.value.advice


def test_the_usual_variables_name_the_store_and_its_key(
    settings: Settings, tmp_path: Path, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = {
        "AWS_ENDPOINT_URL_S3": store.url,
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": settings.s3_access_key,
        "AWS_SECRET_ACCESS_KEY": settings.s3_secret_key.reveal(),
    }
    for name, text in usual.items():
        monkeypatch.setenv(name, text)
    copies = S3Copies(load({"PUSHLIVE_DATA": str(tmp_path)}))
    copies.send(TO, DATA, backup(tmp_path, FIRST, b"x"), watch())
    assert copies.kept(TO, DATA) == (KeptBackup(FIRST, 1767232800.0, 1),)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    with pytest.raises(EngineFailed, match="no key") as refused:
        copies.kept(TO, DATA)
    assert "PUSHLIVE_S3_ACCESS_KEY" in refused.value.advice


def test_without_the_library_the_message_says_how_to_install_it(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.adapters.s3.client.is_installed", lambda: False)
    with pytest.raises(EngineFailed, match=r"pip install 'pushlive\[s3\]'"):
        S3Copies(settings).kept(TO, DATA)


def test_a_clock_that_is_wrong_is_said(copies: S3Copies, monkeypatch: pytest.MonkeyPatch) -> None:
    from minio import time

    now = time.utcnow()
    monkeypatch.setattr(time, "utcnow", lambda: now - timedelta(hours=2))
    with pytest.raises(EngineFailed, match="the clock of this machine") as refused:
        copies.kept(TO, DATA)
    assert "timedatectl" in refused.value.advice


@pytest.mark.parametrize("code", ["QuotaExceeded", "XMinioStorageFull", "InsufficientStorage"])
def test_a_store_that_is_full_is_said(code: str) -> None:
    found = failed("x.tar was not copied to s3://b", code, "no more")
    assert found.message == (
        "x.tar was not copied to s3://b: the store has no space left for it, or a quota is reached (it says: no more)."
    )
    assert "quota" in found.advice
