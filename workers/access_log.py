"""Reads what the proxy says of each request and writes the access log. It runs in a process of its own, so that many
requests delay nothing else, and only with PUSHLIVE_ACCESS_LOG."""

from __future__ import annotations

import logging
import select
import signal
import socket
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import suppress

from pipeline.config.settings import Settings
from pipeline.domain.environment import Environment
from pipeline.errors import DamagedRecord, PushliveError
from pipeline.runlog.access import lines
from pipeline.runlog.access.files import AccessFiles
from pipeline.runtime import bootstrap
from pipeline.secrets.redaction import Mask
from pipeline.secrets.vault import Vault
from pipeline.store import Store
from workers.problems import Once

BUFFER = 64 << 20  # bytes that wait in the kernel, if it allows as many
LONGEST = 65536  # bytes of a datagram
BATCH = 500  # lines between two writes
WAIT = 1.0  # seconds without a line, after which it looks whether it has to stop
RETRY = 5.0  # seconds until a port that is in use is tried again
FRESH = 1.0  # seconds for which it is known what is in each slot
MASKED = 10.0  # seconds until a new secret is masked as well
TIDY = 10.0

log = logging.getLogger("pushlive.access")


class AccessLog:
    """Not for more than one thread."""

    def __init__(self, store: Store, vault: Vault, files: AccessFiles) -> None:
        self._store, self._vault, self._files = store, vault, files
        self._known: dict[int, Environment] = {}
        self._known_at = -FRESH
        self._masks: dict[str, tuple[float, Mask]] = {}

    def take(self, datagrams: Iterable[bytes], now: float) -> None:
        """Writes the requests. ``now``: of the monotonic clock. Raises PushliveError and OSError; the lines are lost
        then."""
        texts: dict[tuple[str, str], list[bytes]] = defaultdict(list)
        for datagram in datagrams:
            if (found := lines.seen(datagram)) and (of := self._environment(found.index, now)):
                slot = of.slots.get(found.slot) if found.slot else None
                mask = self._mask(of.pipeline, now)
                texts[of.pipeline, of.name].append(lines.line(found, slot.release if slot else 0, mask.text))
        for (pipeline, environment), some in texts.items():
            self._files.write(pipeline, environment, b"".join(some))

    def _environment(self, index: int, now: float) -> Environment | None:
        if now - self._known_at >= FRESH:
            found = {}
            for pipeline in self._store.pipelines():
                with suppress(DamagedRecord):
                    found.update({one.index: one for one in self._store.environments(pipeline).values()})
            self._known, self._known_at = found, now
        return self._known.get(index)

    def _mask(self, pipeline: str, now: float) -> Mask:
        at, mask = self._masks.get(pipeline, (-MASKED, Mask()))
        if now - at >= MASKED:
            mask, _ = self._vault.mask(pipeline)
            self._masks[pipeline] = (now, mask)
        return mask


def loop(settings: Settings) -> None:
    """Runs until SIGTERM."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    services = bootstrap.services(settings)
    files = AccessFiles(settings.data, settings.logs_keep, settings.logs_size)
    threading.Thread(target=_tidy, args=(files, stop), daemon=True, name="tidy").start()
    writer, said = AccessLog(services.store, services.vault, files), Once(log)
    while not stop.is_set():
        try:
            with listening(settings.preview_port) as source:
                _read(source, writer, stop, said)
        except OSError as error:
            said(
                f"the access log is not written: UDP port {settings.preview_port} cannot be read ({error.strerror})"
            )
            stop.wait(RETRY)


def _read(
    source: socket.socket, writer: AccessLog, stop: threading.Event, said: Callable[[str], None]
) -> None:
    while not stop.is_set():
        if not (some := received(source)):
            continue
        try:
            writer.take(some, time.monotonic())
            said("")
        except PushliveError as error:
            said(f"requests are missing in the access log: {error}")
        except OSError as error:
            said(f"requests are missing in the access log: {error.strerror or error}")


def listening(port: int) -> socket.socket:
    """Raises OSError if another process has the port."""
    source = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        try:
            source.setsockopt(socket.SOL_SOCKET, getattr(socket, "SO_RCVBUFFORCE", 33), BUFFER)
        except PermissionError:  # only root may have more than net.core.rmem_max
            source.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        source.bind(("127.0.0.1", port))
        source.setblocking(False)
    except OSError:
        source.close()
        raise
    return source


def received(source: socket.socket) -> list[bytes]:
    """What is there, ``BATCH`` at most; after ``WAIT`` nothing."""
    found: list[bytes] = []
    select.select([source], [], [], WAIT)
    with suppress(BlockingIOError):
        while len(found) < BATCH:
            found.append(source.recv(LONGEST))
    return found


def _tidy(files: AccessFiles, stop: threading.Event) -> None:
    said = Once(log)
    while not stop.wait(TIDY):
        try:
            files.tidy()
            said("")
        except OSError as error:
            said(f"cannot keep the access log in order: {error}. It is tried again.")
