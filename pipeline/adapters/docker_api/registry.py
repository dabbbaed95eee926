"""The Engine pushes images to a registry and pulls them from it. Passing trouble is met by retrying."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from typing import Any, TypeVar

import requests
import urllib3
from docker.auth import encode_header, get_config_header
from docker.errors import APIError, DockerException

from pipeline.adapters.docker_api import connection
from pipeline.adapters.docker_api.connection import Connection, Record
from pipeline.adapters.docker_api.errors import as_error, explanation
from pipeline.adapters.docker_api.registry_errors import Failing, meaning
from pipeline.adapters.docker_api.registry_progress import Progress
from pipeline.domain.engine_types import Login
from pipeline.domain.events import Event
from pipeline.errors import EngineFailed, TryAgain
from pipeline.lib.bounded import Late, TooManyLeft, bounded
from pipeline.lib.retry import Backoff, Retry
from pipeline.lib.sockets import Interruptible
from pipeline.lib.streams import Silence, pump
from pipeline.ports.builder import Emit
from pipeline.ports.clock import Clock, Watch

RETRY_FOR = 45.0  # seconds, from the first failure
BACKOFF = Backoff(0.5, ceiling=8.0)
HELPER_WITHIN = 15.0  # seconds until the login that `docker login` has left is read
SILENCE = 60.0  # seconds without a record from the Engine after which an attempt is given up

T = TypeVar("T")


def push(
    api: Connection, clock: Clock, repository: str, tag: str, login: Login | None, emit: Emit, watch: Watch
) -> str:
    """Pushes the image with that tag; returns its reference by digest, ``HOST/NAME@sha256:…``. Idempotent."""
    doing = f"Pushing to {repository}"

    def once() -> str:
        progress, digest = Progress(doing, clock, emit), ""
        path, params = f"/images/{repository}/push", {"tag": tag}
        with closing(_records(api, path, params, login, doing, watch)) as records:
            for record in records:
                progress.see(record)
                digest = (record.get("aux") or {}).get("Digest") or digest
        if not digest:
            raise TryAgain(f"{doing}: the Engine ended its answer without a digest.")
        return f"{repository}@{digest}"

    return _retried(once, clock, emit, watch)


def pull(
    api: Connection, clock: Clock, reference: str, login: Login | None, emit: Emit, watch: Watch
) -> None:
    """Pulls the image ``HOST/NAME@sha256:…``, or ``NAME:TAG``. Idempotent."""
    name, digest = _parts(reference)
    doing = f"Pulling {name}@{digest[:19]}" if "@" in reference else f"Pulling {name}:{digest}"

    def once() -> None:
        progress, params = Progress(doing, clock, emit), {"fromImage": name, "tag": digest}
        with closing(_records(api, "/images/create", params, login, doing, watch)) as records:
            for record in records:
                progress.see(record)

    _retried(once, clock, emit, watch)


def _parts(reference: str) -> tuple[str, str]:
    """The name, and the digest or tag."""
    name, _, digest = reference.partition("@")
    before, _, last = name.rpartition("/")
    short, _, tag = last.partition(":")
    return (f"{before}/{short}" if before else short), digest or tag or "latest"


def _retried(act: Callable[[], T], clock: Clock, emit: Emit, watch: Watch) -> T:
    """The result of ``act``, which is called again after TryAgain. In the end raises TryAgain if the registry or the
    Engine could not be reached, and EngineFailed if the registry kept failing."""
    retry: Retry | None = None
    while True:
        try:
            return act()
        except TryAgain as error:
            # Timed from the first failure: an attempt that went well for long says nothing against another.
            retry = retry or Retry(BACKOFF, clock, timeout=RETRY_FOR)
            pause = retry.pause()
            if pause is None or watch.remaining() < pause + 1:
                if isinstance(error, Failing):
                    raise EngineFailed(
                        f"{error.message} Tried {retry.failures} times.", advice=error.advice
                    ) from error
                raise
            emit(Event("warning", clock.now(), f"{error.message} Retrying in {pause:g} s."))
        watch.wait(pause)


def _records(
    api: Connection, path: str, params: dict[str, str], login: Login | None, doing: str, watch: Watch
) -> Generator[Record]:
    """The records of the Engine's answer. However the iteration ends, the Engine has been told to stop."""
    call = _Call(api, path, params, login, doing)
    try:
        yield from pump(call.records(), watch.check, call.stop, name=doing, silence=SILENCE)
    except Silence:
        raise TryAgain(f"{doing}: Docker has not answered for {SILENCE:g} s.") from None


class _Call:
    def __init__(
        self, api: Connection, path: str, params: dict[str, str], login: Login | None, doing: str
    ) -> None:
        self._api, self._path, self._params, self._login, self._doing = api, path, params, login, doing
        self._waits = Interruptible()

    def records(self) -> Iterator[Record]:
        """Runs in the pump's thread."""
        try:
            with self._waits, closing(self._post()) as response:
                for record in connection.records(response):
                    if said := record.get("error"):
                        raise meaning(self._doing, str(said), self._login)
                    yield record
        except APIError as error:
            raise meaning(self._doing, explanation(error), self._login) from error
        except (DockerException, requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            raise as_error(self._doing, error) from error
        except ValueError as error:  # no JSON, or a connection that was closed while it was read
            raise TryAgain(f"{self._doing}: the Engine's answer was cut off ({error}).") from error

    def _post(self) -> requests.Response:
        return self._api.post(self._path, params=self._params, headers=self._headers())

    def _headers(self) -> dict[str, str]:
        """Without a login in the configuration: the one that `docker login` has left on this machine, if any."""
        header: Any
        if self._login is None:
            header = self._of_this_machine() or encode_header({})
        else:
            login = {"username": self._login.username, "password": self._login.password.reveal()}
            header = encode_header({**login, "serveraddress": self._host})
        return {"X-Registry-Auth": header}

    def _of_this_machine(self) -> Any:
        """`docker login` may have left the login to a program (a credential helper), which may hang."""
        host, sdk = self._host, self._api.sdk
        try:
            return bounded(
                lambda: get_config_header(sdk, host), HELPER_WITHIN, name=f"login of {host}", most=1
            )
        except (Late, TooManyLeft):
            raise TryAgain(
                f"{self._doing}: the program that keeps this machine's login for {host} did not answer within "
                f"{HELPER_WITHIN:g} s.",
                advice="See `credsStore` and `credHelpers` in ~/.docker/config.json of the service's user, or set "
                "`username` and `password` under `registry:`.",
            ) from None

    @property
    def _host(self) -> str:
        name = self._params.get("fromImage") or self._path.removeprefix("/images/")
        host, _, rest = name.partition("/")
        return host if rest and ("." in host or ":" in host or host == "localhost") else "docker.io"

    def stop(self) -> None:
        """Closes the connection, so that the Engine stops if it has not finished."""
        self._waits.end()
