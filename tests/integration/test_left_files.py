"""Files that a container has written, as the real Engine tells them."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator

import pytest

import docker
from tests.support.developer import web
from tests.support.service import Service, running

CONFIG = "pipelines: {hello: {service: {memory: 128MiB, stop: 1s}, environments: {live: }}}\n"
WRITES = (
    "echo 1 >/kept; mkdir -p /srv/a; echo 2 >/srv/a/b; echo 3 >/data/row; echo x >/tmp/x; echo $$ >/run/web.pid;"
    " exec httpd -f -p 0.0.0.0:8080 -h /www"
)


@pytest.fixture(scope="module")
def service(docker_client: docker.DockerClient, base_images: None) -> Iterator[Service]:
    with running(docker_client, CONFIG) as one:
        yield one


def test_files_in_a_container_and_in_a_volume_are_said_before_their_release_ends(service: Service) -> None:
    dockerfile = str(web(command=WRITES)["Dockerfile"])
    volume = "RUN mkdir /data && echo old >/data/shipped && echo old >/shipped\nVOLUME /data\nCMD"
    files = web(Dockerfile=dockerfile.replace("CMD", volume))
    first = service.push(files, "Writes")
    assert "the image declares VOLUME /data; what is written there ends with the release" in first
    second = service.push(web("quiet"), "Quiet")
    assert "hello/live r1 wrote 3 files (/kept, 2 B; /srv/a/b, 2 B; /data/row, 2 B) that end with" in second
    with tarfile.open(service.data / "left-files" / "hello_live.tar") as tar:
        names = {member.name for member in tar if member.isreg()}
        assert names == {"1/kept", "1/srv/a/b", "1/data/row", "1/data/shipped"}
        assert tar.extractfile("1/srv/a/b").read() == b"2\n"  # type: ignore[union-attr]
    assert " wrote " not in service.push(web("quiet as well"), "Quiet as well")
