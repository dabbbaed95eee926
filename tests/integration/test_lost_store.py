"""The store is lost while everything serves: nobody notices, and a person decides."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import docker
from tests.support.developer import sample
from tests.support.load import Load, release_of
from tests.support.service import Service, running
from tests.support.waiting import until

CONFIG = """
pipelines:
  hello:
    service: {memory: 32MiB, stop: 1s, drain: 1s}
    environments: {dev: , live: {replicas: 2}}
  other: {service: {memory: 32MiB, stop: 1s, drain: 1s}, environments: {live: }}
"""


@pytest.fixture(scope="module")
def service(docker_client: docker.DockerClient, base_images: None) -> Iterator[Service]:
    with running(docker_client, CONFIG) as one:
        yield one


def started(service: Service) -> dict[str, Any]:
    """When each container of the installation was started, the proxy among them."""
    label = f"pushlive.instance={service.instance}"
    found = service.engine.containers(all=True, filters={"label": label})
    inspected = [service.engine.inspect_container(one["Id"]) for one in found]
    return {one["Name"]: one["State"]["StartedAt"] for one in inspected}


def test_fault_51_a_lost_store_is_noticed_and_what_serves_keeps_serving(service: Service) -> None:
    service.push(sample("1"), "One", "other")
    service.push(sample("1"), "One")
    service.push(sample("2"), "Two")
    port = int(service.environments()["live"]["url"].rpartition(":")[2])
    routes = (service.data / "proxy" / "state.json").read_text()
    before = started(service)

    with Load(port, release_of, pause=0.02).fresh(2).kept_alive(1) as load:
        service.kill()
        (service.data / "store").rename(service.data / "store.lost")
        service.up(ready=503)
        status = service.ask("GET", "/api/status")
        assert "hello/live (green) is on docker" in status["unknown_store"]
        assert "the proxy serves hello-live (green)" in status["unknown_store"]
        assert "the repository hello has commits" in status["unknown_store"]
        assert "pushlive adopt" in service.output
        assert "pushlive adopt" in service.pushlive("status").err
        assert "pushlive adopt" in service.pushlive("doctor", code=1).out
        code, health = service.api("GET", "/healthz")
        assert (code, health["ok"]) == (503, False)
        refused = service.pushlive("deploy", "hello", code=5)
        assert "no records of this installation" in refused.err

        one = service.repository()
        commit = one.commit(sample("3"), "Three")
        pushed = one.started("push", "pushlive", "main")
        assert "has lost its records, and with them every token" in pushed.communicate(timeout=60)[0]
        assert pushed.returncode != 0
        url = f"http://ann:{service.token}@{service.listen}/git/hello.git"
        pushed = one.started("push", url, "main")
        assert "no records of this installation" in pushed.communicate(timeout=60)[0]
        assert pushed.returncode != 0
        assert commit not in one.git("ls-remote", url)

        until(load.reached(100), 60)  # rounds of the keeper go by meanwhile
        assert load.failures == []
    assert set(load.answers) == {"r2"}
    assert started(service) == before
    assert (service.data / "proxy" / "state.json").read_text() == routes
    assert service.ask("GET", "/api/runs")["runs"] == []
