"""The store is lost while everything serves: nobody notices, and a person decides."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import docker
from pipeline.runtime.embedded_store import url
from pipeline.store import Store
from tests.support.developer import sample
from tests.support.load import Load, release_of
from tests.support.ports import free_ports
from tests.support.service import Service, running
from tests.support.waiting import until

CONFIG = """
pipelines:
  hello:
    service: {memory: 128MiB, stop: 1s, drain: 1s}
    environments: {dev: , live: {replicas: 2}}
  other: {service: {memory: 128MiB, stop: 1s, drain: 1s}, environments: {live: }}
  jobs:
    service: {memory: 128MiB, stop: 1s, web: false, processes: {worker: {command: [sleep, "9999"], settle: 0.1s}}}
    environments: {live: }
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


def test_fault_51_a_lost_store_is_noticed_and_what_runs_is_adopted_without_an_outage(
    service: Service,
) -> None:
    service.push(sample("1"), "One", "other")
    service.push(sample("1"), "One", "jobs")
    service.push(sample("2"), "Two", "jobs")
    service.push(sample("1"), "One")
    service.push(sample("2"), "Two")
    until(lambda: len(service.environments()["dev"]["slots"]) == 1, 60)  # only live keeps the old one warm
    before, indices = started(service), networks(service)
    routes = (service.data / "proxy" / "state.json").read_text()

    with Load(port_of(service), release_of, pause=0.05).fresh(2).kept_alive(1) as load:
        lose(service)
        told(service)
        refused(service)
        until(load.reached(40), 60)  # rounds of the keeper go by meanwhile
        assert set(load.answers) == {"r2"}
        assert started(service) == before
        assert (service.data / "proxy" / "state.json").read_text() == routes
        assert service.ask("GET", "/api/runs")["runs"] == []

        said = service.pushlive("adopt").out
        assert "hello/live: r1 (blue) is warm, r2 (green) serves" in said
        assert re.search(r"jobs/live: (r1 \(blue\) is kept for a while, )?r2 \(green\) serves", said)
        assert "All tokens are lost" in said
        assert service.api("GET", "/healthz")[0] == 200
        until(lambda: keeper_rounds(service) > 0, 60)  # it finds nothing to repair
        checks = {one["name"]: one["text"] for one in service.ask("GET", "/api/doctor")["checks"]}
        assert checks["hello/live"] == "green serves, as recorded"
        assert service.releases() == {"dev": 2, "live": 2}
        assert service.releases("other") == {"live": 1}
        assert service.releases("jobs") == {"live": 2}
        assert service.environments()["live"]["revert"]["text"] == "revert ready: r1, warm"
        assert started(service) == before

        # The warm slot takes the traffic back, and the next push goes on with the numbers.
        service.pushlive("revert", "hello")
        assert service.run()["number"] == 3
        assert started(service) == before
        service.pushlive("resume", "hello")
        service.repository().git("push", address(service), "main")
        assert service.releases() == {"dev": 3, "live": 3}
        assert load.failures == []
    assert set(load.answers) == {"r1", "r2", "r3"}
    assert networks(service) == indices
    service.pushlive("audit", "--verify")


def lose(service: Service) -> None:
    """Everything of the service ends, its store is moved away, and it is started again."""
    service.kill()
    (service.data / "store").rename(service.data / "store.lost")
    service.up(ready=503)


def told(service: Service) -> None:
    """Every place where people look says what was found and what to do."""
    status = service.ask("GET", "/api/status")["unknown_store"]
    assert "hello/live (green) is on docker" in status
    assert "the proxy serves hello-live (green)" in status
    assert "the repository hello has commits" in status
    assert "pushlive adopt" in service.output
    assert "pushlive adopt" in service.pushlive("status").err
    assert "pushlive adopt" in service.pushlive("doctor", code=1).out
    assert service.api("GET", "/healthz")[1]["ok"] is False


def refused(service: Service) -> None:
    """Nothing is accepted: no deploy, and no push, with an old token or the new one."""
    assert "no records of this installation" in service.pushlive("deploy", "hello", code=5).err
    one = service.repository()
    commit = one.commit(sample("3"), "Three")
    for remote, text in (("pushlive", "every token"), (address(service), "no records of this installation")):
        pushed = one.started("push", remote, "main")
        assert text in pushed.communicate(timeout=60)[0]
        assert pushed.returncode != 0
    assert commit not in one.git("ls-remote", address(service))


def address(service: Service) -> str:
    """The repository with the token of now."""
    return f"http://ann:{service.token}@{service.listen}/git/hello.git"


def port_of(service: Service) -> int:
    """The loopback port of hello's live environment, from the index that its network has."""
    return service.ports[networks(service)[f"{service.instance}-hello-live"]]


def networks(service: Service) -> dict[str, int]:
    """The index of each environment's network."""
    found = service.engine.networks(filters={"label": f"pushlive.instance={service.instance}"})
    return {one["Name"]: int(one["Labels"]["pushlive.index"]) for one in found}


def keeper_rounds(service: Service) -> int:
    """How many rounds of maintenance this store knows of."""
    store = Store(url(service.data), service.instance)
    return store.metrics.read().keeper_rounds


def test_a_second_service_of_the_instance_is_refused_and_not_offered_what_the_first_one_runs(
    service: Service, tmp_path: Path
) -> None:
    port = free_ports(1)
    other = {"PUSHLIVE_DATA": str(tmp_path / "other"), "PUSHLIVE_LISTEN": f"127.0.0.1:{port}"}
    said = service.pushlive("up", code=None, **other)
    assert said.code != 0
    assert f"another service already runs the instance '{service.instance}'" in said.text
    assert str(service.data) in said.text
    assert "adopt" not in said.text
