"""Data that outlives releases, through the whole service on the real Engine."""

from __future__ import annotations

import io
import json
import shlex
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

import docker
from pipeline.adapters.docker_api.api import DockerApi
from tests.support.developer import web
from tests.support.paths import ROOT
from tests.support.service import Service, running

CONFIG = """\
pipelines:
  hello:
    service:
      memory: 128MiB
      stop: 1s
      volumes: {data: {path: /data, before_backup: [sh, -c, "echo frozen >/data/frozen"], backup: {keep: 2}}}
    environments: {live: }
"""
# Each release adds its name to a file, and shows it.
KEEPS = (
    "echo $PUSHLIVE_RELEASE >>/data/releases; ln -s /data/releases /tmp/releases; cp /www/index.html /tmp; "
    "exec httpd -f -p 0.0.0.0:8080 -h /tmp"
)


@pytest.fixture(scope="module")
def service(docker_client: docker.DockerClient, base_images: None) -> Iterator[Service]:
    with running(docker_client, CONFIG) as one:
        yield one


def keeping(note: str) -> dict[str, str | bytes]:
    dockerfile = str(web(command=KEEPS)["Dockerfile"])
    return web(note, Dockerfile=dockerfile.replace("CMD", "RUN mkdir /data\nVOLUME /data\nCMD"))


def guide() -> list[list[str]]:
    """The commands of the guide about backups, without the last one, which removes a volume."""
    page = (ROOT / "docs" / "guides" / "data.md").read_text().partition("## Backups\n")[2]
    commands = page.rpartition("```\n")[0].rpartition("```\n")[2].splitlines()
    assert commands[-1].startswith("pushlive volume rm")
    return [shlex.split(one)[1:] for one in commands[:-1]]


def test_data_stays_through_releases_backups_and_removals(service: Service) -> None:
    first = service.push(keeping("one"), "One")
    assert "VOLUME" not in first
    assert "has written" not in service.push(keeping("two"), "Two")
    assert service.page(path="/releases") == "r1\nr2\n"

    listed = service.pushlive("volume", "list").out
    assert "hello/live/data" in listed
    backup = service.folder / "data.tar"
    service.pushlive("volume", "backup", "hello/live/data", "--to", str(backup))
    with tarfile.open(backup) as archive:
        names = {one.name.removeprefix("./") for one in archive}
    assert {"releases", "frozen"} <= names

    refused = service.pushlive("volume", "restore", "hello/live/data", "--from", str(backup), code=3)
    assert "--stop" in refused.err
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        member = tarfile.TarInfo("./releases")
        member.size = 4
        archive.addfile(member, io.BytesIO(b"old\n"))
    other = service.folder / "other.tar"
    other.write_bytes(out.getvalue())
    said = service.pushlive("volume", "restore", "hello/live/data", "--from", str(other), "--stop").out
    assert "r1 is no longer kept warm" in said
    assert "r2 serves again" in said
    restored = service.page(path="/releases")
    assert restored == "old\nr2\n"  # what was kept warm writes nothing into files of another time

    (service.folder / "cut.tar").write_bytes(other.read_bytes()[:1024])
    cut = service.pushlive(
        "volume", "restore", "hello/live/data", "--from", str(service.folder / "cut.tar"), "--stop", code=3
    )
    assert "not complete" in cut.err
    assert service.page(path="/releases") == restored

    for command in guide():
        service.pushlive(*command)
    assert service.page(path="/releases") == f"{restored}r2\nr2\n"  # of the backup, and the start after it
    [one] = json.loads(service.pushlive("backups", "--json").out)["backups"]
    assert (one["good"], one["problem"]) == (one["kept"][0], "")
    assert "backup of hello/live/data" in service.pushlive("status", "hello").out

    assert service.pushlive("volume", "rm", "hello/live/data", "--yes", "hello", code=2).err
    assert (
        "in use"
        in service.pushlive("volume", "rm", "hello/live/data", "--yes", "hello/live/data", code=3).err
    )
    service.config.write_text(CONFIG.replace("hello:", "shop:"))
    page = (ROOT / "docs" / "guides" / "data.md").read_text().partition("is renamed\n")[2]
    for one in page.split("```\n")[1].splitlines():
        moved = service.pushlive(*shlex.split(one)[1:]).out
    assert "shop/live/data has all files of hello/live/data" in moved
    assert "of shop/live/data now." in moved
    assert [row["owner"] for row in service.ask("GET", "/api/backups")["backups"] if row["kept"]] == ["shop"]
    service.pushlive("volume", "backup", "shop/live/data", "--to", str(backup))
    with tarfile.open(backup) as archive:
        found = archive.extractfile("./releases").read().decode()  # type: ignore[union-attr]
    assert found.startswith(restored)  # a container that was started again meanwhile has added its name
    service.config.write_text("pipelines: {}\n")
    service.end()
    service.pushlive("down", "--all")
    kept = f"{service.instance}-shop-live-data"
    names = [one["Name"] for one in service.engine.volumes(filters={"name": service.instance})["Volumes"]]
    assert names == [kept]


def test_several_may_ask_for_sizes_at_once(docker_client: docker.DockerClient) -> None:
    """The Engine itself counts for one at a time, and refuses the others."""
    api = DockerApi(lambda: docker_client)
    with ThreadPoolExecutor(3) as pool:
        found = [pool.submit(api.counted_volumes) for _ in range(3)]
        assert all(isinstance(one.result(60), list) for one in found)
