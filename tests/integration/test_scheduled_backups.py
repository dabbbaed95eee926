"""Backups by a schedule through the whole service: on the real Engine, into a real object store, and back from it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

import docker
from pipeline.domain.volumes import backup_state
from pipeline.lib import codec
from pipeline.runtime.embedded_store import url
from pipeline.store import Store
from tests.support.developer import web
from tests.support.object_store import ObjectStore
from tests.support.object_store import running as object_store
from tests.support.service import Service, running
from tests.support.waiting import until

pytestmark = pytest.mark.timeout(1200)  # the object store's program may have to be built first
CONFIG = """\
pipelines:
  hello:
    service:
      memory: 128MiB
      stop: 1s
      volumes:
        data:
          path: /data
          after_backup: [sh, -c, "while [ -e /data/wait ]; do sleep 0.1; done"]
          backup: {every: 1d, keep: 1, to: "s3://backups/all"}
    environments: {live: }
"""
KEEPS = (  # a release adds its name to a file, and shows it
    "echo $PUSHLIVE_RELEASE >>/data/releases; ln -s /data/releases /tmp; cp /www/index.html /tmp; "
    "exec httpd -f -p 0.0.0.0:8080 -h /tmp"
)
FACT, FOLDER, DAY = "backup:hello/live/data", "hello/live/data", 86400.0


@pytest.fixture(scope="module")
def bucket() -> Iterator[ObjectStore]:
    with object_store("backups") as found:
        yield found


@pytest.fixture(scope="module")
def service(docker_client: docker.DockerClient, base_images: None, bucket: ObjectStore) -> Iterator[Service]:
    with running(docker_client, CONFIG, **bucket.settings) as one:
        one.push(web(command=KEEPS), "One")
        assert one.run()["outcome"] == "live", one.run()["failure"]
        yield one


def row(service: Service) -> dict[str, Any]:
    [found] = service.ask("GET", "/api/backups?of=hello")["backups"]
    return dict(found)


def good(service: Service) -> str:
    """The name of the last good one, "" if there is none."""
    found = row(service)["good"]
    return str(found["file"]) if found else ""


def a_day_later(service: Service) -> None:
    """As the record is once the last backup, and the last attempt, are a day old."""
    store = Store(url(service.data), service.instance)
    try:
        state = backup_state(store.facts.get(FACT))
        assert state.good
        old = replace(state.good, at=state.good.at - DAY)
        store.facts.set(FACT, codec.dump(replace(state, good=old, made=old, tried=state.tried - DAY)))
    finally:
        store.client.close()


def parts(service: Service) -> list[str]:
    return [one.name for one in (service.data / "backups" / FOLDER).glob(".*.part")]


def test_what_is_due_is_made_kept_sent_and_shown(service: Service, bucket: ObjectStore) -> None:
    until(lambda: good(service), 60)
    found, file = row(service), good(service)
    assert [one["file"] for one in found["kept"]] == [file]
    assert (found["copies"], found["copies_problem"], found["problem"]) == (found["kept"], "", "")
    assert bucket.objects("backups") == [f"all/{FOLDER}/{file}"]
    assert "backup of hello/live/data" in service.pushlive("status", "hello").out
    assert file in service.pushlive("backups", "hello").out


def test_fault_61_a_keeper_that_is_killed_half_way_leaves_none_that_counts(
    service: Service, bucket: ObjectStore
) -> None:
    before = row(service)["kept"]
    service.pushlive("exec", "hello", "live", "--", "touch", "/data/wait")
    a_day_later(service)
    until(lambda: parts(service), 60)
    service.kill()
    assert parts(service)
    service.up()
    assert row(service)["kept"] == before
    service.pushlive("exec", "hello", "live", "--", "rm", "/data/wait")
    a_day_later(service)
    until(lambda: good(service) != before[0]["file"], 90)
    assert [one["file"] for one in row(service)["kept"]] == [
        good(service)
    ]  # `keep` took the older one, here and there
    assert parts(service) == []
    until(lambda: bucket.objects("backups") == [f"all/{FOLDER}/{good(service)}"], 30)


def test_an_empty_machine_has_its_data_back_from_the_bucket(service: Service, bucket: ObjectStore) -> None:
    last, data = good(service), service.page(path="/releases")
    service.end()
    service.pushlive("down", "--all")
    shutil.rmtree(service.data)
    volume = f"{service.instance}-hello-live-data"
    for one in service.engine.containers(
        all=True, filters={"volume": volume}
    ):  # of the process that was killed
        service.engine.remove_container(one["Id"], force=True)
    service.engine.remove_volume(volume)
    service.config.write_text(CONFIG.replace("every: 1d, ", ""))
    service.up()
    service._repositories.clear()
    shutil.rmtree(service.folder / "clone-hello")
    service.push(web(command=KEEPS), "Again")
    assert service.page(path="/releases") == "r1\n"
    assert last in service.pushlive("backups", "hello").out
    restored = "volume", "restore", "hello/live/data"
    service.pushlive(*restored, "--kept", "latest", "--stop")
    assert service.page(path="/releases") == f"{data}r1\n"
    service.pushlive(*restored, "--from", f"s3://backups/all/{FOLDER}/{last}", "--stop")
    assert service.page(path="/releases") == f"{data}r1\n"
    other = service.pushlive(*restored, "--from", "s3://others/x/hello/live/data/x.tar", "--stop", code=3)
    assert "no backup in a bucket that pipelines.yaml names" in other.err
    assert [one.name for one in (service.data / "backups" / FOLDER).iterdir()] == []
