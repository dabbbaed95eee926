"""Several pipelines and several pushes at once."""

from __future__ import annotations

import itertools
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import docker
from pipeline.adapters.docker.engine import DockerEngine
from pipeline.adapters.docker_api.client import client
from pipeline.adapters.haproxy.proxy import Proxy
from pipeline.adapters.http.probe import HttpProbe
from pipeline.domain.engine_types import SlotRef
from pipeline.ports.clock import SystemClock
from tests.conftest import sweep
from tests.support.developer import web
from tests.support.installation import own_settings
from tests.support.ports import free_subnet
from tests.support.service import Service, get, running
from tests.support.waiting import until

NAMES = ("one", "two", "three", "four")
CONFIG = "pipelines:\n" + "".join(
    f"  {name}:\n"
    "    service: {memory: 16MiB, stop: 1s}\n"
    '    smoke: [{run: [sleep, "1"]}]\n'
    "    environments: {dev: , live: {bake: 0}}\n"
    for name in NAMES
)
PIPELINES = 30


@pytest.fixture(scope="module")
def service(docker_client: docker.DockerClient, base_images: None) -> Iterator[Service]:
    with running(docker_client, CONFIG) as one:
        yield one


def spans(service: Service, name: str, stage: str) -> list[tuple[float, float, int]]:
    """When each run was in that stage: begin, end, number; in the order of beginning."""
    found = []
    for run in service.runs(name):
        steps = [step for step in run["steps"] if step["stage"] == stage]
        if steps:
            last = steps[-1]
            found.append((steps[0]["started"], last["started"] + last["seconds"], run["number"]))
    return sorted(found)


def test_pipelines_run_at_the_same_time(service: Service) -> None:
    pushing = []
    for name in NAMES:
        clone = service.repository(name)
        clone.commit(web(name), "First")
        pushing.append(clone.started("push", "pushlive", "main"))
    for one in pushing:
        out, _ = one.communicate(timeout=90)
        assert "is live: r1 " in out
    assert [service.page(name=name) for name in NAMES] == [f"{name}\n" for name in NAMES]
    runs = [service.run(name) for name in NAMES]
    assert max(run["started"] for run in runs) < min(run["ended"] for run in runs)


def test_fault_35_pushes_of_one_pipeline_go_one_after_the_other_and_end_at_the_head(service: Service) -> None:
    clone = service.repository("one")
    pushing: list[subprocess.Popen[str]] = []
    for number in range(4):
        clone.commit(web(f"version {number}"), f"Number {number}")
        before = len(service.runs("one"))
        pushing.append(clone.started("push", "pushlive", "main"))
        until(lambda before=before: len(service.runs("one")) > before, 20)  # type: ignore[misc]
    for one in pushing:
        one.communicate(timeout=90)
    runs = service.runs("one")[1:]
    assert {run["outcome"] for run in runs} <= {"live", "superseded"}
    assert runs[-1]["outcome"] == "live"
    assert service.page(name="one") == "version 3\n"
    for stage in ("dev", "live"):
        found = spans(service, "one", stage)
        for (_, end, number), (begin, _, newer) in itertools.pairwise(found):
            assert end <= begin
            assert number < newer


def test_a_newer_push_supersedes_a_queued_one(docker_client: docker.DockerClient) -> None:
    with running(docker_client, CONFIG, PUSHLIVE_WORKERS="1") as one:
        clone, pushing = one.repository("one"), []
        for number in range(3):
            clone.commit(web(f"version {number}"), f"Number {number}")
            pushing.append(clone.started("push", "pushlive", "main"))
            until(lambda number=number: len(one.runs("one")) > number, 20)  # type: ignore[misc]
            if not number:
                one.reached("one#1", "dev")
        outputs = [each.communicate(timeout=60)[0] for each in pushing]
        ends = [(run["outcome"], run["reason"]) for run in one.runs("one")]
        assert ends[1] == ("superseded", "one#3 is newer")
        assert (ends[0][0], ends[2][0]) == ("live", "live")
        assert "one#2 superseded: one#3 is newer" in outputs[1]
        assert "one#2 had not started and is superseded" in outputs[2]
        assert one.page(name="one") == "version 2\n"


# ── 30 pipelines ─────────────────────────────────────────────────────────────


def test_thirty_pipelines_with_three_environments_fit_on_one_engine(
    docker_client: docker.DockerClient, base_images: None, instance: str, tmp_path: Path
) -> None:
    count = PIPELINES * 3
    subnets = free_subnet(docker_client.api.networks(), 19)
    settings = own_settings(tmp_path, f"{instance}-many", count, subnets=subnets)
    proxy = Proxy(client, settings, SystemClock())
    engine = DockerEngine(client, proxy, settings, HttpProbe(), SystemClock())
    environments = ("dev", "qa", "live")
    places = [SlotRef(f"app-{n // 3}", environments[n % 3], n, "blue") for n in range(count)]
    try:
        proxy.ensure()
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda ref: engine.prepare(ref, ()), places))
        mine = {"label": f"pushlive.instance={settings.instance}"}
        assert len(docker_client.api.networks(filters=mine)) == count
        for ref in places:
            status, body = get(f"http://127.0.0.1:{settings.port_range[ref.index]}/")
            assert (status, f"{ref.pipeline}-{ref.environment}" in body) == (503, True)
            host = f"{ref.pipeline}-{ref.environment}.localhost"
            assert get(f"http://{settings.proxy_http}/", Host=host)[0] == 503
    finally:
        proxy.stop()
        sweep(docker_client, settings.instance)
