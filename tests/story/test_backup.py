"""A backup of a real store, real repositories and files, and what a restore takes and refuses."""

from __future__ import annotations

import gzip
import io
import json
import os
import stat
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.adapters.git.source import heads, init_repository
from pipeline.config.settings import Settings
from pipeline.domain import audit_chain
from pipeline.domain.events import Event
from pipeline.errors import EngineFailed, RequestError, TryAgain
from pipeline.evidence.signing import signing_key
from pipeline.runtime import backup, bootstrap, lock
from pipeline.runtime.archive import MANIFEST, STORE
from pipeline.runtime.embedded_store import EmbeddedStore
from pipeline.store import Store, snapshot
from pipeline.store.audit_head import AuditHead
from tests.support import records

pytestmark = pytest.mark.real_store("its files")


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="pl-") as name:  # short: a Unix socket is in it
        yield Path(name)


@pytest.fixture
def full(folder: Path) -> Iterator[Settings]:
    """A data folder with something of everything, its store running."""
    settings = Settings(data=folder / "data", config=folder / "pipelines.yaml", instance="one")
    settings.config.write_text("pipelines: {}\n")
    embedded = EmbeddedStore(settings.data)
    embedded.start()
    _fill(bootstrap.store(settings))
    (settings.data / "logs" / "hello").mkdir(parents=True)
    (settings.data / "logs" / "hello" / "1.log").write_text("12:00 built\n")
    (settings.data / "evidence" / "hello" / "run-1-r1-1").mkdir(parents=True)
    (settings.data / "evidence" / "hello" / "run-1-r1-1" / "record.json").write_text("{}")
    signing_key(settings.data)
    (settings.data / "token").write_text("the first token")
    (settings.data / "certificates").mkdir()
    (settings.data / "certificates" / "shop.pem").write_text("KEY")
    (settings.data / "hooks").mkdir()
    (settings.data / "hooks" / "post-receive").write_text("#!/bin/sh\n")
    _repository(bootstrap.repositories(settings) / "hello.git")
    init_repository(bootstrap.repositories(settings) / "empty.git")
    yield settings
    embedded.stop()


def _fill(store: Store) -> None:
    store.tokens.create("ann", "maintainer")
    for number in (1, 2):
        add(store, number)
    store.events.append("hello#1", [Event("line", 1.0, "built ✓ \u202e")])
    store.client.set(store.key("fact", "until"), "soon", ex=1000)
    store.count("refused")
    store.leases.take("run:hello#1", "worker")
    store.client.hset("another:runs:hello", "1", "not ours")


def add(store: Store, number: int) -> None:
    def act(transaction):
        run = records.run(transaction.next_run())
        transaction.put_run(run)
        transaction.due(run.number)
        assert run.number == number

    store.transact("hello", act)


def _repository(path: Path) -> None:
    init_repository(path)
    given = "author a <a@b> 1 +0000\ncommitter a <a@b> 1 +0000\n\none\n"
    tree = subprocess.run(["git", "mktree"], cwd=path, input="", text=True, capture_output=True, check=True)
    text = f"tree {tree.stdout.strip()}\n{given}"
    made = subprocess.run(
        ["git", "hash-object", "-t", "commit", "-w", "--stdin"], cwd=path, input=text, text=True,
        capture_output=True, check=True,
    )  # fmt: skip
    for ref in ("refs/heads/main", "refs/heads/ä/b", "refs/tags/v1", "refs/pushlive/r1"):
        subprocess.run(["git", "update-ref", ref, made.stdout.strip()], cwd=path, check=True)


def elsewhere(settings: Settings) -> Settings:
    folder = settings.data.parent
    return settings.model_copy(update={"data": folder / "other", "config": folder / "other.yaml"})


def lines(settings: Settings) -> dict[str, dict[str, object]]:
    with backup._store(settings) as store:
        return {line["key"]: line for line in map(json.loads, snapshot.dump(store))}


