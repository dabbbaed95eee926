"""What is there now, kept up to date by the cluster itself: a list, then its changes, from the start again whenever the
stream breaks."""

from __future__ import annotations

import json
import threading
import time
from types import TracebackType

from urllib3 import BaseHTTPResponse
from urllib3.exceptions import HTTPError

from pipeline.adapters.kubernetes.api import Found, KubeApi
from pipeline.adapters.kubernetes.client import status_of
from pipeline.errors import PushliveError, TryAgain
from pipeline.lib.retry import Backoff, Retry

GONE = 410  # the server knows that version no more: it is listed again
BACKOFF = Backoff(0.1, ceiling=2.0)  # before it is asked again
LASTING = 5.0  # seconds after which a stream that ends has been a good one
JOIN = 1.0  # seconds in which a reader ends once its stream is cut
# What reading a stream may end with; AttributeError where it is cut just as the TLS layer is entered.
BROKEN = (HTTPError, OSError, ValueError, AttributeError)


class Follow:
    """Follows the objects of some kinds that the query selects (``KubeApi.snapshot``). Use it as a context."""

    def __init__(self, api: KubeApi, kinds: tuple[str, ...], query: dict[str, str]) -> None:
        self._api, self._query = api, query
        self._changed, self._over = threading.Event(), threading.Event()
        self._lock = threading.Lock()
        self._found: dict[str, dict[str, Found]] = {kind: {} for kind in kinds}
        self._known: set[str] = set()
        self._lost = dict.fromkeys(kinds, time.monotonic())
        self._streams: dict[str, BaseHTTPResponse] = {}
        self._error: PushliveError | None = None
        self.breaks = 0  # how often a stream broke or the server did not answer
        self._threads = [threading.Thread(target=self._run, args=(kind,), daemon=True) for kind in kinds]

    def __enter__(self) -> Follow:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        with self._lock:
            for stream in self._streams.values():
                cut(stream)
        for thread in self._threads:
            thread.join(JOIN)  # one that waits for an answer ends with it, and does nothing more

    def wait(self, seconds: float) -> bool:
        """Until something has changed, or so many seconds; True if something has. Raises what no waiting mends."""
        changed = self._changed.wait(seconds)
        self._changed.clear()
        if self._error:
            raise self._error
        return changed

    def complete(self) -> bool:
        """True once every kind was listed."""
        return len(self._known) == len(self._found)

    def silence(self) -> float:
        """Seconds for which the server has told nothing of some kind, not even that all is as it was; 0 where it tells
        of all."""
        with self._lock:
            since = min(self._lost.values(), default=None)
        return 0.0 if since is None else time.monotonic() - since

    def objects(self, kind: str) -> list[Found]:
        """What is there now, in the order of names."""
        with self._lock:
            return [self._found[kind][name] for name in sorted(self._found[kind])]

    def _run(self, kind: str) -> None:
        retry = Retry(BACKOFF)
        while not self._over.is_set():
            began = time.monotonic()
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
                self._lost.setdefault(kind, time.monotonic())
            if time.monotonic() - began > LASTING:
                retry.reset()
            self._over.wait(retry.pause())

    def _list(self, kind: str) -> str:
        found, version = self._api.snapshot(kind, self._query)
        with self._lock:
            self._found[kind] = {one["metadata"]["name"]: one for one in found}
            self._known.add(kind)
        self._changed.set()
        return version

    def _stream(self, kind: str, version: str) -> None:
        stream = self._api.watch(kind, self._query, version)
        with self._lock:
            self._streams[kind] = stream
            self._lost.pop(kind, None)
            if self._over.is_set():
                cut(stream)
        try:
            self._read(kind, stream)
        except BROKEN:
            self.breaks += 1  # listed again: nothing that happened meanwhile is missed
        finally:
            stream.close()

    def _read(self, kind: str, stream: BaseHTTPResponse) -> None:
        rest = b""
        while not self._over.is_set():
            piece = stream.read1()
            if not piece:
                return
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                if line and not self._take(kind, json.loads(line)):
                    return

    def _take(self, kind: str, change: Found) -> bool:
        """False where the server knows that version no more."""
        if change["type"] == "ERROR":
            return False
        one = change["object"]
        with self._lock:
            if change["type"] == "DELETED":
                self._found[kind].pop(one["metadata"]["name"], None)
            else:
                self._found[kind][one["metadata"]["name"]] = one
        self._changed.set()
        return True


def cut(stream: BaseHTTPResponse) -> None:
    """Ends a read that another thread waits in."""
    try:
        stream.shutdown()
    except (OSError, ValueError, RuntimeError):  # it has ended by itself
        return
