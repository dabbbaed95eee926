"""The times of a run, machine and human time apart, against its budget."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import docker
from tests.support.developer import web
from tests.support.paths import ROOT
from tests.support.service import Service, running

CONFIG = """
pipelines:
  hello:
    service: {memory: 128MiB, stop: 1s}
    environments: {dev: , live: }
  tight:
    budget: {deploy: 200ms, whole: 300ms}
    service: {memory: 128MiB, stop: 1s}
    smoke: [{run: [sleep, "1"]}]
    environments: {live: }
  gated:
    service: {memory: 128MiB, stop: 1s}
    environments: {live: {promote: manual}}
"""


@pytest.fixture(scope="module")
def service(docker_client: docker.DockerClient, base_images: None) -> Iterator[Service]:
    with running(docker_client, CONFIG) as one:
        yield one


def shown(service: Service, run: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(service.pushlive("show", run, "--json").out)
    return found


def test_the_figures_of_a_run_agree(service: Service) -> None:
    began = time.time()
    said = service.push(web(), "Timed")
    wall = time.time() - began
    found = shown(service, "hello#1")
    run, timing = found["run"], found["timing"]
    assert [stage["stage"] for stage in timing["stages"]] == ["build", "dev", "live"]
    steps = {stage["stage"]: [step["step"] for step in stage["steps"]] for stage in timing["stages"]}
    assert steps["build"] == ["fetch", "build", "push"]
    assert steps["dev"] == steps["live"] == ["start", "smoke", "switch", "verify"]
    for stage in timing["stages"]:
        assert stage["seconds"] == pytest.approx(sum(step["seconds"] for step in stage["steps"]))
    inside = sum(stage["seconds"] for stage in timing["stages"])
    assert 0 < inside <= timing["machine"] <= timing["whole"] < wall
    assert timing["whole"] == pytest.approx(timing["queue"] + timing["machine"])
    assert timing["whole"] == pytest.approx(run["ended"] - run["accepted"])
    assert timing["deploy"] == pytest.approx(run["ended"] - run["image_ready"])
    assert timing["deploy"] + timing["left"] == pytest.approx(300)
    assert (timing["human"], timing["over"], timing["serious"]) == (0, "", False)
    assert began <= run["accepted"] <= run["started"] <= run["image_ready"] <= run["ended"]
    assert timing["queue"] < 2  # a worker was free
    countdown = [line for line in said.splitlines() if "left" in line]
    assert [line.split()[1] for line in countdown] == ["build", "dev", "live"]
    assert "4:59 left" in countdown[0]
    assert "4:5" in countdown[2]


def test_the_table_has_the_figures_of_a_run(service: Service) -> None:
    text = service.pushlive("show", "hello#1").out
    for word in ("build", "fetch", "dev", "smoke", "live", "verify", "5:00"):
        assert word in text


def test_a_run_over_its_budget_names_the_stage_that_overspent(service: Service) -> None:
    said = service.push(web(), "Too slow", "tight")
    found = shown(service, "tight#1")
    assert found["run"]["outcome"] == "live"  # it warns, it ends nothing
    assert found["timing"]["over"] == "live/smoke"
    assert found["timing"]["left"] < 0
    assert found["timing"]["serious"] is True
    assert "over the 0.20s budget; most went to live/smoke" in said
    assert "SERIOUS: over 0.30s from push to live" in said
    assert "serious" in service.pushlive("show", "tight#1").out.lower()


def test_time_at_a_gate_is_not_machine_time(service: Service) -> None:
    service.push(web(), "Waits", "gated")
    waiting = shown(service, "gated#1")
    assert waiting["run"]["state"] == "waiting"
    later = shown(service, "gated#1")["timing"]  # the person's clock runs, the machine's stands
    assert later["human"] > waiting["timing"]["human"]
    assert later["machine"] == pytest.approx(waiting["timing"]["machine"], abs=0.001)
    service.pushlive("promote", "gated")
    end = shown(service, "gated#1")
    run, timing = end["run"], end["timing"]
    assert timing["human"] > later["human"]
    whole = run["ended"] - run["accepted"]
    assert timing["human"] + timing["machine"] + timing["queue"] == pytest.approx(whole)
    assert timing["deploy"] == pytest.approx(run["ended"] - run["image_ready"] - timing["human"])


def test_the_guides_commands_work_as_they_are_written(service: Service, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "guides" / "timings.md").read_text()
    commands = page.rpartition("```\n")[0].rpartition("```\n")[2].splitlines()
    assert len(commands) == 4
    outputs = [service.pushlive(*shlex.split(one)[1:], cwd=tmp_path).out for one in commands]
    assert "within the budget" in outputs[0]
    assert json.loads(outputs[3])["zone"] == "Europe/Berlin"
    written = sorted(path.name for path in tmp_path.iterdir())
    assert len(written) == 2
    assert "november.html" in written
    for name in written:
        text = (tmp_path / name).read_text()
        assert text.startswith("<!doctype html>")
        assert text.rstrip().endswith("</html>")
