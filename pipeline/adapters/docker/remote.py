"""A Docker Engine on another machine: ``engine: {docker: tcp://… }``. Everything goes through its API, the checks
too: no other port of that machine has to be reachable from here."""

from __future__ import annotations

from functools import partial

from pipeline.adapters.docker.engine import DockerEngine
from pipeline.adapters.docker_api.api import ClientFactory
from pipeline.adapters.docker_api.client import client
from pipeline.adapters.docker_api.exec_tunnel import TunnelProbe
from pipeline.adapters.haproxy.remote import RemoteProxy, own_settings
from pipeline.config.engines import Where
from pipeline.config.settings import Settings
from pipeline.ports.clock import Clock


def pair(where: Where, settings: Settings, clock: Clock) -> tuple[DockerEngine, TunnelProbe]:
    """The Engine at ``where.docker`` with the probe that knows the way to its applications."""
    there = proxy(where, settings, clock)
    probe = TunnelProbe(there.tunnel)
    return DockerEngine(_factory(where), there, there.settings, probe, clock, where.key), probe


def proxy(where: Where, settings: Settings, clock: Clock) -> RemoteProxy:
    """The proxy of the Engine at ``where.docker``."""
    return RemoteProxy(_factory(where), own_settings(settings, where.docker or ""), clock)


def _factory(where: Where) -> ClientFactory:
    return partial(client, host=where.docker or "")
