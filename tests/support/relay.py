"""A way to a server that a test can cut: a TCP relay on a loopback port."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Relay:
    """Leads every connection to ``target``. While it is ``cut``, connections are refused; those that stand break."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._listener: socket.socket | None = None
        self._pairs: list[socket.socket] = []
        self._lock = threading.Lock()
        with socket.create_server(("127.0.0.1", 0)) as first:
            self.port = int(first.getsockname()[1])
        self.count = 0  # connections so far

    @property
    def standing(self) -> int:
        """Connections that stand."""
        with self._lock:
            return sum(one.fileno() != -1 for one in self._pairs) // 2

    def open(self) -> None:
        """Takes connections, from now on or again."""
        self._listener = socket.create_server(("127.0.0.1", self.port), reuse_port=False)
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def cut(self) -> None:
        """Breaks what stands and refuses what comes."""
        listener, self._listener = self._listener, None
        if listener:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        self.drop()

    def drop(self) -> None:
        """Breaks what stands; what comes is taken."""
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for one in pairs:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:  # it was cut
                return
            far = socket.create_connection(self._target)
            with self._lock:
                self._pairs += [near, far]
                self.count += 1
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=_carry, args=(source, sink), daemon=True).start()


def _carry(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError), source:
        while piece := source.recv(65536):
            sink.sendall(piece)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_RDWR)


@contextmanager
def relayed(target: tuple[str, int]) -> Iterator[Relay]:
    """An open relay, until the context ends."""
    relay = Relay(target)
    relay.open()
    try:
        yield relay
    finally:
        relay.cut()
