"""The connection to one Engine on which all of ``DockerApi`` is built."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from typing import Any

import requests
from docker.errors import create_api_error_from_http_exception

import docker
from pipeline.adapters.docker_api.errors import DockerRefused, translate
from pipeline.lib.retry import Backoff, Retry
from pipeline.lib.sockets import within

COUNTING = Backoff(0.2, ceiling=1.0, jitter=0.5)
ClientFactory = Callable[[], docker.DockerClient]
Record = dict[str, Any]


class Connection:
    """Each process connects for itself: a forked one must not share its parent's sockets."""

    def __init__(self, client_factory: ClientFactory) -> None:
        self._factory = client_factory
        self._client: docker.DockerClient | None = None
        self._owner = 0

    @property
    def client(self) -> docker.DockerClient:
        """The SDK's client. For this package alone; so is ``sdk``."""
        if self._client is None or self._owner != os.getpid():
            self._client, self._owner = self._factory(), os.getpid()
        return self._client

    @property
    def sdk(self) -> docker.APIClient:
        """The SDK's low-level client."""
        return self.client.api

    def post(
        self,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        data: str | Iterable[bytes] | None = None,
        timeout: float | None = None,
    ) -> requests.Response:
        """A POST whose answer is read as it comes. The SDK has no call that lets another thread end such an answer.

        ``timeout``: seconds for a single read, None for no limit. Raises what the SDK raises: the caller translates.
        """
        api: Any = self.sdk
        return _checked(
            api.post(
                f"{api.base_url}/v{api.api_version}{path}",
                params=params, headers=headers, data=data, stream=True, timeout=timeout,
            )
        )  # fmt: skip

    def put(
        self, path: str, *, params: Mapping[str, str], data: Iterable[bytes], timeout: float | None = None
    ) -> requests.Response:
        """A PUT of a body that is sent as it comes, otherwise as ``post``."""
        api: Any = self.sdk
        return _checked(
            api.put(f"{api.base_url}/v{api.api_version}{path}", params=params, data=data, timeout=timeout)
        )

    def get(self, path: str, *, params: Mapping[str, str], timeout: float | None = None) -> requests.Response:
        """A GET whose answer is read as it comes, otherwise as ``post``."""
        api: Any = self.sdk
        url = f"{api.base_url}/v{api.api_version}{path}"
        return _checked(api.get(url, params=params, stream=True, timeout=timeout))

    def disk_usage(self, kind: str, doing: str) -> Record:
        """The Engine's count of ``volume`` or ``build-cache``; one before 23.0 counts everything. It counts once at a
        time and refuses others, who ask again here until the client's timeout."""
        seconds: float = self.sdk.timeout
        retry = Retry(COUNTING, timeout=seconds)
        while True:
            try:
                with (
                    translate(doing),
                    within(seconds),
                    closing(self.get("/system/df", params={"type": kind}, timeout=seconds)) as answer,
                ):
                    found: Record = answer.json()
                    return found
            except DockerRefused as error:
                pause = retry.pause() if error.counting else None
                if pause is None:
                    raise
                time.sleep(pause)

    def unless_gone(self, doing: str, act: Callable[[], Any]) -> Any:
        """The result of ``act``; None if what it acts on does not exist, or is in that state (304)."""
        try:
            with translate(doing):
                return act()
        except DockerRefused as error:
            if error.status in (304, 404):
                return None
            raise


def _checked(response: requests.Response) -> requests.Response:
    try:
        response.raise_for_status()
    except requests.exceptions.HTTPError as error:
        raise create_api_error_from_http_exception(error) from error
    return response


def records(response: requests.Response) -> Iterator[Record]:
    """The JSON records of an answer, as they come. Raises ValueError on anything else."""
    for line in response.iter_lines(chunk_size=1 << 16):
        if line:
            yield json.loads(line)
