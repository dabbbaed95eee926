"""A Docker Engine on another machine: ``engine: {docker: tcp://… }``. Everything goes through the Engine's API, checks
included: no other port of that machine has to be reachable from here."""

from __future__ import annotations

from functools import partial

from pipeline.adapters.docker.engine import DockerEngine
from pipeline.adapters.docker_api.api import ClientFactory
from pipeline.adapters.docker_api.client import client
from pipeline.adapters.docker_api.exec_tunnel import TunnelProbe
from pipeline.adapters.haproxy.remote import RemoteProxy, remote_settings
from pipeline.config.engines import Where
from pipeline.config.settings import Settings
from pipeline.ports.clock import Clock


def pair(where: Where, settings: Settings, clock: Clock) -> tuple[DockerEngine, TunnelProbe]:
    """The Engine at ``where.docker``, and the probe that reaches its applications."""
    remote = proxy(where, settings, clock)
    probe = TunnelProbe(remote.tunnel)
    return DockerEngine(_factory(where), remote, remote.settings, probe, clock, where.key), probe


def proxy(where: Where, settings: Settings, clock: Clock) -> RemoteProxy:
    """The proxy of the Engine at ``where.docker``."""
    return RemoteProxy(_factory(where), remote_settings(settings, where.docker or ""), clock)


def _factory(where: Where) -> ClientFactory:
    return partial(client, host=where.docker or "")
