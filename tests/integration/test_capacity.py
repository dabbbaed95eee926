"""How much more fits on this machine, by the whole service: what the guide says, typed and on the page."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import docker
from tests.support.developer import web
from tests.support.paths import ROOT
from tests.support.service import Service, running
from tests.support.waiting import until

CONFIG = """
costs: {currency: EUR, machines: {here: 12.50}}
pipelines:
  hello:
    service: {memory: 128MiB, cpu: 250m, stop: 1s}
    environments: {live: }
"""


@pytest.fixture(scope="module")
def service(docker_client: docker.DockerClient, base_images: None) -> Iterator[Service]:
    with running(docker_client, CONFIG) as one:
        yield one


def test_the_guides_command_says_what_this_machine_has(service: Service, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "guides" / "capacity.md").read_text()
    assert page.partition("```\n$ ")[2].startswith("pushlive capacity\n")
    service.push(web(), "One")

    def looked() -> bool:
        return json.loads(service.pushlive("capacity", "--json").out)["machines"][0]["looked"] is not None

    until(looked, 60)
    found = json.loads(service.pushlive("capacity", "--json", cwd=tmp_path).out)
    (machine,) = found["machines"]
    assert (machine["engine"], machine["name"], machine["monthly"]) == ("docker", "here", 12.5)
    assert machine["promised"] == {"cores": 0.25, "memory": 128 << 20}
    assert 0 < machine["used"]["memory"] < machine["has"]["memory"]
    assert 0 < machine["used"]["disk"] < machine["has"]["disk"]
    assert machine["takers"]["images"] > 0
    disk = shutil.disk_usage(service.data)
    assert found["data"]["disk"] == disk.used + disk.free
    assert {"store", "logs"} <= set(found["data"]["takers"])
    said = service.pushlive("capacity").out
    for row in ("has ", "promised ", "used by everything ", "The disk has images", "There is a trend from"):
        assert row in said
    assert "disk of this machine" not in service.pushlive("doctor").out
