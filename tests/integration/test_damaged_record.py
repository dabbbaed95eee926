"""The record of what serves, damaged in the real store: made again from the containers of the real Engine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import docker
from pipeline.store.connection import connect
from tests.support.developer import web
from tests.support.service import Service, running
from tests.support.waiting import until

CONFIG = """\
pipelines:
  hello: {service: {memory: 64MiB, stop: 1s}, environments: {live: {keep_warm: 30m}}}
"""


@pytest.fixture
def service(docker_client: docker.DockerClient, base_images: None) -> Iterator[Service]:
    with running(docker_client, CONFIG) as one:
        yield one


def test_it_is_made_again_without_touching_what_serves(service: Service) -> None:
    service.push(web("one"), "One")
    service.push(web("two"), "Two")
    before = {one["Id"] for one in service.containers()}
    store = connect(f"unix://{service.data}/store/valkey.sock", timeout=5.0)
    store.hset(f"{service.instance}:environments:hello", "live", "{")
    store.close()
    until(lambda: "r2 serves. It is held" in service.output)
    assert {one["Id"] for one in service.containers()} == before
    assert "two" in service.page()
    shown = service.pushlive("status", "hello").out
    assert "its record was damaged" in shown
    service.pushlive("resume", "hello", "--env", "live", "--held-by", "keeper")
    service.pushlive("revert", "hello")
    assert "one" in service.page()
