"""The Docker SDK's client of one Engine."""

from __future__ import annotations

import os
import socket
from typing import Any

from docker.utils import kwargs_from_env
from docker.utils.config import load_general_config

from docker import DockerClient
from pipeline.adapters.docker_api.errors import translate
from pipeline.adapters.docker_api.session import POOL, DeadlineApi
from pipeline.adapters.docker_api.ssh_forward import SshClient

__all__ = ["DockerClient", "client"]


def client(timeout: float = 30.0, host: str = "") -> DockerClient:
    """A client of the Engine at ``host``, or of the one that the environment names (DOCKER_HOST …), its API version
    negotiated. DOCKER_TLS_VERIFY and DOCKER_CERT_PATH apply to both.

    ``timeout``: seconds for any request, its answer included. Safe to use from several threads. Raises TryAgain if the
    Engine does not answer.
    """
    with translate("Connecting to Docker"):
        address = host or os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
        seconds = int(max(1, timeout))
        if address.startswith("ssh://"):
            return _with_headers(SshClient(address, seconds))
        _knock(address)
        environment = {**os.environ, "DOCKER_HOST": address}
        api = DeadlineApi(timeout=seconds, max_pool_size=POOL, **kwargs_from_env(environment=environment))
        return _with_headers(_Client(api))


class _Client(DockerClient):
    def __init__(self, api: DeadlineApi) -> None:
        self.api: Any = api


def _with_headers(client: DockerClient) -> DockerClient:
    """The SDK adds the user's ``HttpHeaders`` only to requests that it makes itself; ours need them as well."""
    client.api.headers.update(load_general_config().get("HttpHeaders") or {})
    return client


def _knock(host: str) -> None:
    """Raises ConnectionError if nothing listens: the SDK would leave the socket of a refused connection open."""
    if host.startswith("tcp://"):
        address, _, port = host.removeprefix("tcp://").rpartition(":")
        try:
            socket.create_connection((address.strip("[]"), int(port)), 5.0).close()
        except OSError as error:
            raise ConnectionError(f"{host}: {error.strerror or error}") from error
    if host.startswith("unix://"):
        with socket.socket(socket.AF_UNIX) as knock:
            knock.settimeout(5.0)
            try:
                knock.connect(host.removeprefix("unix://"))
            except OSError as error:
                raise ConnectionError(f"{host}: {error.strerror or error}") from error