def test_everything_that_is_kept_is_restored(full):
    file, other = full.data.parent / "b.tgz", elsewhere(full)
    before = lines(full)
    told = backup.backup(full, file)
    backup.restore(other, file)
    after = lines(other)
    assert after.pop("fact:known")["value"]  # from now on the store is this installation's
    assert before["fact:until"].pop("ttl") >= after["fact:until"].pop("ttl") > 0
    for one in (before, after):
        for line in one.values():
            line.pop("ttl", None)
    assert after == before
    assert set(after) >= {"runs:hello", "last-runs:hello", "tokens", "due:hello", "events:hello#1", "counts"}
    assert not any(key.startswith("lease") for key in after)
    assert told.files == len(list(names(file))) - 1
    assert (other.data / "logs/hello/1.log").read_text() == "12:00 built\n"
    assert (other.data / "certificates/shop.pem").read_text() == "KEY"
    assert (other.data / "evidence/hello/run-1-r1-1/record.json").read_text() == "{}"
    assert signing_key(other.data).public.id == signing_key(full.data).public.id
    assert (other.data / "token").read_text() == "the first token"
    assert other.config.read_text() == "pipelines: {}\n"
    assert not (other.data / "hooks").exists()
    assert not (other.data / backup.RESTORING).exists()


def test_the_whole_audit_log_is_restored_if_it_grew_during_the_backup(full, monkeypatch):
    file, other = full.data.parent / "b.tgz", elsewhere(full)
    real = snapshot.dump

    def dump(store):
        yield from list(real(store))
        act(store)

    def act(store):
        store.audit.record(audit_chain.entry("ann", "hold", 1.0))
        assert AuditHead(store, full.data).move() == ""

    with backup._store(full) as store:
        act(store)
    monkeypatch.setattr(snapshot, "dump", dump)
    backup.backup(full, file)
    monkeypatch.undo()
    backup.restore(other, file)
    with backup._store(other) as store:
        report = AuditHead(store, other.data).verify()
        assert report.problems == []
        assert report.entries >= 1
    with backup._store(full) as store:
        assert store.audit.last().number == report.entries + 1


def test_repositories_are_restored_with_every_ref(full):
    file, other = full.data.parent / "b.tgz", elsewhere(full)
    backup.backup(full, file)
    backup.restore(other, file)
    first, second = (bootstrap.repositories(one) / "hello.git" for one in (full, other))
    assert heads(second) == heads(first)
    assert set(heads(second)) == {"main", "ä/b"}
    listed = [
        subprocess.run(["git", "for-each-ref"], cwd=one, capture_output=True).stdout
        for one in (first, second)
    ]
    assert b"refs/pushlive/r1" in listed[0]
    assert listed[0] == listed[1]


