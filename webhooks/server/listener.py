"""The listening socket, its connections, and how the server starts and stops."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from io import BytesIO
from typing import Any, Protocol

from pipeline.errors import ConfigError
from pipeline.lib.processes import return_freed_memory
from webhooks.server import wsgi
from webhooks.server.connection import Connection
from webhooks.server.limits import Limits
from webhooks.server.messages import Admission, BodyMode, BufferedBody, Head, Reply
from webhooks.server.pools import Busy, Pool, PoolSize
from webhooks.server.refusals import FAILED, busy
from webhooks.server.streaming import Bridge

BACKLOG = 1024  # a burst of connections waits here

log = logging.getLogger("pushlive.web")


class Site(Protocol):
    """What is served."""

    @property
    def app(self) -> wsgi.Application: ...

    @property
    def pools(self) -> Mapping[str, PoolSize]: ...

    def admit(self, head: Head) -> Admission: ...

    def group(self, address: str) -> str:
        """What counts as one sender."""

    def count(self, what: str) -> None:
        """Must not wait for anything: it is called by the loop."""


class Server:
    """``listen``: ``address:port``. ``make_site`` is called once, when the address is taken. ``by_proxy``: makes a Unix
    socket on which our own proxy connects, for its clients.

    For other threads: ``serving`` is set once it accepts connections; then ``stop()`` ends it.
    """

    stop: Callable[[], object]

    def __init__(
        self,
        listen: str,
        make_site: Callable[[], Site],
        limits: Limits | None = None,
        by_proxy: Callable[[], socket.socket] | None = None,
    ) -> None:
        self.limits = limits or Limits()
        self._buffered: Counter[str] = Counter()  # bytes of bodies in buffers, by sender
        self.serving = threading.Event()
        self._listen, self._make_site, self._by_proxy = listen, make_site, by_proxy
        self._connections: dict[Connection, asyncio.Task[None]] = {}
        self._idle: dict[str, dict[Connection, None]] = {}  # by sender, the longest idle first

    def run(self) -> None:
        """Serves until ``stop``, SIGTERM or SIGINT; a process hears of signals in its main thread alone. Raises
        ConfigError if the address cannot be used."""
        return_freed_memory()
        with _bound(self._listen) as sock:
            self._address: tuple[str, int] = sock.getsockname()[:2]
            self._site = self._make_site()
            self._pools = {name: Pool(name, size) for name, size in self._site.pools.items()}
            asyncio.run(self._serve(sock))

    async def _serve(self, sock: socket.socket) -> None:
        loop, stopped = asyncio.get_running_loop(), asyncio.Event()
        self.stop = partial(loop.call_soon_threadsafe, stopped.set)
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, stopped.set)
        servers = [await asyncio.start_server(self._connected, sock=sock, backlog=BACKLOG)]
        if self._by_proxy:
            servers.append(
                await asyncio.start_unix_server(self._connected, sock=self._by_proxy(), backlog=BACKLOG)
            )
        self.serving.set()
        await stopped.wait()
        await _rounds()  # what waits to be accepted would be reset
        for server in servers:
            server.close()
        await _rounds()
        await self._close_connections()

    async def _close_connections(self) -> None:
        """Only what is about to be answered is waited for. Open streams are closed; their runs continue."""
        answering = []
        for connection, task in self._connections.items():
            if connection.streaming or (connection.idle and not connection.by_proxy):
                task.cancel()
            else:
                answering.append(task)
        if answering:
            await asyncio.wait(answering, timeout=self.limits.stop_seconds)
        for connection in tuple(self._connections):
            connection.abort()

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._make_room()
        _watch_for_silence(writer.get_extra_info("socket"), self.limits.vanished_seconds)
        connection = Connection(self, reader, writer)
        self._connections[connection] = asyncio.create_task(self._speak_with(connection))
        self.has_changed(connection)

    async def _speak_with(self, connection: Connection) -> None:
        try:
            await connection.serve()
        except Exception:
            log.exception("a connection failed")
        finally:
            connection.idle = False
            self.has_changed(connection)
            del self._connections[connection]

    def has_changed(self, connection: Connection) -> None:
        group = self._site.group(connection.peer[0])
        if connection.idle:
            self._idle.setdefault(group, {})[connection] = None
        elif group in self._idle:
            self._idle[group].pop(connection, None)
            if not self._idle[group]:
                del self._idle[group]

    def move(self, connection: Connection, peer: tuple[str, int]) -> None:
        idle, connection.idle = connection.idle, False
        self.has_changed(connection)
        connection.peer, connection.idle = peer, idle
        self.has_changed(connection)

    def _make_room(self) -> None:
        """Closes the longest idle connection of the sender that has most of them. If there is none, each has a request
        in a pool, and those are bounded."""
        if len(self._connections) < self.limits.connections or not self._idle:
            return
        most = max(self._idle, key=lambda group: len(self._idle[group]))
        longest = next(iter(self._idle[most]))
        longest.idle = False  # it is on its way out
        self.has_changed(longest)
        longest.abort()
        self.count("connections: closed to make room")

    # What a connection asks for

    def has_room(self, connection: Connection, size: int) -> bool:
        """Takes so many bytes of the room for bodies, of which one sender gets half; False if they are not free."""
        group = self._site.group(connection.peer[0])
        free = self._buffered.total() + size <= self.limits.buffered
        if free and self._buffered[group] + size <= self.limits.buffered // 2:
            self._buffered[group] += size
            return True
        return False

    def free(self, connection: Connection, size: int) -> None:
        group = self._site.group(connection.peer[0])
        self._buffered[group] -= size
        if not self._buffered[group]:
            del self._buffered[group]

    def admit(self, head: Head) -> Admission:
        return self._site.admit(head)

    def count(self, what: str) -> None:
        self._site.count(what)

    async def answer(
        self, connection: Connection, head: Head, admission: Admission, body: BufferedBody | None
    ) -> Reply | None:
        bridge = Bridge(connection, asyncio.get_running_loop())
        streamed = admission.mode is BodyMode.STREAMED and head.has_body
        more: dict[str, Any] = {"wsgi.input": bridge if streamed else BytesIO()}
        if body is not None:
            more |= {"wsgi.input": body.file, "pushlive.body": body}
        elif head.has_body and not streamed:
            more["pushlive.unread"] = True
        values = wsgi.environ(head, self._address, **more)
        call = wsgi.Call(self._site.app, values, bridge.begin, bridge.send)
        pool = self._pools[admission.pool]
        try:
            return await pool.run(admission.sender, call, self.limits.queue_seconds)
        except Busy:
            self.count(f"{pool.name}: busy")
            return busy(pool.name)
        except ConnectionError:
            raise
        except Exception:
            log.exception("%s %s failed", head.method, head.path)
            if bridge.begun:
                raise ConnectionAbortedError("an answer broke off") from None
            return FAILED


async def _rounds() -> None:
    """Returns once the loop has accepted the connections that are there, and speaks with them."""
    for _ in range(4):
        await asyncio.sleep(0)


def _bound(listen: str) -> socket.socket:
    host, _, port = listen.rpartition(":")
    host = "" if host == "*" else host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, int(port)), family=family, backlog=BACKLOG)
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {listen}: {error.strerror}.",
            advice="`ss -ltnp` shows what uses a port. Set PUSHLIVE_LISTEN to another address.",
        ) from error


def _watch_for_silence(sock: socket.socket, seconds: float) -> None:
    """Has the kernel notice a client that vanished without a word, also while it owes it nothing."""
    with suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, int(seconds))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(seconds * 1000))
