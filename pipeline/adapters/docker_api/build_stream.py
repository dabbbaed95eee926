"""One build on the Engine as a stream of its records. The build never outlives the stream."""

from __future__ import annotations

import contextlib
import json
import tarfile
from collections.abc import Generator, Iterable, Iterator
from typing import Any

import requests
import urllib3
from docker.errors import DockerException

import docker
from pipeline.adapters.docker_api.client import as_error, translate
from pipeline.errors import EngineFailed, PushliveError, TryAgain
from pipeline.lib.streams import pump
from pipeline.ports.clock import Watch

_JOIN = 10.0  # seconds for the Engine to end a cancelled build
_DOING = "Building the image"


def records(
    client: docker.DockerClient, build_id: str, params: dict[str, str], body: Iterable[bytes], watch: Watch
) -> Generator[dict[str, Any]]:
    """The JSON records with which the Engine answers a BuildKit build of the tar in ``body``.

    However the iteration ends, the Engine has been told to end the build. Raises TryAgain (the connection broke),
    EngineFailed (the Engine refused, or the tar is broken) and what the watch raises.
    """
    build = _Build(client, {**params, "version": "2", "buildid": build_id}, body)
    return pump(build.records(), watch.check, build.stop, name=f"build-{build_id}", join=_JOIN)


class _Build:
    def __init__(self, client: docker.DockerClient, params: dict[str, str], body: Iterable[bytes]) -> None:
        self._api: Any = client.api
        self._params = params
        self._body = body
        self._ended = False

    def records(self) -> Iterator[dict[str, Any]]:
        """Sends the context and reads the answer. Runs in the pump's thread."""
        try:
            yield from self._answer()
        except (DockerException, requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            raise as_error(_DOING, error) from error
        except tarfile.TarError as error:
            raise EngineFailed(f"{_DOING}: the context's tar stream is broken ({error}). Retry.") from error
        except ValueError as error:  # no JSON, or a pipe that was closed while it was read
            raise TryAgain(f"{_DOING}: the Engine's answer or the context was cut off ({error}).") from error
        finally:
            self._ended = True

    def _answer(self) -> Iterator[dict[str, Any]]:
        """Without a read timeout: a step may be silent for as long as the watch allows."""
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

    def stop(self) -> None:
        """Cancels the build unless it has ended; the Engine then closes the connection."""
        if self._ended:
            return
        with contextlib.suppress(PushliveError), translate("Cancelling the build"):
            params = {"id": self._params["buildid"]}
            self._api._raise_for_status(self._api._post(self._api._url("/build/cancel"), params=params))
