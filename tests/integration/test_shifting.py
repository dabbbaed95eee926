"""`shift` with a real service, Docker Engine and HAProxy."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import docker
from tests.support.developer import Files, web
from tests.support.load import Load
from tests.support.paths import ROOT
from tests.support.service import Service, running
from tests.support.waiting import until

CONFIG = """
pipelines:
  hello:
    service: {{memory: 128MiB, stop: 1s, drain: 5s, health: /}}
    environments: {{live: {{bake: 0, shift: {{steps: [20%, 60%], for: {lasts}}}}}}}
"""
LONG = CONFIG.format(lasts="10m")
SHORT = CONFIG.format(lasts="3s")
MIDDLE = CONFIG.format(lasts="30s")

# Answers with its name, and every third time with an error if it is to be bad.
PAGE = """\
#!/bin/sh
status="200 OK"
[ -z "$BAD" ] || [ $(($(od -An -N1 -tu1 /dev/urandom) % 3)) != 0 ] || status="500 Internal Server Error"
printf 'Status: %s\\r\\nContent-Type: text/plain\\r\\n\\r\\n' "$status"
cat /www/index.html
"""


def application(name: str, *, bad: bool = False) -> Files:
    run = (
        f"chmod +x /tmp/www/cgi-bin/page; {'BAD=1 ' if bad else ''}exec httpd -f -p 0.0.0.0:8080 -h /tmp/www"
    )
    return web(name, command=f"cp -r /www /tmp/www; {run}", **{"www/cgi-bin/page": PAGE})


@pytest.fixture(scope="module")
def service(docker_client: docker.DockerClient, base_images: None) -> Iterator[Service]:
    with running(docker_client, SHORT) as one:
        one.push(application("one"), "One")
        yield one


def shift(service: Service) -> dict[str, Any]:
    return service.environments()["live"]["shift"] or {}


@contextmanager
def visitors(service: Service, path: str = "/cgi-bin/page") -> Iterator[Load]:
    port = int(service.environments()["live"]["url"].rpartition(":")[2])
    with Load(port, str.strip, pause=0.01).kept_alive(2, "/").fresh(3, path) as load:
        until(load.reached(20), 30)
        yield load


@contextmanager
def pushing(service: Service, files: Files, config: str = LONG) -> Iterator[subprocess.Popen[str]]:
    """A push whose release has a part of the visitors."""
    service.config.write_text(config)
    repository = service.repository()
    repository.commit(files, "A change")
    push = repository.started("push", "pushlive", "main")
    try:
        until(lambda: bool(shift(service)), 60)
        yield push
    finally:
        push.communicate(timeout=120)


def test_a_release_gets_all_step_by_step_and_no_request_is_lost(service: Service) -> None:
    before = service.page().strip()
    service.config.write_text(SHORT)
    with visitors(service) as load:
        said = service.push(application("two"), "Two")
        until(load.reached(30), 30)
    assert load.failures == []
    assert load.answers[before] > 20
    assert load.answers["two"] > 20
    assert "20 % of new visitors go to r2, the others to r1, for 3s" in said
    assert "60 % went to r2 for 3s: errors 0 % of" in said
    assert shift(service) == {}
    assert service.page().strip() == "two"


def test_worse_goes_back_and_loses_no_request(service: Service) -> None:
    before, number = service.page().strip(), service.releases()["live"]
    with visitors(service) as load, pushing(service, application("bad", bad=True), MIDDLE):
        run = service.wait("hello", seconds=120)
        load.failures[:] = [one for one in load.failures if " 500 bad" not in one]
        until(load.reached(30), 30)
    assert load.failures == []
    assert run["outcome"] == "failed"
    assert f"it answers worse than r{number}" in run["failure"]["message"]
    assert service.page().strip() == before
    assert [one["release"] for one in service.environments()["live"]["quarantine"]] == [run["release"]]
    assert shift(service) == {}


def test_a_service_that_is_killed_goes_on_with_the_step_it_was_at(service: Service) -> None:
    with pushing(service, application("after"), MIDDLE):
        until(lambda: shift(service).get("passed", 0) > 5, 60)
        found = shift(service)
        service.kill()
        with visitors_of(service) as load:  # who needs neither the service nor its API
            until(load.reached(50), 30)
        assert load.failures == []
        assert load.answers["after"] > 0
        service.up()
        until(lambda: shift(service).get("passed", 0) > found["passed"], 60)
        assert shift(service)["since"] == found["since"]
    assert service.wait("hello", seconds=180)["outcome"] == "live"
    assert service.page().strip() == "after"


@contextmanager
def visitors_of(service: Service) -> Iterator[Load]:
    with Load(service.ports[0], str.strip, pause=0.01).fresh(4, "/") as load:
        yield load


def test_if_what_serves_hangs_all_go_to_the_new_release(
    service: Service, docker_client: docker.DockerClient
) -> None:
    before = service.releases()["live"]
    with pushing(service, application("healthy")):
        for place in service.containers("hello", release=str(before)):
            made = docker_client.api.exec_create(place["Id"], ["sh", "-c", "kill -STOP $(pidof httpd)"])
            docker_client.api.exec_start(made["Id"])
        run = service.wait("hello", seconds=120)
    assert (run["outcome"], run["release"]) == ("live", service.releases()["live"])
    assert f"r{before}, which serves, is down: all visitors go to r{run['release']} at once" in service.log(
        run["id"]
    )
    assert service.page().strip() == "healthy"
    assert run["release"] not in [one["release"] for one in service.environments()["live"]["quarantine"]]


def test_the_guides_commands_work_as_they_are_written(service: Service) -> None:
    page = (ROOT / "docs" / "guides" / "shifting.md").read_text().replace("shop", "hello")
    commands = page.partition("To see one, and to end it:\n\n```\n")[2].partition("```")[0].splitlines()
    assert [one.split()[1] for one in commands] == ["push", "status", "cancel", "revert"]
    serves = service.releases()["live"]
    with pushing(service, application("three")):
        assert " % to r" in service.pushlive(*shlex.split(commands[1])[1:]).out
        service.pushlive(*shlex.split(commands[2])[1:])
        assert service.wait("hello")["outcome"] == "cancelled"
    assert shift(service) == {}
    with pushing(service, application("four")):
        taken = shift(service)["release"]
        assert "all visitors back to" in service.environments()["live"]["revert"]["text"]
        service.pushlive(*shlex.split(commands[3])[1:])
    live = service.environments()["live"]
    assert live["release"] == serves
    assert taken in [one["release"] for one in live["quarantine"]]
    assert live["hold"]
    service.pushlive("resume", "hello")
