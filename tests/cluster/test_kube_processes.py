"""Processes on a cluster with the whole service and exactly the permissions that docker/kubernetes grants: they follow
a switch and a revert, runs by a schedule happen once, and people's commands reach them. The tests depend on each
other's order."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.adapters.kubernetes.api.kube_api import KubeApi
from pipeline.adapters.kubernetes.names import CRON, CRON_AT, PIPELINE, PROCESS, RELEASE
from pipeline.adapters.kubernetes.pods.state import is_finished
from pipeline.lib import schedule
from pipeline.runtime import embedded_store
from pipeline.store import Store
from tests.cluster.conftest import Installed
from tests.cluster.gateway import Gateway
from tests.support.developer import web
from tests.support.service import Service, descendants
from tests.support.waiting import until

CONFIG = """
pipelines:
  hello:
    registry: REGISTRY/SPACE-hello
    service:
      memory: 128MiB
      cpu: 100m
      stop: 1s
      drain: 1s
      processes:
        worker: {command: [sh, /work], stop: 5s, settle: 300ms, one: true}
        mail: {cron: "CRON", missed: run, command: [sh, -c, 'echo "mail of $PUSHLIVE_RELEASE"']}
    environments: {live: {bake: 0, engine: {namespace: SPACE}}}
  crew:
    registry: REGISTRY/SPACE-crew
    service:
      web: false
      memory: 128MiB
      cpu: 100m
      processes: {hand: {command: [sh, /work], replicas: 2, stop: 5s, settle: 300ms}}
    environments: {live: {bake: 0, engine: {namespace: SPACE}}}
  trial:
    registry: REGISTRY/SPACE-trial
    service: {memory: 128MiB, cpu: 100m, stop: 1s, drain: 1s}
    environments: {live: {bake: 5m, engine: {namespace: SPACE}}}
