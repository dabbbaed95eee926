"""The Docker SDK's client, and its exceptions turned into ours."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import requests
import urllib3
from docker.errors import APIError, DockerException

from docker import DockerClient
from pipeline.adapters.docker_api.ssh_forward import OverSsh
from pipeline.errors import EngineFailed, PushliveError, TryAgain

__all__ = ["DockerClient", "as_error", "client", "explanation", "status_of", "translate"]

_ADVICE = "Look whether the Docker daemon runs (`docker info`) and whether DOCKER_HOST names its socket."
_BROKEN = (
    requests.exceptions.ConnectionError,
    requests.exceptions.Timeout,
    requests.exceptions.ChunkedEncodingError,
    urllib3.exceptions.HTTPError,
    ConnectionError,
    TimeoutError,
)


def client(timeout: float = 30.0, host: str = "") -> DockerClient:
    """A client of the Engine at ``host``, or of the one that the environment names (DOCKER_HOST …), its version
    negotiated. DOCKER_TLS_VERIFY and DOCKER_CERT_PATH hold for both.

    ``timeout``: seconds for any single read. May be used by several threads. Raises TryAgain when the
    Engine does not answer.
    """
    with translate("connecting to Docker"):
        address = host or os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
        if address.startswith("ssh://"):
            return OverSsh(address, int(max(1, timeout)))
        _knock(address)
        environment = {**os.environ, "DOCKER_HOST": address}
        return DockerClient.from_env(timeout=int(max(1, timeout)), max_pool_size=32, environment=environment)


def _knock(host: str) -> None:
    """Fails fast and cleanly where nobody listens: the SDK leaves the socket of a refused connection open."""
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


def status_of(error: BaseException) -> int:
    """The Engine's HTTP status in an SDK exception, or in the one that ours was made from; 0 for none."""
    source = error.__cause__ if isinstance(error, PushliveError) else error
    return int(source.status_code or 0) if isinstance(source, APIError) else 0


def explanation(error: BaseException) -> str:
    """What the Engine itself said, in one line."""
    said = error.explanation if isinstance(error, APIError) else None
    return " ".join(str(said or error).split())


def as_error(doing: str, error: Exception) -> PushliveError:
    """Our error for an exception of the SDK or of the libraries below it."""
    if isinstance(error, APIError):
        status = error.status_code or 0
        return EngineFailed(f"{doing}: Docker answered {status}: {explanation(error)}.")
    broken = isinstance(error, _BROKEN) or isinstance(error.__cause__, _BROKEN)
    if broken or "fetching server API version" in str(error):
        return TryAgain(f"{doing}: Docker does not answer ({explanation(error)}).", advice=_ADVICE)
    return EngineFailed(f"{doing}: {explanation(error)}.")


@contextmanager
def translate(doing: str = "talking to Docker") -> Iterator[None]:
    """SDK exceptions raised inside leave as ours: TryAgain where the connection failed, EngineFailed where
    the Engine refused (``status_of`` still knows the status). ``doing`` begins the message."""
    try:
        yield
    except (DockerException, requests.exceptions.RequestException, urllib3.exceptions.HTTPError) as error:
        raise as_error(doing, error) from error
    except (ConnectionError, TimeoutError) as error:
        raise as_error(doing, error) from error
