"""An application whose answer to a check never ends: the check ends, and so does what a person asks for meanwhile."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator

import pytest

import docker
from tests.support.developer import web
from tests.support.service import Service, running
from tests.support.waiting import PATIENCE, until

CONFIG = """
pipelines:
  hello:
    service: {{memory: 128MiB, stop: 1s}}
    smoke: [{{get: "{path}", within: {within}, retry: 1s}}]
    environments: {{live: }}
"""
ENDLESS = 300  # seconds that the answer takes: what is measured here is far below it
SOON = 60  # seconds
DRIPS = f"""#!/bin/sh
touch /tmp/asked
printf 'Content-Type: text/plain\\r\\nContent-Length: 2000\\r\\n\\r\\n'
for second in $(seq {ENDLESS}); do printf x; sleep 1; done
"""


@pytest.fixture(scope="module")
def service(docker_client: docker.DockerClient, base_images: None) -> Iterator[Service]:
    with running(docker_client, CONFIG.format(path="/", within="5s")) as one:
        for version in ("version 1", "version 2"):
            one.push({**web(version), "www/cgi-bin/drips": DRIPS}, version)
        yield one


def asked(service: Service, known: int) -> bool:
    """The release of a run after ``known`` gets the check that does not end."""
    run = service.run()
    if run["number"] <= known or not run["release"]:
        return False
    return any(
        subprocess.run(
            ["docker", "exec", one["Id"], "test", "-e", "/tmp/asked"], capture_output=True
        ).returncode
        == 0
        for one in service.containers(release=str(run["release"]))
    )


def deploys(service: Service, version: str) -> subprocess.Popen[str]:
    """A push whose check does not end, once it is asked."""
    service.config.write_text(CONFIG.format(path="/cgi-bin/drips", within="4m"))
    clone = service.repository()
    clone.commit(web(version), version)
    known = service.run()["number"]
    pushing = clone.started("push", "pushlive", "main")
    until(lambda: asked(service, known), 60)
    return pushing


def test_fault_50_a_body_that_drips_fails_the_check_within_its_limit(service: Service) -> None:
    service.config.write_text(CONFIG.format(path="/cgi-bin/drips", within="2s"))
    service.push(web("version 3"), "Three")
    run = service.run()
    assert run["outcome"] == "failed"
    assert "no complete answer within 2 s" in run["failure"]["message"]
    check = run["checks"]["live"][-1]
    assert 2 <= check["seconds"] < 2 + SOON / 2
    assert service.page() == "version 2\n"


def test_fault_50_a_cancellation_during_a_check_that_hangs_ends_the_run(service: Service) -> None:
    pushing = deploys(service, "version 4")
    began = time.monotonic()
    service.pushlive("cancel", f"hello#{service.run()['number']}")
    run = service.wait("hello", seconds=SOON)
    assert time.monotonic() - began < SOON * PATIENCE
    assert run["outcome"] == "cancelled"
    pushing.communicate(timeout=SOON)
    assert service.page() == "version 2\n"


def test_fault_50_a_revert_during_a_check_that_hangs_takes_effect(service: Service) -> None:
    pushing = deploys(service, "version 5")
    deploy = service.run()
    service.pushlive("revert", "hello", "--to", "r1")
    assert service.page() == "version 1\n"
    revert = service.run()
    assert (revert["kind"], revert["outcome"]) == ("revert", "live")
    assert revert["ended"] - revert["accepted"] < SOON * PATIENCE
    pushing.communicate(timeout=SOON)
    assert service.run(f"hello#{deploy['number']}")["outcome"] == "cancelled"
