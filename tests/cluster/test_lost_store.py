"""The store is lost while everything serves on a cluster: nothing is changed there, and what runs is adopted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import docker
from pipeline.adapters.kubernetes.api.client import connect
from pipeline.adapters.kubernetes.api.kube_api import KubeApi
from pipeline.adapters.kubernetes.names import DETACHED
from pipeline.adapters.kubernetes.pods.state import is_ready
from pipeline.adapters.kubernetes.probe import proxy_path
from tests.cluster.callers import Callers
from tests.support.clusterbench import end_namespace, make_namespace
from tests.support.developer import web
from tests.support.service import Service, running
from tests.support.waiting import until

CONFIG = """
pipelines:
  hello:
    registry: REGISTRY/SPACE-hello
    service: {memory: 128MiB, cpu: 200m, stop: 1s, drain: 1s, ready: 60s}
    environments: {live: {engine: {namespace: SPACE}, replicas: 2}}
"""


@pytest.fixture
def api(kubeconfig: Path, instance: str) -> Iterator[KubeApi]:
    space = f"{instance}-lost"
    one = KubeApi(lambda: connect("", space))
    make_namespace(one, space)
    yield one
    end_namespace(one, space)


@pytest.fixture
def service(
    docker_client: docker.DockerClient, base_images: None, api: KubeApi, registry: str
) -> Iterator[Service]:
    config = CONFIG.replace("REGISTRY", registry).replace("SPACE", api.namespace)
    with running(docker_client, config) as one:
        yield one


def pods(api: KubeApi) -> dict[str, Any]:
    """When each pod was created."""
    found = api.find("Pod", {"pushlive/pipeline": "hello"})
    alive = (one for one in found if "deletionTimestamp" not in one["metadata"])
    return {one["metadata"]["name"]: one["metadata"]["creationTimestamp"] for one in alive}


def marks(api: KubeApi) -> dict[str, str]:
    """The annotations of r1's Deployment."""
    found = api.get("Deployment", "hello-live-blue")
    assert found
    return dict(found["metadata"]["annotations"])


def page(api: KubeApi) -> str:
    answer = api.raw("GET", f"{proxy_path(api, 'hello-live')}/", "asking", headers={"Accept": "*/*"})
    return str(answer.data.decode())


def address(api: KubeApi) -> str:
    found = api.get("Service", "hello-live")
    assert found
    return str(found["spec"]["clusterIP"])


def test_fault_51_what_runs_on_a_cluster_is_adopted_without_an_outage(service: Service, api: KubeApi) -> None:
    service.push(web("version 1"))
    service.push(web("version 2"))
    until(lambda: page(api) == "version 2\n", 60)
    # The pods of r1 are replaced once `drain` is over, which ends the connections that they still have.
    until(lambda: DETACHED in marks(api), 60)
    until(lambda: len(pods(api)) == 4, 60)
    until(lambda: all(map(is_ready, api.find("Pod", {"pushlive/pipeline": "hello"}))), 60)
    before = pods(api)

    with Callers(address(api)).fresh(2) as callers:
        service.kill()
        (service.data / "store").rename(service.data / "store.lost")
        service.up(ready=503)
        status = service.ask("GET", "/api/status")["unknown_store"]
        assert f"hello/live (green) is on kubernetes:/{api.namespace}" in status
        callers.round()
        assert pods(api) == before

        said = service.pushlive("adopt").out
        assert "hello/live: r1 (blue) is warm, r2 (green) serves" in said
        until(lambda: doctor(service).get("hello/live", "").startswith("green serves, as recorded"), 60)
        callers.round()
        assert pods(api) == before

        service.pushlive("revert", "hello")
        assert service.run()["number"] == 3
        assert service.releases() == {"live": 1}
        service.pushlive("resume", "hello")
        url = f"http://ann:{service.token}@{service.listen}/git/hello.git"
        one = service.repository()
        one.commit(web("version 3"), "Three")
        one.git("push", url, "main")
        assert service.releases() == {"live": 3}
        assert callers.lost == []
    assert service.run()["number"] == 4


def doctor(service: Service) -> dict[str, str]:
    return {one["name"]: one["text"] for one in service.ask("GET", "/api/doctor")["checks"]}