def test_the_file_and_what_is_restored_are_readable_by_the_owner_alone(full):
    file, other = full.data.parent / "b.tgz", elsewhere(full)
    before = os.umask(0)
    try:
        backup.backup(full, file)
        backup.restore(other, file)
    finally:
        os.umask(before)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    for path in (other.data / "token", other.data / "certificates/shop.pem", other.data / "logs/hello/1.log"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(file.parent.glob(".pushlive-*")) == []  # nothing of it is left lying about


def names(file: Path) -> Iterator[str]:
    with tarfile.open(file) as archive:
        yield from archive.getnames()


def test_a_running_store_is_not_stopped_and_a_stopped_one_is_started_for_the_backup(full, folder):
    backup.backup(full, folder / "b.tgz")
    store = bootstrap.store(full)
    assert store.last_run("hello") == 2
    EmbeddedStore(full.data).stop()
    backup.backup(full, folder / "c.tgz")
    assert not store.healthy()


def test_a_key_created_during_the_backup_is_included(full, monkeypatch):
    """The set of pipelines must not name one whose runs are not in the copy."""
    store, taken, real = bootstrap.store(full), [], snapshot._together

    def disturbed(client, wanted):
        if len(taken) < 2:
            taken.append(1)
            client.sadd("one:pipelines", f"new{len(taken)}")
            client.hset(f"one:runs:new{len(taken)}", "1", "{}")
        return real(client, wanted)

    monkeypatch.setattr(snapshot, "_together", disturbed)
    found = {line["key"]: line for line in map(json.loads, snapshot.dump(store))}
    for name in found["pipelines"]["value"]:
        assert f"runs:{name}" in found


def test_a_store_that_never_stops_changing_is_given_up(full, monkeypatch):
    store, real, taken = bootstrap.store(full), snapshot._together, []

    def disturbed(client, wanted):
        taken.append(1)
        client.set(f"one:fact:{len(taken)}", "x")
        return real(client, wanted)

    monkeypatch.setattr(snapshot, "_together", disturbed)
    with pytest.raises(TryAgain, match="changes faster"):
        list(snapshot.dump(store))


# ── what is refused ──────────────────────────────────────────────────────────


def test_a_backup_overwrites_nothing(full, folder):
    file = folder / "b.tgz"
    file.write_text("mine")
    with pytest.raises(RequestError, match="already exists"):
        backup.backup(full, file)
    assert file.read_text() == "mine"


def test_an_empty_store_and_an_existing_configuration_are_allowed(full, folder):
    """As in the composition, where the store runs already and pipelines.yaml lies in the data folder."""
    file, other = (
        folder / "b.tgz",
        elsewhere(full).model_copy(update={"config": folder / "other" / "pipelines.yaml"}),
    )
    inside = full.model_copy(update={"config": full.data / "pipelines.yaml"})
    inside.config.write_text("pipelines: {}\n")
    backup.backup(inside, file)
    assert list(names(file)).count("pipelines.yaml") == 1
    assert "data/pipelines.yaml" not in names(file)
    embedded = EmbeddedStore(other.data)
    embedded.start()
    other.config.write_text("pipelines: {}\n")
    bad = repacked(file, put("git/hello.bundle", b"# v2 git bundle\nnonsense"))
    with pytest.raises(EngineFailed):
        backup.restore(other, bad)
    assert {path.name for path in other.data.iterdir()} == {"store", "pipelines.yaml"}
    backup.restore(other, file)
    assert bootstrap.store(other).last_run("hello") == 2
    with pytest.raises(RequestError, match="not empty"):
        backup.restore(other, file)
    embedded.stop()


def test_restore_refuses_a_folder_that_is_not_empty_and_a_running_service(full, folder):
    file = folder / "b.tgz"
    backup.backup(full, file)
    with pytest.raises(RequestError, match="not empty"):
        backup.restore(full, file)
    with lock.take(full.data), pytest.raises(RequestError, match="service is running"):
        backup.restore(full, file)


def test_nothing_starts_on_a_folder_that_is_being_restored(full):
    (full.data / backup.RESTORING).touch()
    with pytest.raises(RequestError, match="interrupted"):
        lock.take(full.data)


def test_another_instances_backup_and_a_filled_store_are_refused(full, folder):
    file = folder / "b.tgz"
    backup.backup(full, file)
    with pytest.raises(RequestError, match="PUSHLIVE_INSTANCE"):
        backup.restore(elsewhere(full).model_copy(update={"instance": "two"}), file)
    with opened_store(full) as store, pytest.raises(RequestError, match="already"):
        snapshot.load(store, [])


def opened_store(settings: Settings):
    return backup._store(settings)


def test_an_existing_pipelines_yaml_is_kept(full, folder):
    file, other = folder / "b.tgz", elsewhere(full)
    backup.backup(full, file)
    other.config.write_text("pipelines: {new: }\n")
    told = backup.restore(other, file)
    assert other.config.read_text() == "pipelines: {new: }\n"
    assert (other.data / "pipelines.yaml.restored").read_text() == "pipelines: {}\n"
    assert "was kept" in told.notes[0]


Change = Callable[[dict[str, bytes], list[tarfile.TarInfo]], None]


def repacked(file: Path, change: Change) -> Path:
    """The archive again, after ``change`` on its files and on further members, with a manifest that fits."""
    with tarfile.open(file) as archive:
        files = {m.name: archive.extractfile(m).read() for m in archive.getmembers()}  # type: ignore[union-attr]
    more: list[tarfile.TarInfo] = []
    change(files, more)
    manifest = json.loads(files.pop(MANIFEST, b"null"))
    if manifest:
        import hashlib

        manifest["files"] = {
            n: {"sha256": hashlib.sha256(text).hexdigest(), "size": len(text)} for n, text in files.items()
        }
        files[MANIFEST] = json.dumps(manifest).encode()
    bad = file.with_name("bad.tgz")
    with tarfile.open(bad, "w:gz") as archive:
        for member in more:
            archive.addfile(member)
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text))
    return bad


