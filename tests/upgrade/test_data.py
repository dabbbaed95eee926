"""The data folder and the backup of an earlier version hold for this version what they held for that one."""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from rq import SimpleWorker
from rq.serializers import JSONSerializer

from pipeline.adapters.queue import queue_names
from pipeline.domain.audit_chain import Report
from pipeline.runtime import backup, bootstrap
from pipeline.runtime.embedded_store import EmbeddedStore, url
from pipeline.secrets.vault import Vault
from pipeline.store import Store, snapshot
from pipeline.store.audit_head import AuditHead
from tests.upgrade.fixtures import ALL, VERSIONS, Fixture, lost
from workers import jobs

pytestmark = pytest.mark.parametrize("fixture", ALL, ids=VERSIONS)
# Ends by itself, so it is gone some day; or goes on while a service runs.
PASSING = ("events:", "delivery:", "outbox-trouble:", "counts", "fact:", "token-used", "audit-pending")


@pytest.fixture
def folder() -> Iterator[Path]:
    """Short: a Unix socket is in it."""
    with tempfile.TemporaryDirectory(prefix="pl-") as name:
        yield Path(name)


@contextmanager
def store(fixture: Fixture, data: Path) -> Iterator[Store]:
    """The embedded store on that folder."""
    settings, server = fixture.settings.model_copy(update={"data": data}), EmbeddedStore(data)
    server.start()
    one = Store(bootstrap.redis_url(settings), settings.instance)
    try:
        yield one
    finally:
        one.client.close()
        server.stop()


def kept(lines: Iterator[str] | list[str]) -> dict[str, Any]:
    found = {line["key"]: line["value"] for line in map(json.loads, lines)}
    return {key: value for key, value in found.items() if not key.startswith(PASSING)}


def verified(fixture: Fixture, one: Store, data: Path) -> Report:
    return AuditHead(one, data).verify()


def recorded(fixture: Fixture) -> dict[str, Any]:
    return {key: value for key, value in fixture.store.items() if not key.startswith(PASSING)}


def test_the_embedded_store_reads_the_raw_files(fixture: Fixture, folder: Path) -> None:
    with tarfile.open(fixture.folder / "data.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    with store(fixture, folder / "data") as one:
        now = kept(list(snapshot.dump(one)))
        report = verified(fixture, one, folder / "data")
    assert lost(recorded(fixture), now) == []
    assert not report.problems, report


def test_a_backup_is_restored_whole(fixture: Fixture, folder: Path) -> None:
    data = folder / "data"
    settings = fixture.settings.model_copy(update={"data": data, "config": folder / "pipelines.yaml"})
    backup.restore(settings, fixture.folder / "backup.tgz")
    with store(fixture, data) as one:
        now = kept(list(snapshot.dump(one)))
        report = verified(fixture, one, data)
        again = folder / "again.tgz"
    assert lost(recorded(fixture), now) == []
    assert not report.problems, report
    assert settings.config.read_bytes() == (fixture.folder / "pipelines.yaml").read_bytes()
    with tarfile.open(fixture.folder / "backup.tgz") as archive:
        names = {name.removeprefix("data/") for name in archive.getnames() if name.startswith("data/")}
    assert {str(path.relative_to(data)) for path in data.rglob("*") if path.is_file()} >= names
    for name, commit in heads(fixture).items():
        shown = subprocess.run(
            ["git", "-C", data / "git" / f"{name}.git", "rev-parse", "main"], capture_output=True, text=True
        )
        assert shown.stdout.strip() == commit
    backup.backup(settings, again)  # and made again from it
    shutil.rmtree(data)
    backup.restore(settings, again)


def heads(fixture: Fixture) -> dict[str, str]:
    return {
        key.partition(":")[2]: value["refs/heads/main"]
        for key, value in fixture.store.items()
        if key.startswith("heads:")
    }


def test_every_secret_is_opened_with_the_key_of_the_data_folder(fixture: Fixture, folder: Path) -> None:
    with tarfile.open(fixture.folder / "data.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    data, count = folder / "data", 0
    with store(fixture, data) as one:
        vault = Vault(one, fixture.settings.model_copy(update={"data": data}).secrets_key)
        for _, body in fixture.created("containers"):
            if "pushlive.replica" in body["Labels"]:
                spec = fixture.spec(body)
                found = vault.reveal(spec.ref.pipeline, spec.ref.environment, spec.secrets)
                assert {name: value.reveal() for name, value in found.items()} == {
                    name: value.reveal() for name, value in spec.reveal().items()
                }
                count += len(found)
    assert count > 5


def test_a_job_in_the_queue_is_executed_by_a_worker(
    fixture: Fixture, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worked: list[tuple[str, bool]] = []
    monkeypatch.setattr(jobs, "work", lambda pipeline, urgent: worked.append((pipeline, urgent)))
    with store(fixture, folder / "data"), Redis.from_url(url(folder / "data")) as client:
        fixture.put_queue(client)
        queues = list(queue_names(fixture.settings.instance))
        worker = SimpleWorker(queues, connection=client, job_class=jobs.OnlyOurJob, serializer=JSONSerializer)
        worker.work(burst=True, logging_level="WARNING")
    assert worked == [("late", False)]
