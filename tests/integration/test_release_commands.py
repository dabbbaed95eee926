"""Release commands on a real service with Docker: a migration, undone, killed half-way, and abandoned."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

import pytest

import docker
from tests.support.developer import Files, web
from tests.support.paths import ROOT
from tests.support.service import Service, running
from tests.support.waiting import until

CONFIG = """
pipelines:
  hello:
    service:
      memory: 128MiB
      stop: 1s
      volumes: {data: /data}
      release: {command: [./migrate, up], back: [./migrate, down], reversible: false}
    environments: {live: }
  easy:
    service: {memory: 128MiB, stop: 1s, release: {command: [sleep, "600"], cancel: true}}
    environments: {live: }
  slow:
    service: {memory: 128MiB, stop: 1s, release: {command: [sleep, "600"], timeout: 2s}}
    environments: {live: }
"""
ENTRY = '#!/bin/sh\necho "entry: $@"\nexec "$@"\n'
MIGRATE = """#!/bin/sh
sleep %s
echo "$PUSHLIVE_RELEASE $1" >>/data/history
[ "$1" = up ] && echo "$PUSHLIVE_RELEASE" >/data/schema || echo "before $PUSHLIVE_RELEASE" >/data/schema
"""


def app(content: str, sleep: str = "0") -> Files:
    files = web(content, **{"www/entry": ENTRY, "www/migrate": MIGRATE % sleep})
    server = 'CMD ["httpd", "-f", "-p", "0.0.0.0:8080", "-h", "/www"]\n'
    dockerfile = "FROM busybox:1.36\nCOPY www /www\nWORKDIR /www\nRUN chmod +x entry migrate"
    dockerfile += ' && ln -s /data/schema /data/history /www/\nENTRYPOINT ["./entry"]\n' + server
    return {**files, "Dockerfile": dockerfile}


def commands(service: Service) -> list[str]:
    """The names of the containers of commands that run."""
    filters = {"label": [f"pushlive.instance={service.instance}", "pushlive.command"]}
    return [one["Names"][0] for one in service.engine.containers(filters=filters)]


@pytest.fixture(scope="module")
def service(docker_client: docker.DockerClient, base_images: None) -> Iterator[Service]:
    with running(docker_client, CONFIG) as one:
        said = one.push(app("version 1"), "One")
        assert "entry: ./migrate up" in said
        one.push(app("version 2"), "Two")
        yield one


def schema(service: Service) -> str:
    return service.page(path="/schema").strip()


def test_the_commands_of_the_guide(service: Service) -> None:
    page = (ROOT / "docs" / "guides" / "migrations.md").read_text()
    (block,) = re.findall(r"```sh\n(.*?)```", page, re.S)
    status, asks, back, again, across = (
        shlex.split(line.partition("#")[0])[1:] for line in block.splitlines()
    )
    assert "across the release command of r2, which is not reversible" in service.pushlive(*status).out
    refused = service.pushlive(*asks, code=3).text
    assert shlex.join(back) in refused
    assert shlex.join(across) in refused
    service.pushlive(*back)
    assert (service.page(), schema(service)) == ("version 1\n", "before r2")
    service.pushlive(*again)
    assert (service.page(), schema(service)) == ("version 2\n", "r2")
    service.pushlive(*across)
    assert (service.page(), schema(service)) == ("version 1\n", "r2")
    service.pushlive("revert", "hello", "--to", "r2")
    assert service.page(path="/history").split("\n")[:-1] == ["r1 up", "r2 up", "r2 down", "r2 up"]


def test_fault_33_a_service_that_is_killed_during_a_release_command_runs_it_once(service: Service) -> None:
    service.pushlive("resume", "hello")
    before, repository = service.page(path="/history"), service.repository()
    repository.commit(app("version 3", "2"), "Three")
    push = repository.started("push", "pushlive", "main")
    until(lambda: len(commands(service)) == 1, 60)
    service.kill()
    push.communicate(timeout=60)
    service.up()
    run = service.wait("hello")
    assert (run["outcome"], service.page()) == ("live", "version 3\n")
    assert service.page(path="/history") == before + "r3 up\n"


def test_fault_33_a_service_that_is_killed_during_a_back_runs_it_once(service: Service) -> None:
    before = service.page(path="/history")
    service.pushlive("revert", "hello", "--back", "--no-wait")
    until(lambda: len(commands(service)) == 1, 30)
    service.kill()
    service.up()
    run = service.wait("hello")
    assert (run["outcome"], service.page()) == ("live", "version 2\n")
    assert service.page(path="/history") == before + "r3 down\n"


def test_a_release_command_that_hangs_is_abandoned(service: Service) -> None:
    service.pushlive("resume", "hello")
    repository = service.repository()
    repository.commit(app("version 4", "600"), "Four")
    push = repository.started("push", "pushlive", "main")
    until(lambda: len(commands(service)) == 1, 60)
    number = service.run("hello")["number"]
    assert (
        "its result is unknown, so live is held"
        in service.pushlive("release", "abandon", f"hello#{number}").out
    )
    said = push.communicate(timeout=60)[0]
    assert "`pushlive resume hello --env live`" in said.replace("\nremote: ", " ")
    assert service.wait(f"hello#{number}")["outcome"] == "failed"
    assert commands(service) == [], "it does not meet the next one in the same database"
    live = service.environments()["live"]
    assert live["hold"]["by"] == f"hello#{number}"
    assert service.page() == "version 2\n"


def test_a_command_that_takes_too_long_is_stopped(service: Service) -> None:
    said = service.push(web("version 1"), "One", "slow").replace("\nremote: ", " ")
    assert "did not finish within 2s and was stopped" in said
    assert service.run("slow")["outcome"] == "failed"
    assert commands(service) == [], "it does not meet the next one in the same database"
    assert service.environments("slow")["live"]["hold"]["by"] == "slow#1"


def test_a_cancellation_ends_a_command_that_says_that_this_is_harmless(service: Service) -> None:
    repository = service.repository("easy")
    repository.commit(web("version 1"), "One")
    push = repository.started("push", "pushlive", "main")
    until(lambda: len(commands(service)) == 1, 60)
    service.pushlive("cancel", "easy#1")
    assert "which is harmless: it says `cancel: true`" in push.communicate(timeout=60)[0].replace(
        "\nremote: ", " "
    )
    assert service.wait("easy#1")["outcome"] == "cancelled"
    assert commands(service) == []
    assert service.environments("easy")["live"]["hold"] is None
