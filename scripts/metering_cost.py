"""What the keeper's minute look at all containers costs itself, in processor time, for ``scripts/bench``: a core has 60
seconds of it in a minute, and the look should take less than a hundredth of that."""

from __future__ import annotations

import json
import os
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import docker
from pipeline.adapters.docker.tools.metering import DockerMetering
from pipeline.adapters.docker_api import labels
from pipeline.adapters.docker_api.client import client
from pipeline.config.settings import Settings
from pipeline.ports.clock import SystemClock
from tests.story.conftest import World
from tests.support.valkey import running

PIPELINES, ENVIRONMENTS = 30, ("dev", "qa", "live")
CONTAINERS = 30
MINUTE = 60.0  # seconds of processor time that a core has in it
LOOKS = 5  # one after the other, so that a tick of the clock is no part of the figure
IMAGE = "busybox:1.36"
_TICK = os.sysconf("SC_CLK_TCK")


def on_fakes(pairs: int) -> tuple[list[float], list[float]]:
    """Seconds of the keeper's process for a look, with 30 pipelines in three environments on a fake engine and a real
    store; and the seconds that a core has."""
    names = [f"app{n}" for n in range(PIPELINES)]
    config = {"pipelines": {name: {"environments": dict.fromkeys(ENVIRONMENTS)} for name in names}}
    with running() as url, tempfile.TemporaryDirectory() as folder:
        world = World(url, Path(folder), json.dumps(config))
        for name in names:
            world.push("one", name)

        def look() -> None:
            world.clock.sleep(MINUTE)
            world.jobs.cost.run()

        look()
        found = [_spent(time.process_time, look) for _ in range(pairs)]
    return found, [MINUTE] * pairs


def on_docker(pairs: int) -> tuple[list[float], list[float]]:
    """Seconds of the keeper's process and of Docker's together for a look at 30 containers."""
    with _containers() as metering:
        metering.taken()
        found = [
            _spent(lambda: time.process_time() + _of_docker(), lambda: metering.taken()) for _ in range(pairs)
        ]
    return found, [MINUTE] * pairs


def _spent(clock: Callable[[], float], act: Callable[[], object]) -> float:
    began = clock()
    for _ in range(LOOKS):
        act()
    return max(0.0, clock() - began) / LOOKS


def _of_docker() -> float:
    """Processor seconds of Docker's daemons so far."""
    found = 0.0
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                name = (process / "comm").read_text().strip()
                if name.startswith(("dockerd", "containerd")):
                    fields = (process / "stat").read_text().rpartition(")")[2].split()
                    found += (int(fields[11]) + int(fields[12])) / _TICK
            except OSError:  # it has ended
                continue
    return found


@contextmanager
def _containers() -> Iterator[DockerMetering]:
    instance = f"bench-{secrets.token_hex(3)}"
    engine = docker.from_env()
    made = []
    try:
        for n in range(CONTAINERS):
            marks = {
                labels.INSTANCE: instance,
                labels.PIPELINE: f"app{n // len(ENVIRONMENTS)}",
                labels.ENVIRONMENT: ENVIRONMENTS[n % len(ENVIRONMENTS)],
                labels.SLOT: "blue",
                labels.REPLICA: "1",
            }
            made.append(
                engine.containers.run(
                    IMAGE, ["sleep", "3600"], detach=True, labels=marks, network_mode="none", init=True
                )
            )
        nothing = cast("Any", None)  # neither the proxy nor the probe is asked
        yield DockerMetering(client, nothing, Settings(instance=instance), nothing, SystemClock())
    finally:
        for one in made:
            one.remove(force=True)
        engine.close()
