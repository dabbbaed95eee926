"""The journal of a real service: what a run, a revert, a hold and the service's own processes leave in it."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

import docker
from tests.support.developer import web
from tests.support.json_schema import problems
from tests.support.paths import ROOT
from tests.support.service import Service, running
from tests.support.waiting import until

CONFIG = """
pipelines:
  hello:
    service: {memory: 128MiB, stop: 1s}
    environments: {dev: , live: }
"""


@pytest.fixture(scope="module")
def service(docker_client: docker.DockerClient, base_images: None) -> Iterator[Service]:
    with running(docker_client, CONFIG) as one:
        yield one


def lines(service: Service) -> list[dict[str, Any]]:
    text = (service.data / "journal" / "journal.jsonl").read_text(encoding="ascii")
    assert text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


def test_a_run_and_its_revert_are_in_the_journal(service: Service) -> None:
    service.push(web(), "One")
    service.push(web("two"), "Two")
    service.pushlive("revert", "hello")
    until(lambda: [one for one in lines(service) if one["event"] == "act" and one.get("way") == "cli"], 20)
    found = lines(service)
    schema = json.loads((ROOT / "pipeline" / "lib" / "journal" / "schema.json").read_text())
    assert [text for one in found for text in problems(one, schema)] == []
    first = [one for one in found if one.get("run") == "hello#1"]
    events = [one["event"] for one in first]
    for event in ("run_accepted", "run_started", "run_ended", "act"):
        assert events.count(event) == 1, events
    steps = [(one["stage"], one["step"]) for one in first if one["event"] == "step_ended"]
    assert steps == [
        *(("build", step) for step in ("fetch", "build", "push")),
        *((name, step) for name in ("dev", "live") for step in ("start", "smoke", "switch", "verify")),
    ]
    assert [(one["stage"], one["step"]) for one in first if one["event"] == "step_begun"] == steps
    stages = [(one["event"], one["stage"]) for one in first if one["event"].startswith("stage")]
    assert stages == [
        (event, name) for name in ("build", "dev", "live") for event in ("stage_begun", "stage_ended")
    ]
    switched = [(one["environment"], one["release"]) for one in first if one["event"] == "switched"]
    assert switched == [("dev", "r1"), ("live", "r1")]
    (ended,) = [one for one in first if one["event"] == "run_ended"]
    assert (ended["outcome"], ended["level"], ended["release"]) == ("live", "info", "r1")
    assert 0 < ended["seconds"] < 600
    (reverted,) = [one for one in found if one["event"] == "reverted"]
    assert (reverted["environment"], reverted["release"], reverted["run"]) == ("live", "r2", "hello#3")
    assert [one["environment"] for one in found if one["event"] == "held"] == ["live"]
    started = {one.get("name") for one in found if one["event"] == "process_started"}
    assert {"web", "workers", "keeper", "messenger", "reverts"} <= started
    assert service.token not in (service.data / "journal" / "journal.jsonl").read_text()


def test_the_guides_commands_work_as_they_are_written(service: Service) -> None:
    page = (ROOT / "docs" / "guides" / "logs.md").read_text()
    commands = re.findall(r"^\$ (.*)$", page, re.MULTILINE)
    assert len(commands) == 2
    until(lambda: (service.data / "journal" / "journal.jsonl").exists(), 10)
    for command in commands:
        assert command.count("jq ") == 1
        done = subprocess.run(
            ["bash", "-c", f"set -o pipefail; {command}"], env=service.environ, capture_output=True
        )
        assert done.returncode == 0, done.stderr
        assert b"hello/live r1" in done.stdout or b'"switch"' in done.stdout
