"""A service that is killed while it copies a volume on the real Engine: no release begins with half of the files."""

from __future__ import annotations

import io
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import docker
from pipeline.adapters.docker_api import labels
from tests.integration.test_volumes import keeping
from tests.support.service import PUSHLIVE, Service, running
from tests.support.waiting import until

CONFIG = """\
pipelines:
  hello:
    service: {memory: 128MiB, stop: 1s, volumes: {data: /data}}
    environments: {live: }
"""
LARGE = 192 << 20  # bytes: the copy and its comparison take a while
MOVE = ("volume", "mv", "hello/live/data", "shop/live/data", "--yes", "hello/live/data")


@pytest.fixture
def service(docker_client: docker.DockerClient, base_images: None) -> Iterator[Service]:
    with running(docker_client, CONFIG) as one:
        yield one


def write_large(file: Path) -> None:
    with tarfile.open(file, "w") as archive:
        member = tarfile.TarInfo("./large")
        member.size = LARGE
        archive.addfile(member, io.BytesIO(b"x" * LARGE))
        short = tarfile.TarInfo("./releases")
        short.size = 3
        archive.addfile(short, io.BytesIO(b"r0\n"))


def copying(service: Service) -> bool:
    """Whether a helper has both volumes."""
    found = service.engine.containers(
        filters={"label": [f"{labels.INSTANCE}={service.instance}", f"{labels.ROLE}=helper"]}
    )
    return any(len(one["Mounts"]) > 1 for one in found)


def test_a_push_after_a_copy_that_was_killed_is_refused_until_it_is_repeated(service: Service) -> None:
    service.push(keeping("one"), "One")
    archive = service.folder / "large.tar"
    write_large(archive)
    service.pushlive("volume", "restore", "hello/live/data", "--from", str(archive), "--stop")
    service.config.write_text(CONFIG.replace("hello:", "shop:"))
    until(lambda: "shop" in service.pushlive("status").out)
    service.pushlive("gc", "--yes")
    moving = subprocess.Popen(
        [*PUSHLIVE, *MOVE], env=service.environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    until(lambda: copying(service))
    service.kill()
    moving.wait(60)
    service.up()

    said = service.push(keeping("two"), "Two", "shop")
    assert "shop/live/data does not have all data of hello/live/data yet" in said
    assert f"pushlive {' '.join(MOVE)}" in said
    assert "does not have all data" in service.pushlive("status", "shop").out
    assert "does not have all data" in service.pushlive("doctor", code=None).text
    names = [one["Name"] for one in service.engine.volumes(filters={"name": service.instance})["Volumes"]]
    assert f"{service.instance}-hello-live-data" in names

    assert "Removed the volume hello/live/data" in service.pushlive(*MOVE).out
    service.push(keeping("three"), "Three", "shop")
    assert service.page(path="/releases", name="shop").startswith("r0\n")
    assert "does not have all data" not in service.pushlive("status", "shop").out
