"""The Docker SDK's exceptions turned into ours. What the Engine says is read here alone; of registries in
``registry_errors``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import requests
import urllib3
from docker.errors import APIError, DockerException

from pipeline.errors import EngineFailed, PushliveError, TryAgain

_ADVICE = "Check that the Docker daemon runs (`docker info`) and that DOCKER_HOST names its socket."
_SILENT = (
    "If `docker network ls` does not end either, restart Docker on that machine: `systemctl restart docker`."
    " Docker before 20.10.27 can lock up when many containers end at once."
)
_BROKEN = (
    requests.exceptions.ConnectionError,
    requests.exceptions.Timeout,
    requests.exceptions.ChunkedEncodingError,
    urllib3.exceptions.HTTPError,
    ConnectionError,
    TimeoutError,
)
# "Error while fetching server API version: ('Connection aborted.', FileNotFoundError(2, 'No such file or directory'))"
_NO_VERSION = "fetching server API version"
# "Bind for 0.0.0.0:80 failed: port is already allocated", "listen tcp4 0.0.0.0:80: bind: address already in use"
_PORT_IN_USE = ("already allocated", "address already in use")
# "failed to set up container networking: Address already in use"
_ADDRESS_IN_USE = "Address already in use"
# "a disk usage operation is already running"
_COUNTING = "disk usage operation is already running"
# "endpoint with name i-proxy already exists in network i-hello-live"
_CONNECTED = "already exists in network"


class DockerRefused(EngineFailed):
    """The Engine answered a request with an error. ``status``: the HTTP status; ``said``: the Engine's text."""

    def __init__(self, doing: str, status: int, said: str) -> None:
        super().__init__(f"{doing}: Docker answered {status}: {said}.")
        self.status = status
        self.said = said

    @property
    def port_in_use(self) -> bool:
        """True if a container could not start because a port that it publishes is in use."""
        return any(text in self.said for text in _PORT_IN_USE)

    @property
    def address_in_use(self) -> bool:
        """True if a container could not start because another one has its address."""
        return _ADDRESS_IN_USE in self.said

    @property
    def counting(self) -> bool:
        """True if the Engine counts what its disk has for another request."""
        return _COUNTING in self.said

    @property
    def already_connected(self) -> bool:
        """True if a container could not join a network because it is in it."""
        return _CONNECTED in self.said


def explanation(error: BaseException) -> str:
    """What the Engine said, or else the exception's text, in one line."""
    said = error.explanation if isinstance(error, APIError) else None
    return " ".join(str(said or error).split())


def as_error(doing: str, error: Exception) -> PushliveError:
    """Our error for an exception of the SDK or of the libraries below it. ``doing`` begins the message."""
    if isinstance(error, APIError):
        return DockerRefused(doing, error.status_code or 0, explanation(error))
    if isinstance(error, (requests.exceptions.ReadTimeout, urllib3.exceptions.ReadTimeoutError)):
        return TryAgain(f"{doing}: Docker accepted the request, but did not answer in time.", advice=_SILENT)
    broken = isinstance(error, _BROKEN) or isinstance(error.__cause__, _BROKEN)
    if broken or _NO_VERSION in str(error):
        return TryAgain(f"{doing}: Docker does not answer ({explanation(error)}).", advice=_ADVICE)
    return EngineFailed(f"{doing}: {explanation(error)}.")


@contextmanager
def translate(doing: str = "Talking to Docker") -> Iterator[None]:
    """SDK exceptions raised inside leave as ours: TryAgain if the connection failed, DockerRefused if the Engine
    answered with an error. ``doing`` begins the message."""
    try:
        yield
    except (DockerException, requests.exceptions.RequestException, urllib3.exceptions.HTTPError) as error:
        raise as_error(doing, error) from error
    except (ConnectionError, TimeoutError) as error:
        raise as_error(doing, error) from error
