"""People's commands in containers: ``pushlive run`` and ``exec``, by the command line, with and without a terminal."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

import docker
from tests.support.developer import web
from tests.support.service import PUSHLIVE, Service, running
from tests.support.waiting import until

CONFIG = """
pipelines:
  hello:
    service: {memory: 32MiB, stop: 1s, env: {GREETING: hello}, secrets: [TOKEN]}
    environments: {dev: {replicas: 2}, live: }
"""
SECRET = "s3cr3t-of-the-house"


@pytest.fixture(scope="module")
def service(docker_client: docker.DockerClient, base_images: None) -> Iterator[Service]:
    with running(docker_client, CONFIG) as one:
        given = subprocess.run(
            [*PUSHLIVE, "secret", "set", "hello", "TOKEN"], env=one.environ, input=SECRET, text=True,
            capture_output=True, timeout=60,
        )  # fmt: skip
        assert given.returncode == 0, given
        one.push(web("version 1"), "One")
        yield one


def sessions(service: Service) -> list[dict[str, object]]:
    """The containers that `run` has made."""
    filters = {"label": [f"pushlive.instance={service.instance}", "pushlive.session"]}
    found: list[dict[str, object]] = service.engine.containers(all=True, filters=filters)
    return found


def test_a_command_runs_in_a_fresh_container_with_what_the_release_has(service: Service) -> None:
    script = 'echo "$GREETING $PUSHLIVE_RELEASE"; echo "token: $TOKEN"; hostname; echo oh >&2; exit 7'
    done = service.pushlive("run", "hello", "dev", "--", "sh", "-c", script, code=7)
    first, second, host = done.out.splitlines()
    assert (first, second) == ("hello r1", "token: •••")
    assert done.err == "oh\n"
    assert host not in {one["Config"]["Hostname"] for one in service.containers(environment="dev")}
    until(lambda: not sessions(service))
    assert service.releases()["dev"] == 1
