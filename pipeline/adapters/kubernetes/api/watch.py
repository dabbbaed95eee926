"""A list of objects that is kept up to date: listed once, then watched, and listed again after each broken stream."""

from __future__ import annotations

import json
import threading
import time
from types import TracebackType

from urllib3 import BaseHTTPResponse
from urllib3.exceptions import HTTPError

from pipeline.adapters.kubernetes.api import kube_api
from pipeline.adapters.kubernetes.api.client import status_of
from pipeline.adapters.kubernetes.api.kube_api import KubeApi
from pipeline.adapters.kubernetes.api.objects import KubeObject
from pipeline.errors import PushliveError, TryAgain
from pipeline.lib.retry import Backoff, Retry
from pipeline.lib.sockets import within

GONE = 410  # the server no longer has that resource version
BACKOFF = Backoff(0.1, ceiling=2.0)  # before listing again
LASTING = 5.0  # seconds after which a stream that ends counts as good
JOIN_TIMEOUT = 1.0  # seconds for a reader to end after its stream was shut down
# What reading a stream may raise; AttributeError if it is shut down just as the TLS layer is entered.
STREAM_ERRORS = (HTTPError, OSError, ValueError, AttributeError)


class WatchedObjects:
    """The objects of some kinds that a query selects (as in ``KubeApi.snapshot``). Use it as a context manager."""

    def __init__(self, api: KubeApi, kinds: tuple[str, ...], query: dict[str, str]) -> None:
        self._api, self._query = api, query
        self._changed, self._closed = threading.Event(), threading.Event()
        self._lock = threading.Lock()
        self._objects: dict[str, dict[str, KubeObject]] = {kind: {} for kind in kinds}
        self._listed: set[str] = set()
        self._silent_since = dict.fromkeys(kinds, time.monotonic())
        self._streams: dict[str, BaseHTTPResponse] = {}
        self._error: PushliveError | None = None
        self.breaks = 0  # how often a stream broke or the server did not answer
        self._threads = [threading.Thread(target=self._run, args=(kind,), daemon=True) for kind in kinds]

    def __enter__(self) -> WatchedObjects:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed.set()
        with self._lock:
            for stream in self._streams.values():
                shut_down(stream)
        for thread in self._threads:
            thread.join(JOIN_TIMEOUT)  # one that waits for an answer ends with that answer

    def wait(self, seconds: float) -> bool:
        """Waits for a change, at most that long; True if there was one. Raises an error that waiting cannot resolve."""
        changed = self._changed.wait(seconds)
        self._changed.clear()
        if self._error:
            raise self._error
        return changed

    def complete(self) -> bool:
        """True once every kind was listed."""
        return len(self._listed) == len(self._objects)

    def silence(self) -> float:
        """Seconds for which at least one kind has had neither a list nor a standing watch; 0 if all have one."""
        with self._lock:
            since = min(self._silent_since.values(), default=None)
        return 0.0 if since is None else time.monotonic() - since

    def objects(self, kind: str) -> list[KubeObject]:
        """The objects of that kind, sorted by name."""
        with self._lock:
            return [self._objects[kind][name] for name in sorted(self._objects[kind])]

    def _run(self, kind: str) -> None:
        retry = Retry(BACKOFF)
        while not self._closed.is_set():
            started = time.monotonic()
            try:
                self._stream(kind, self._list(kind))
            except TryAgain:
                self.breaks += 1
            except PushliveError as error:
                if status_of(error) != GONE:
                    self._error = error
                    self._changed.set()
                    return
            with self._lock:
                self._silent_since.setdefault(kind, time.monotonic())
            if time.monotonic() - started > LASTING:
                retry.reset()
            self._closed.wait(retry.pause())

    def _list(self, kind: str) -> str:
        objects, version = self._api.snapshot(kind, self._query)
        with self._lock:
            self._objects[kind] = {one["metadata"]["name"]: one for one in objects}
            self._listed.add(kind)
        self._changed.set()
        return version

    def _stream(self, kind: str, version: str) -> None:
        stream = self._api.watch(kind, self._query, version)
        with self._lock:
            self._streams[kind] = stream
            self._silent_since.pop(kind, None)
            if self._closed.is_set():
                shut_down(stream)
        try:
            with within(
                kube_api.WATCH_SECONDS + kube_api.WATCH_SLACK
            ):  # though bytes without a change keep coming
                self._read(kind, stream)
        except STREAM_ERRORS:
            self.breaks += 1  # it is listed again, so that no change is missed
        finally:
            stream.close()

    def _read(self, kind: str, stream: BaseHTTPResponse) -> None:
        rest = b""
        while not self._closed.is_set():
            piece = stream.read1()
            if not piece:
                return
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                if line and not self._take(kind, json.loads(line)):
                    return

    def _take(self, kind: str, change: KubeObject) -> bool:
        """False if the server no longer has the resource version."""
        if change["type"] == "ERROR":
            return False
        one = change["object"]
        with self._lock:
            if change["type"] == "DELETED":
                self._objects[kind].pop(one["metadata"]["name"], None)
            else:
                self._objects[kind][one["metadata"]["name"]] = one
        self._changed.set()
        return True


def shut_down(stream: BaseHTTPResponse) -> None:
    """Ends a read that another thread is blocked in."""
    try:
        stream.shutdown()
    except (OSError, ValueError, RuntimeError):  # it has already ended
        return
