"""The service on a machine without a Docker Engine, with all environments on a cluster: it starts, reports what it
cannot do, and cleans up."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

import docker
from tests.support.service import Service, running
from tests.support.waiting import until

CONFIG = """\
pipelines:
  hello:
    registry: localhost:15000/hello
    environments: {live: {engine: {namespace: NAMESPACE}}}
"""


@pytest.fixture(scope="module")
def service(docker_client: docker.DockerClient, namespace: str) -> Iterator[Service]:
    nobody = "unix:///nonexistent/docker.sock"
    with running(docker_client, CONFIG.replace("NAMESPACE", namespace), DOCKER_HOST=nobody) as one:
        yield one


def test_it_starts_and_reports_that_nothing_can_be_built(service: Service) -> None:
    assert "Builds fail until then; what is live keeps serving" in service.output
    until(lambda: service.pushlive("doctor", code=None).code == 0, 30)  # as soon as the keeper is at work
    found = json.loads(service.pushlive("doctor", "--json").out)["checks"]
    checks = {one["name"]: one for one in found}
    assert checks["builder"]["ok"]
    assert "a revert needs no builder" in checks["builder"]["text"]
    assert "Docker does not answer" in checks["builder"]["text"]
    [cluster] = [one for name, one in checks.items() if name.startswith("kubernetes")]
    assert "this account has every permission it needs" in cluster["text"]


def test_gc_cleans_up_without_docker_and_says_what_it_could_not_see(service: Service) -> None:
    (said,) = service.pushlive("gc").out.splitlines()
    assert said.startswith("old images and the build cache were left as they are: Connecting to Docker")


def test_down_removes_what_is_on_the_cluster_and_skips_docker(service: Service) -> None:
    service.pushlive("down")
    done = service.pushlive("down", "--all")
    assert "Nothing more was removed there" in done.text
    assert "Kept the images" in done.out
