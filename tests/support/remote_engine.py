"""A remote Docker Engine: a second daemon on this machine, used over TCP only."""

from __future__ import annotations

import ipaddress
import itertools
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import docker
from pipeline.adapters.docker.engine import DockerEngine
from pipeline.adapters.docker.remote import pair
from pipeline.adapters.docker_api import registry as images
from pipeline.adapters.docker_api.api import DockerApi
from pipeline.adapters.docker_api.client import client
from pipeline.adapters.docker_api.exec_tunnel import TunnelProbe
from pipeline.config.engines import Where
from pipeline.config.settings import Settings
from pipeline.ports.clock import Deadline, SystemClock
from tests.conftest import sweep
from tests.faults.own_engine import OwnEngine
from tests.support.installation import own_settings
from tests.support.local_registry import registry
from tests.support.ports import free_ports

PORTS = 8
DISK = "2g"  # of memory, at most: more than `PUSHLIVE_DISK_FREE`, so that `doctor` finds it well
_numbers = itertools.count()


@dataclass
class RemoteEngine:
    """The Engine, and the probe that reaches its applications. ``remote``: the sample application in a registry."""

    engine: DockerEngine
    probe: TunnelProbe
    client: docker.DockerClient
    settings: Settings
    remote: str
    key: str
    daemon: OwnEngine

    @property
    def more_subnets(self) -> str:
        """Addresses for another installation on that Engine."""
        first = ipaddress.ip_network(self.settings.subnets)
        return str(list(first.subnets(1))[1])  # ours has its PORTS environments in the first half

    def name(self) -> tuple[str, int]:
        """A new environment: its pipeline and its index."""
        number = next(_numbers)
        return f"app{number}", number % PORTS


@contextmanager
def remote_engine(
    here: docker.DockerClient, image: str, folder: Path, instance: str
) -> Iterator[RemoteEngine]:
    """Starts the Engine, and pushes the image to a registry that both Engines reach. Needs root."""
    clock = SystemClock()
    with OwnEngine(free_ports(1), DISK) as daemon, forwarded(daemon.subnets), registry() as shelf:
        repository = f"{shelf.host}/app"
        here.api.tag(image, repository, "r1")
        remote = images.push(
            DockerApi(lambda: here), clock, repository, "r1", None, print, Deadline(clock, 60)
        )
        here.api.remove_image(f"{repository}:r1")
        settings = own_settings(folder, instance, PORTS, subnets=daemon.subnets)
        where = Where(docker=daemon.tcp)
        engine, probe = pair(where, settings, clock)
        there = client(host=daemon.tcp)
        try:
            yield RemoteEngine(engine, probe, there, settings, remote, where.key, daemon)
        finally:
            sweep(there, instance)
            there.close()


@contextmanager
def forwarded(subnets: str) -> Iterator[None]:
    """Lets this machine forward the second daemon's packets as well: the first daemon allows only its own."""
    rule = ["FORWARD", "-s", subnets, "-d", subnets, "-j", "ACCEPT"]
    subprocess.run(["iptables", "-I", *rule], check=True)
    try:
        yield
    finally:
        subprocess.run(["iptables", "-D", *rule], check=True)
