"""One build on the Engine as a stream of its records. The build never outlives the stream."""

from __future__ import annotations

import tarfile
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, suppress

import requests
import urllib3
from docker.errors import DockerException

from pipeline.adapters.docker_api.connection import Connection, Record, records
from pipeline.adapters.docker_api.errors import as_error, translate
from pipeline.errors import EngineFailed, PushliveError, TryAgain
from pipeline.lib.streams import pump
from pipeline.ports.clock import Watch

_JOIN = 10.0  # seconds for the Engine to end a cancelled build
_DOING = "Building the image"


def build(
    api: Connection, build_id: str, params: dict[str, str], body: Iterable[bytes], watch: Watch
) -> Generator[Record]:
    """The records with which the Engine answers a BuildKit build of the tar in ``body``.

    However the iteration ends, the Engine has been told to end the build. Raises TryAgain (the connection broke),
    EngineFailed (the Engine refused, or the tar is broken) and what the watch and ``body`` raise.
    """
    one = _Build(api, {**params, "version": "2", "buildid": build_id}, body)
    return pump(one.records(), watch.check, one.stop, name=f"build-{build_id}", join=_JOIN)


class _Build:
    def __init__(self, api: Connection, params: dict[str, str], body: Iterable[bytes]) -> None:
        self._api = api
        self._params = params
        self._body = body
        self._ended = False

    def records(self) -> Iterator[Record]:
        """Sends the context and reads the answer, without a time limit: a step may be silent for as long as the watch
        allows. Runs in the pump's thread."""
        headers = {"Content-Type": "application/x-tar"}
        try:
            with closing(
                self._api.post("/build", data=iter(self._body), params=self._params, headers=headers)
            ) as answer:
                yield from records(answer)
        except (DockerException, requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            raise as_error(_DOING, error) from error
        except tarfile.TarError as error:
            raise EngineFailed(
                f"{_DOING}: the context's tar stream is broken ({error}).", advice="Retry."
            ) from error
        except ValueError as error:  # no JSON, or a pipe that was closed while it was read
            raise TryAgain(f"{_DOING}: the Engine's answer or the context was cut off ({error}).") from error
        finally:
            self._ended = True

    def stop(self) -> None:
        """Cancels the build unless it has ended; the Engine then closes the connection."""
        if self._ended:
            return
        with suppress(PushliveError), translate("Cancelling the build"):
            self._api.post("/build/cancel", params={"id": self._params["buildid"]}, timeout=_JOIN).close()