"""
# It serves until a file appears, and then needs more memory than it may have.
FILLS = (
    "httpd -p 0.0.0.0:8080 -h /www; while [ ! -e /fill ]; do sleep 0.1; done; "
    "exec dd if=/dev/zero of=/dev/null bs=300M"
)
CRON_TEXT = "0 0 29 2 *"  # its last time is years ago, and no test meets the next one
NINE_YEARS = 9 * 366 * 86400.0
WORK = """trap 'sleep 0.5; exit 0' TERM
echo "at work for $PUSHLIVE_RELEASE"
while :; do sleep 0.1; done
"""


class OnCluster:
    """The service, and its namespace as the administrator sees it."""

    def __init__(self, service: Service, api: KubeApi, gateway: Gateway) -> None:
        self.service, self.api, self.gateway = service, api, gateway
        self.store = Store(embedded_store.url(service.data), service.instance, timeout=5.0)

    def pods(self, pipeline: str, process: str) -> dict[str, str]:
        """The release of each pod of the process that runs or is about to, also while it ends, by name."""
        found = self.api.find("Pod", {PIPELINE: pipeline, PROCESS: process})
        working = (one for one in found if not is_finished(one))
        return {one["metadata"]["name"]: one["metadata"]["labels"][RELEASE] for one in working}

    def working(self, pipeline: str, process: str) -> list[str]:
        return sorted(self.pods(pipeline, process).values())

    def jobs(self) -> dict[int, Any]:
        """The pods of `mail`, by their time in the schedule."""
        found = self.api.find("Pod", {CRON: "mail"})
        return {int(one["metadata"]["labels"][CRON_AT]): one for one in found}

    @contextmanager
    def never_two(self, pipeline: str, process: str) -> Iterator[None]:
        """No two of its pods are seen at the same time meanwhile."""
        over, seen = threading.Event(), set[tuple[str, ...]]()

        def look() -> None:
            while not over.wait(0.03):
                seen.add(tuple(self.pods(pipeline, process)))

        thread = threading.Thread(target=look)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
        assert {one for one in seen if len(one) > 1} == set()
        assert len(seen) > 1

    def due(self) -> int:
        """Makes the last time of the schedule one at which `mail` has not run yet; returns it."""
        now = time.time()
        at = schedule.between(CRON_TEXT, "UTC", now - NINE_YEARS, now)[-1]

        def act(transaction: Any) -> None:
            found = transaction.environment("live")
            state = replace(found.cron["mail"], since=at - 1.0)
            transaction.put_environment(replace(found, cron={"mail": state}))

        self.store.transact("hello", act)
        return int(at)

    def results(self) -> list[tuple[str, list[str]]]:
        """What is known of each run of `mail`: outcome and output, newest first."""
        found = json.loads(self.service.pushlive("cron", "hello", "--env", "live", "--json").out)
        return [(one["outcome"], one["output"]) for one in found["processes"][0]["runs"]]


@pytest.fixture(scope="module")
def on_cluster(installed: Callable[..., AbstractContextManager[Installed]]) -> Iterator[OnCluster]:
    with installed("beside", CONFIG, CRON=CRON_TEXT) as found:
        one = OnCluster(found.service, found.api, found.gateway)
        yield one
        one.store.client.close()


def release(version: str) -> dict[str, str | None]:
    files = web(version)
    dockerfile = str(files["Dockerfile"]).replace("CMD", "COPY work /work\nCMD")
    return {**files, "Dockerfile": dockerfile, "work": WORK}


def test_a_worker_follows_a_switch_and_a_revert(on_cluster: OnCluster) -> None:
    service = on_cluster.service
    pushing = []
    for name, files in (("hello", release("one")), ("crew", release("one")), ("trial", web("version 1"))):
        service.repository(name).commit(files, "One")
        pushing.append(service.repository(name).started("push", "pushlive", "main"))
    for one in pushing:
        said, _ = one.communicate(timeout=120)
        assert "is live: r1" in said
    assert on_cluster.working("hello", "worker") == ["1"]
    with on_cluster.never_two("hello", "worker"):
        service.push(release("two"), "Two")
        assert on_cluster.working("hello", "worker") == ["2"]
        service.pushlive("revert", "hello", "--reason", "to see it")
        assert service.releases() == {"live": 1}
        assert on_cluster.working("hello", "worker") == ["1"]


def test_fault_62_a_release_that_runs_out_of_memory_soon_after_its_switch_is_taken_back(
    on_cluster: OnCluster,
) -> None:
    service = on_cluster.service
    service.push(web("version 2", command=FILLS), "The bad one", name="trial")
    until(lambda: service.environments("trial")["live"]["bake"]["watched"] > 0, 30)
    service.pushlive("exec", "trial", "live", "--", "touch", "/fill")
    until(lambda: service.releases("trial") == {"live": 1}, 60)
    held = service.environments("trial")["live"]["hold"]
    assert held["by"] == "bake"
    assert "ran out of memory and was killed" in held["reason"]


def test_people_s_commands_reach_the_processes(on_cluster: OnCluster) -> None:
    service = on_cluster.service
    [worker] = on_cluster.pods("hello", "worker")
    assert "worker.1 | at work for r1" in service.pushlive("logs", "hello", "live").out
    logs = service.pushlive("logs", "hello", "live", "--process", "worker", "--since", "1h").out
    assert logs.splitlines() == ["at work for r1"]
    words = ("exec", "hello", "live", "--process", "worker", "--", "hostname")
    assert service.pushlive(*words).out.strip() == worker
    fresh = service.pushlive(
        "run", "hello", "live", "--", "sh", "-c", "echo $PUSHLIVE_RELEASE; exit 3", code=3
    )
    assert fresh.out == "r1\n"
    stats = service.pushlive("stats", "hello", "live", code=3)
    assert "metrics-server" in stats.err
    said = service.pushlive("restart", "hello", "live").out
    assert "is ready" in said, said
    assert on_cluster.working("hello", "worker") == ["1"]
    until(lambda: "worker 1 of 1" in service.pushlive("status", "hello").out, 20)
    assert "drift" not in service.pushlive("doctor", code=None).text


def test_a_pipeline_without_a_web_process_is_restarted(on_cluster: OnCluster) -> None:
    service = on_cluster.service
    before = on_cluster.pods("crew", "hand")
    copy = service.folder / "work"
    service.pushlive("cp", "crew", "live:/work", str(copy))
    assert copy.read_text() == WORK
    service.pushlive("restart", "crew", "live")
    assert on_cluster.working("crew", "hand") == ["1", "1"]
    assert not before.keys() & on_cluster.pods("crew", "hand").keys()


def test_a_run_by_a_schedule_happens_once_though_the_keeper_dies_in_its_start(on_cluster: OnCluster) -> None:
    made, keeper = list[str](), keeper_of(on_cluster.service)
    until(lambda: on_cluster.store.environment("hello", "live").cron, 20)

    def die(method: str, path: str) -> int:
        """The cluster makes the pod, but whoever asked for it does not hear of that."""
        if method == "POST" and path.partition("?")[0].endswith("/pods"):
            made.append(path)
            if len(made) == 1:
                os.kill(keeper, signal.SIGKILL)
        return 0

    on_cluster.gateway.answer(die)
    at = on_cluster.due()
    until(lambda: at in on_cluster.jobs(), 30)
    until(lambda: ("ok", ["mail of r1"]) in on_cluster.results(), 40)
    on_cluster.gateway.forward_all()
    assert [outcome for outcome, _ in on_cluster.results()] == ["ok", "missed"]
    name = on_cluster.jobs()[at]["metadata"]["name"]
    started = [one for one in on_cluster.api.events("Pod", name) if one["reason"] == "Started"]
    assert sum(int(one.get("count") or 1) for one in started) == 1
    assert keeper_of(on_cluster.service) != keeper


def keeper_of(service: Service) -> int:
    """The process that was forked first of the workers'."""
    assert service.process
    found = [pid for pid in descendants(service.process.pid) if b"workers" in command_of(pid)]
    children = [pid for pid in found if int(stat_of(pid)[1]) in found]
    return min(children, key=lambda pid: int(stat_of(pid)[19]))


def command_of(pid: int) -> bytes:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def stat_of(pid: int) -> list[str]:
    """Its state, its parent and what follows: see proc(5)."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