def put(name: str, text: bytes = b"x") -> Change:
    return lambda files, _: files.update({name: text})


def special(name: str, kind: bytes, target: str = "") -> Change:
    def change(_: dict[str, bytes], more: list[tarfile.TarInfo]) -> None:
        member = tarfile.TarInfo(name)
        member.type, member.linkname = kind, target
        more.append(member)

    return change


OUT = {
    "up": put("data/../../out"),
    "absolute": put("/etc/pushlive"),
    "inside": put("data/logs/../../../out"),
    "hook": put("data/hooks/post-receive"),
    "proxy": put("data/proxy/haproxy.cfg"),
    "store": put("data/store/appendonlydir/x"),
    "git": put("data/git/hello.git/config"),
    "bundle": put("git/../x.bundle"),
    "option": put("git/--upload-pack=x.bundle"),
    "mark": put("data/restoring"),
    "stranger": put("readme.txt"),
    "symlink": special("data/logs", tarfile.SYMTYPE, "/tmp"),
    "hardlink": special("data/token", tarfile.LNKTYPE, "/etc/passwd"),
    "device": special("data/zero", tarfile.CHRTYPE),
    "fifo": special("data/fifo", tarfile.FIFOTYPE),
}


@pytest.mark.parametrize("change", OUT.values(), ids=OUT)
def test_an_archive_with_paths_outside_is_refused_and_nothing_is_written(full, folder, change):
    file, other = folder / "b.tgz", elsewhere(full)
    backup.backup(full, file)
    with pytest.raises(RequestError, match="does not belong in a backup"):
        backup.restore(other, repacked(file, change))
    assert not other.data.exists()
    assert not (folder / "out").exists()


def cut(file: Path) -> bytes:
    return file.read_bytes()[: file.stat().st_size // 2]


def flipped(file: Path) -> bytes:
    """One byte of a log is another: only the hash tells."""
    raw = gzip.decompress(file.read_bytes())
    return gzip.compress(raw.replace(b"12:00 built", b"12:00 BUILT"))


def other_tar(_: Path) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz"):
        pass
    return out.getvalue()


def newer(file: Path) -> bytes:
    raw = gzip.decompress(file.read_bytes())
    return gzip.compress(raw.replace(b'"pushlive": 1', b'"pushlive": 9'))


@pytest.mark.parametrize(
    ("make", "why"),
    [(cut, "damaged"), (flipped, "differs from what was saved"), (other_tar, "no manifest"),
     (newer, r"newer version \(format 9\); this version reads format 1"),
     (lambda _: b"not a tar", "damaged"), (lambda _: b"", "damaged")],
    ids=["cut", "flipped", "other", "newer", "text", "nothing"],
)  # fmt: skip
def test_a_damaged_or_foreign_archive_is_refused_with_a_reason(full, folder, make, why):
    file, other = folder / "b.tgz", elsewhere(full)
    backup.backup(full, file)
    bad = folder / "bad.tgz"
    bad.write_bytes(make(file))
    with pytest.raises(RequestError, match=why):
        backup.restore(other, bad)
    assert not other.data.exists()


@pytest.mark.parametrize(
    "line",
    ["nonsense", "[]", '{"key": "runs:x", "type": "hash", "value": []}', '{"key": 1, "type": "string", "value": "x"}',
     '{"key": "x", "type": "function", "value": "x"}', "[" * 100_000],
)  # fmt: skip
def test_an_invalid_store_leaves_nothing_behind(full, folder, line):
    file, other = folder / "b.tgz", elsewhere(full)
    backup.backup(full, file)
    with pytest.raises(RequestError, match="line 1 of the store in the backup"):
        backup.restore(other, repacked(file, put(STORE, line.encode() + b"\n")))
    assert list(other.data.iterdir()) == []


def test_an_invalid_bundle_leaves_nothing_behind(full, folder):
    file, other = folder / "b.tgz", elsewhere(full)
    backup.backup(full, file)
    with pytest.raises(EngineFailed, match="hello"):
        backup.restore(other, repacked(file, put("git/hello.bundle", b"# v2 git bundle\nnonsense")))
    assert list(other.data.iterdir()) == []
