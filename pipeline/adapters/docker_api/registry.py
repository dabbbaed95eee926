"""Images to a registry and from it, by the Engine: told as it goes on, tried again while the trouble may pass."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import closing, suppress
from typing import Any, TypeVar

import requests
import urllib3
from docker.auth import encode_header, get_config_header
from docker.errors import APIError, DockerException
from docker.types import CancellableStream

from pipeline.adapters.docker_api.client import as_error, explanation
from pipeline.adapters.docker_api.registry_errors import Failing, meaning
from pipeline.domain.engine_types import Login
from pipeline.domain.events import Event
from pipeline.errors import EngineFailed, TryAgain
from pipeline.lib.retry import Backoff, Retry
from pipeline.lib.streams import Silence, pump
from pipeline.lib.units import show_size
from pipeline.ports.builder import Emit
from pipeline.ports.clock import Clock, Watch

PATIENCE = 45.0  # seconds that trouble may take to pass
BACKOFF = Backoff(0.5, ceiling=8.0)
SILENCE = 60.0  # seconds without a record from the Engine after which an attempt is given up
TELL_EVERY = 5.0  # seconds between two words about how far it is

Record = dict[str, Any]
T = TypeVar("T")


def push(
    api: Any, clock: Clock, repository: str, tag: str, login: Login | None, emit: Emit, watch: Watch
) -> str:
    """Sends the image that is tagged so; its reference by digest, ``HOST/NAME@sha256:…``. Twice."""
    doing = f"Pushing to {repository}"

    def once() -> str:
        progress, digest = _Progress(doing, clock, emit), ""
        path, params = f"/images/{repository}/push", {"tag": tag}
        with closing(_records(api, path, params, login, doing, watch)) as records:
            for record in records:
                progress.see(record)
                digest = (record.get("aux") or {}).get("Digest") or digest
        if not digest:
            raise TryAgain(f"{doing}: the Engine ended its answer without a digest.")
        return f"{repository}@{digest}"

    return _patiently(once, clock, emit, watch)


def pull(api: Any, clock: Clock, reference: str, login: Login | None, emit: Emit, watch: Watch) -> None:
    """Brings the image of ``HOST/NAME@sha256:…`` to the Engine. Twice."""
    name, _, digest = reference.partition("@")
    doing = f"Pulling {name}@{digest[:19]}"

    def once() -> None:
        progress, params = _Progress(doing, clock, emit), {"fromImage": name, "tag": digest}
        with closing(_records(api, "/images/create", params, login, doing, watch)) as records:
            for record in records:
                progress.see(record)

    _patiently(once, clock, emit, watch)


def _patiently(act: Callable[[], T], clock: Clock, emit: Emit, watch: Watch) -> T:
    """``act``, and again while what it meets may pass. Raises TryAgain where nobody could be reached for long, and
    EngineFailed where the registry has kept failing."""
    retry: Retry | None = None
    while True:
        try:
            return act()
        except TryAgain as error:
            # Timed from the first failure: an attempt that went well for long says nothing against another.
            retry = retry or Retry(BACKOFF, clock, timeout=PATIENCE)
            pause = retry.pause()
            if pause is None or watch.remaining() < pause + 1:
                if isinstance(error, Failing):
                    raise EngineFailed(
                        f"{error.message} Tried {retry.failures} times.", advice=error.advice
                    ) from error
                raise
            emit(Event("warning", clock.now(), f"{error.message} Tried again in {pause:g} s."))
        watch.wait(pause)


class _Progress:
    """Layers and bytes, told now and then."""

    def __init__(self, doing: str, clock: Clock, emit: Emit) -> None:
        self._doing, self._clock, self._emit = doing, clock, emit
        self._layers: dict[str, tuple[int, int]] = {}  # bytes that are through, and all
        self._done: set[str] = set()
        self._told = clock.monotonic()
        self._troubled = False

    def see(self, record: Record) -> None:
        layer, status, detail = record.get("id"), record.get("status", ""), record.get("progressDetail") or {}
        if not layer:
            return
        if (
            status.startswith("Retrying") and not self._troubled
        ):  # the Engine's own patience: about 50 s for a layer
            self._troubled = True
            text = f"{self._doing}: the registry did not take or give a layer; Docker tries again."
            self._emit(Event("warning", self._clock.now(), text))
        whole = int(detail.get("total") or 0)
        through = min(int(detail.get("current") or 0), whole)
        self._layers[layer] = (through, whole) if whole else self._layers.get(layer, (0, 0))
        if (
            status in ("Pushed", "Layer already exists", "Pull complete", "Already exists")
            or "Mounted" in status
        ):
            self._done.add(layer)
        if self._clock.monotonic() - self._told >= TELL_EVERY:
            self._told = self._clock.monotonic()
            self._emit(Event("note", self._clock.now(), self._text()))

    def _text(self) -> str:
        through = sum(whole if layer in self._done else a for layer, (a, whole) in self._layers.items())
        size = f"{show_size(through)} of {show_size(sum(whole for _, whole in self._layers.values()))}"
        return f"{self._doing}: {len(self._done)} of {len(self._layers)} layers, {size}"


def _records(
    api: Any, path: str, params: Record, login: Login | None, doing: str, watch: Watch
) -> Generator[Record]:
    """The records of the Engine's answer. However the iteration ends, the Engine has been told to stop."""
    call = _Call(api, path, params, login, doing)
    try:
        yield from pump(call.records(), watch.check, call.stop, name=doing, silence=SILENCE)
    except Silence:
        raise TryAgain(f"{doing}: the Engine has said nothing for {SILENCE:g} s.") from None


class _Call:
    def __init__(self, api: Any, path: str, params: Record, login: Login | None, doing: str) -> None:
        self._api, self._path, self._params, self._login, self._doing = api, path, params, login, doing
        self._stopped = False
        self._stream: CancellableStream[Any] | None = None

    def records(self) -> Iterator[Record]:
        """Runs in the pump's thread."""
        try:
            for record in self._answer():
                if said := record.get("error"):
                    raise meaning(self._doing, str(said), self._login)
                yield record
        except APIError as error:
            raise meaning(self._doing, explanation(error), self._login) from error
        except (DockerException, requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            raise as_error(self._doing, error) from error
        except ValueError as error:  # no JSON, or a connection that was closed while it was read
            raise TryAgain(f"{self._doing}: the Engine's answer was cut off ({error}).") from error

    def _answer(self) -> Iterator[Record]:
        api = self._api
        response = api._post(
            api._url(self._path), params=self._params, headers=self._headers(), stream=True, timeout=None
        )
        with closing(response):
            api._raise_for_status(response)
            stream = api._stream_helper(response, decode=True)
            self._stream = CancellableStream(stream, response)  # for its ``close``: iterating it hides errors
            if not self._stopped:
                yield from stream

    def _headers(self) -> dict[str, Any]:
        """Without a login in the configuration: the one that `docker login` has left on this machine, if any."""
        if self._login is None:
            found = get_config_header(self._api, self._host)
            return {"X-Registry-Auth": found or encode_header({})}
        login = {"username": self._login.username, "password": self._login.password.reveal()}
        return {"X-Registry-Auth": encode_header({**login, "serveraddress": self._host})}

    @property
    def _host(self) -> str:
        name = self._params.get("fromImage") or self._path.removeprefix("/images/")
        return str(name).partition("/")[0]

    def stop(self) -> None:
        """Closes the connection, so that the Engine stops if it has not finished."""
        self._stopped = True
        if self._stream is not None:
            with suppress(DockerException, OSError, AttributeError, ValueError):
                self._stream.close()
