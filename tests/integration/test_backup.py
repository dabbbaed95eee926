"""A backup of a running service restores everything that was destroyed."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from typing import Any

import pytest

import docker
from tests.support.developer import web
from tests.support.service import Service, running
from tests.support.waiting import until

CONFIG = """
pipelines:
  hello: {service: {memory: 128MiB, stop: 1s}, environments: {dev: , live: }}
  other: {service: {memory: 128MiB, stop: 1s}, environments: {live: }}
"""


@pytest.fixture
def service(docker_client: docker.DockerClient, base_images: None) -> Iterator[Service]:
    with running(docker_client, CONFIG) as one:
        yield one


def known(service: Service) -> dict[str, Any]:
    """What a person relies on: numbers, ends, releases, what serves, holds, quarantines, tokens."""
    tokens = service.ask("GET", "/api/tokens")["tokens"]
    found: dict[str, Any] = {"tokens": [{**token, "used": None} for token in tokens]}
    for name in ("hello", "other"):
        runs = [{k: run[k] for k in ("number", "outcome", "release", "commit")} for run in service.runs(name)]
        places = {
            key: {k: one.get(k) for k in ("release", "hold", "quarantine", "active")}
            for key, one in service.environments(name).items()
        }
        found[name] = (runs, places)
    return found


def test_everything_destroyed_comes_back_from_a_backup(service: Service) -> None:
    service.push(web("hello 1"))
    service.push(web("other 1"), name="other")
    service.push(web("hello 2"))
    service.push(web("hello 3"))
    service.pushlive("revert", "hello")  # a hold, and a quarantine
    token = service.pushlive("token", "create", "ann", "--role", "viewer").out.split()[-1]
    before, heads = known(service), service.repository().git("ls-remote", "pushlive")
    assert before["hello"][1]["live"]["release"] == 2
    log = service.log("hello#1")
    file = service.folder / "kept.tgz"

    assert "tokens, keys" in service.pushlive("backup", str(file)).out
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert service.page() == "hello 2\n"  # nobody noticed
    running_still = service.pushlive("restore", str(file), code=3)
    assert "is running" in running_still.err

    # The service alone ends, its folder is lost; what serves goes on serving, and is taken up again.
    service.end()
    shutil.rmtree(service.data)
    service.pushlive("restore", str(file))
    service.up()
    assert known(service) == before
    until(lambda: service.page() == "hello 2\n", 30)
    until(lambda: service.page("live", name="other") == "other 1\n", 30)
    assert service.repository().git("ls-remote", "pushlive") == heads
    assert service.log("hello#1") == log
    service.pushlive("audit", "--verify")

    # Everything: applications, proxy, images, data.
    service.end()
    service.pushlive("down", "--all")
    shutil.rmtree(service.data)
    for image in service.engine.images(filters={"label": f"pushlive.instance={service.instance}"}):
        service.engine.remove_image(image["Id"], force=True)
    service.pushlive("restore", str(file))
    service.up()
    assert known(service) == before
    headers = {"Authorization": f"Bearer {token}"}
    assert service.http("GET", "/api/status", None, headers)[0] == 200
    until(lambda: "not ready" in service.pushlive("status", "hello").out, 30)
    refused = service.pushlive("revert", "hello", code=None)
    assert refused.code != 0

    # A deploy builds anew, under the next number; hold and quarantine are still there and are lifted by hand.
    service.pushlive("resume", "hello")
    again = service.pushlive("deploy", "hello", code=1)
    assert "r3, which is in quarantine in live" in again.text  # the same tree gives the same image
    service.pushlive("unquarantine", "hello", "r3")
    service.pushlive("retry", "hello")
    latest = service.run("hello")
    assert latest["outcome"] == "live", latest
    assert latest["number"] == before["hello"][0][-1]["number"] + 2
    assert service.page() == "hello 3\n"
    assert os.listdir(service.data / "git")
