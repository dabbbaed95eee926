"""The real service refuses what a month may not cost, and lets it in once the cap is raised."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import docker
from tests.support.developer import web
from tests.support.service import Service, running
from tests.support.waiting import until

CONFIG = """
costs: {machines: {here: 1000}, pipelines: {hello: 0.01}}
pipelines:
  hello:
    service: {memory: 128MiB, cpu: 500m, stop: 1s}
    environments: {live: }
"""


@pytest.fixture(scope="module")
def service(docker_client: docker.DockerClient, base_images: None) -> Iterator[Service]:
    with running(docker_client, CONFIG) as one:
        yield one


def test_a_first_deploy_is_refused_beyond_the_cap_and_goes_live_once_it_is_raised(service: Service) -> None:
    until(lambda: service.ask("GET", "/api/cost")["began"], 60)
    service.push(web("version 1"), "One")
    refused = service.run("hello#1")
    assert refused["outcome"] == "failed"
    assert "hello/live would add" in refused["failure"]["message"]
    assert "its cap is 0.01 EUR" in refused["failure"]["message"]
    service.config.write_text(CONFIG.replace("0.01", "2000"))
    until(lambda: service.ask("GET", "/api/cost")["caps"][0]["cap"] == 2000)
    service.pushlive("retry", "hello#1")
    assert service.run("hello#2")["outcome"] == "live"
    assert "Of the cap of 2000.00 EUR of hello: " in service.pushlive("cost").text
