"""One build on the Engine as a stream of its records: watched all the time, and ended for certain."""

from __future__ import annotations

import contextlib
import json
import queue
import tarfile
import threading
from collections.abc import Iterable, Iterator
from typing import Any

import requests
import urllib3
from docker.errors import DockerException

import docker
from pipeline.adapters.docker_api.client import as_error, translate
from pipeline.errors import EngineFailed, PushliveError, TryAgain
from pipeline.ports.clock import Watch

_POLL = 0.2  # seconds between two looks at the watch
_JOIN = 10.0  # seconds for the Engine to end a cancelled build
_DOING = "Building the image"


def records(
    client: docker.DockerClient, build_id: str, params: dict[str, str], body: Iterable[bytes], watch: Watch
) -> Iterator[dict[str, Any]]:
    """The JSON records that the Engine answers to a BuildKit build of the tar in ``body``.

    The Engine may be silent for minutes, so another thread talks to it. However this generator is left, the
    build has ended on the Engine then. Raises TryAgain (connection broken), EngineFailed (refused) and what
    the watch raises.
    """
    call = _Call(client, {**params, "version": "2", "buildid": build_id}, body)
    thread = threading.Thread(target=call.work, name=f"build-{build_id}", daemon=True)
    thread.start()
    try:
        while True:
            watch.check()
            try:
                item = call.arrived.get(timeout=_POLL)
            except queue.Empty:
                continue
            if item is None:
                return
            if isinstance(item, PushliveError):
                raise item
            yield item
    finally:
        call.stop.set()
        if thread.is_alive() and not call.ended:
            _cancel(client, build_id)
        thread.join(_JOIN)


class _Call:
    """The thread's side: sends the context, reads the answer."""

    def __init__(self, client: docker.DockerClient, params: dict[str, str], body: Iterable[bytes]) -> None:
        self.arrived: queue.Queue[dict[str, Any] | PushliveError | None] = queue.Queue(maxsize=256)
        self.stop = threading.Event()
        self.ended = False
        self._api: Any = client.api
        self._params = params
        self._body = body

    def work(self) -> None:
        try:
            for record in self._answer():
                self._put(record)
            self.ended = True
            self._put(None)
        except (DockerException, requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            self._put(as_error(_DOING, error))
        except tarfile.TarError as error:
            self._put(EngineFailed(f"{_DOING}: the context's tar stream is broken ({error}). Retry."))
        except ValueError as error:  # no JSON, or a pipe closed under the reader's hands
            self._put(TryAgain(f"{_DOING}: the Engine's answer or the context was cut off ({error})."))

    def _answer(self) -> Iterator[dict[str, Any]]:
        """Without a read timeout: a step may say nothing for as long as the watch allows."""
        response = self._api._post(
            self._api._url("/build"),
            data=iter(self._body),
            params=self._params,
            headers={"Content-Type": "application/x-tar"},
            stream=True,
            timeout=None,
        )
        with contextlib.closing(response):
            self._api._raise_for_status(response)
            for line in response.iter_lines(chunk_size=1 << 16):
                if line:
                    yield json.loads(line)

    def _put(self, item: dict[str, Any] | PushliveError | None) -> None:
        while not self.stop.is_set():
            with contextlib.suppress(queue.Full):
                self.arrived.put(item, timeout=_POLL)
                return


def _cancel(client: docker.DockerClient, build_id: str) -> None:
    """The Engine ends the build and closes the connection."""
    with contextlib.suppress(PushliveError), translate("Cancelling the build"):
        api: Any = client.api
        api._raise_for_status(api._post(api._url("/build/cancel"), params={"id": build_id}))
