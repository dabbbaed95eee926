"""``pushlive check`` asks every engine that the file names, at the same time, and says which it could not."""

import threading
import time

from pipeline.config.loading import load
from pipeline.config.promotion.shift import Shift
from pipeline.config.settings import load as settings
from pipeline.config.workload.machine_lint import MISSING
from pipeline.errors import EngineAway
from pipeline.ports.inspection import DockerInfo, NodeSize
from pipeline.runtime import machines

TEXT = """
pipelines:
  a:
    registry: r.io/a
    environments:
      dev: {cpu: 3}
      st: {engine: {docker: 'ssh://slow'}}
      s2: {engine: {docker: 'ssh://slow2'}}
      qa: {engine: {docker: 'ssh://h'}, cpu: 3}
      cl: {engine: {kubernetes: hidden}, memory: 4GiB}
      live: {engine: kubernetes, memory: 4GiB}
"""
JOINING = """
pipelines:
  a:
    registry: r.io/a
    service: {networks: [theirs, gone]}
    environments:
      dev:
      qa: {engine: {docker: 'ssh://h'}, networks: [far]}
"""


class Found:
    """An ``Inspection`` of which one engine is away and two hang."""

    def __init__(self) -> None:
        self.end = threading.Event()

    def docker(self, host: str = "") -> DockerInfo:
        if "slow" in host:
            self.end.wait()
        if not host:
            raise EngineAway("Docker does not answer.", advice="Start it.")
        return DockerInfo("29.1.3", 2, 8 << 30, live_restore=True)

    def largest_node(self, key: str) -> NodeSize | None:
        return None if "hidden" in key else NodeSize(4, 2 << 30)


def test_every_engine_is_asked_at_the_same_time_and_one_that_is_away_is_named() -> None:
    inspection = Found()
    begun = time.monotonic()
    try:
        found, left = machines.unfit(load(TEXT), settings({}), inspection, limit=1.0)  # type: ignore[arg-type]
    finally:
        inspection.end.set()
    assert time.monotonic() - begun < 2 * 1.0, (
        "one after the other, the two that hang would take twice the limit"
    )
    assert [one.path for one in found] == [
        "pipelines.a.environments.qa.cpu",
        "pipelines.a.environments.live.memory",
    ]
    assert left == [
        "not asked what it has: docker: Docker does not answer.",
        "not asked what it has: docker:ssh://slow: it has not answered within 1 s",
        "not asked what it has: docker:ssh://slow2: it has not answered within 1 s",
        "not asked what it has: kubernetes:hidden/: this account may not list the nodes",
    ]


class Routes(Found):
    """An ``Inspection`` of a cluster whose route says no, and whose nodes it may not list."""

    def undivided(self, key: str, pipeline: str, environment: str, shift: Shift) -> str:
        return f"{key}: {pipeline}/{environment} by {shift.route}: no Gateway has accepted it."


def test_a_route_that_cannot_divide_its_visitors_is_named() -> None:
    text = TEXT.replace("memory: 4GiB}\n", "shift: {steps: [5%], route: web}}\n", 1)
    inspection = Routes()
    inspection.end.set()
    found, left = machines.unfit(load(text), settings({}), inspection)  # type: ignore[arg-type]
    assert "not asked what it has: kubernetes:hidden/: this account may not list the nodes" in left
    assert [str(one) for one in found if "shift" in one.path] == [
        "pipelines.a.environments.cl.shift: each run that begins a shift will fail: kubernetes:hidden/: a/cl by web: "
        "no Gateway has accepted it."
    ]


class Sleepless(Found):
    """An ``Inspection`` of a cluster without the account that wakes what sleeps."""

    def sleepless(self, key: str) -> str:
        return f"{key} has no ServiceAccount. Apply it."


def test_what_a_cluster_will_not_put_to_sleep_is_named() -> None:
    inspection = Sleepless()
    inspection.end.set()
    text = TEXT.replace("{kubernetes: hidden}, memory: 4GiB", "{kubernetes: hidden}, sleep_after: 30m")
    found, _ = machines.unfit(load(text), settings({}), inspection)  # type: ignore[arg-type]
    assert [str(one) for one in found if "sleep_after" in one.path] == [
        "pipelines.a.environments.cl.sleep_after: it will not sleep: kubernetes:hidden/ has no ServiceAccount. "
        "Apply it."
    ]


class Networks:
    """An ``Inspection`` of Engines that have one network."""

    def docker(self, host: str = "") -> DockerInfo:
        return DockerInfo("29.1.3", 2, 8 << 30, live_restore=True)

    def networks(self, names: tuple[str, ...], host: str = "") -> dict[str, str]:
        return {name: MISSING for name in names if name != "theirs"}


def test_a_network_that_is_missing_is_named_with_the_command_that_makes_it() -> None:
    found, left = machines.unfit(load(JOINING), settings({}), Networks())  # type: ignore[arg-type]
    assert left == []
    assert [str(one) for one in found] == [
        "pipelines.a.environments.dev.networks: gone does not exist, so nothing starts there: "
        "`docker network create gone`",
        "pipelines.a.environments.qa.networks: far does not exist, so nothing starts there: "
        "`docker -H ssh://h network create far`",
    ]
