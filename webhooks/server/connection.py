"""One client's connection: heads and bodies in, answers out, each with an end to its time.

Everything here runs in the event loop's thread. HTTP's grammar is h11's.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable
from contextlib import suppress
from dataclasses import replace
from email.utils import formatdate
from typing import Protocol

import h11

from webhooks.server.limits import Limits
from webhooks.server.messages import Admission, BodyMode, BodyProblem, BufferedBody, Head, Reply
from webhooks.server.pace import Pace
from webhooks.server.refusals import MALFORMED, TOO_LONG

CHUNK = 64 << 10
SMALL_CHUNKS = 256  # events of a body that may be tiny, …
SMALLEST = 64  # … before they must have this many bytes on average: each costs the loop the same

VISITOR, SCHEME = "x-pushlive-visitor", "x-pushlive-scheme"  # what our own proxy says of a client

log = logging.getLogger("pushlive.web")


class Malformed(Exception):
    """What the client sent is not HTTP, or allows two readings."""


class Host(Protocol):
    """What a connection needs from the server around it."""

    limits: Limits

    def has_room(self, connection: Connection, size: int) -> bool:
        """Takes so many bytes of the room for bodies; False if they are not free."""

    def free(self, connection: Connection, size: int) -> None:
        """Gives them back."""

    def admit(self, head: Head) -> Admission: ...

    def answer(
        self, connection: Connection, head: Head, admission: Admission, body: BufferedBody | None
    ) -> Awaitable[Reply | None]:
        """The answer, or None if it was already sent with ``begin`` and ``send``."""

    def has_changed(self, connection: Connection) -> None:
        """It has become idle, or is no longer."""

    def move(self, connection: Connection, peer: tuple[str, int]) -> None:
        """From now on it is that client's."""

    def count(self, what: str) -> None: ...


class Connection:
    """``idle``: it waits for its client and no thread works for it, so the server may close it to make room.
    ``streaming``: an answer is being sent, piece by piece."""

    def __init__(self, host: Host, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.peer: tuple[str, int] = ("", 0)
        # Only our own proxy reaches the Unix socket. It says who its client is, and opens one for each request.
        self.by_proxy = writer.get_extra_info("socket").family == socket.AF_UNIX
        if not self.by_proxy:
            self.peer = (writer.get_extra_info("peername") or ("", 0))[:2]
        self._host, self._limits = host, host.limits
        self._reader, self._writer = reader, writer
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=host.limits.head_bytes)
        self._pace_in = self._pace_out = Pace(host.limits.grace, host.limits.rate)
        self.idle, self.streaming = True, False
        self._complete = False  # whether the current request was read to its end
        self._method = ""  # of the current request
        writer.transport.set_write_buffer_limits(high=0)  # an answer counts as sent once the kernel has it

    async def serve(self) -> None:
        """Returns when the connection is closed."""
        seconds = self._limits.head_seconds
        try:
            while await self._exchange(seconds):
                self._http.start_next_cycle()
                seconds = self._limits.idle_seconds
            await self._linger()
        except (OSError, TimeoutError, h11.LocalProtocolError):  # it is gone, or too slow
            self._writer.transport.abort()
        finally:
            self._writer.close()

    async def _exchange(self, seconds: float) -> bool:
        """One request and its answer. False if the connection ends with it."""
        try:
            async with asyncio.timeout(seconds):
                head = await self._head()
        except Malformed as error:
            await self._refuse(error)
            return False
        if head is None:
            return False
        admission = self._host.admit(head)
        body = None
        if admission.mode is BodyMode.BUFFERED and head.has_body:
            body = await self._buffered(head, admission)
        try:
            await self._answer(head, admission, body)
        finally:
            if body is not None:
                self._host.free(self, body.size)
                body.file.close()
        return (self._http.our_state, self._http.their_state) == (h11.DONE, h11.DONE)

    async def _head(self) -> Head | None:
        self._complete, self._method = False, ""
        event = await self._event()
        if not isinstance(event, h11.Request):
            return None  # closed
        self._method = event.method.decode()
        headers = tuple((name.decode(), value.decode("latin-1")) for name, value in event.headers)
        version = event.http_version.decode()
        head = Head(self._method, event.target.decode(), version, headers, self.peer)
        if head.chunked and head.get("content-length"):
            raise Malformed("both Content-Length and Transfer-Encoding")
        if self.by_proxy:
            head = self._told(head)
        if not head.has_body:
            await self._event()  # the end of the message; nothing is read for it
        return head

    def _told(self, head: Head) -> Head:
        """A request that the proxy passed on, as if its client had sent it here."""
        self._host.move(self, (head.get(VISITOR), 0))
        headers = tuple(one for one in head.headers if one[0] not in (VISITOR, SCHEME))
        return replace(head, headers=headers, peer=self.peer, scheme=head.get(SCHEME) or "http")

    async def _event(self) -> h11.Event | type:
        """The next event from the client. Raises Malformed, also if it left in the middle of one."""
        while True:
            try:
                event = self._http.next_event()
            except Exception as error:  # whatever h11 raises, the client's bytes are the cause
                raise Malformed(str(error)) from error
            if not isinstance(event, type) or event is h11.PAUSED:
                self._complete = self._complete or isinstance(event, h11.EndOfMessage)
                return event
            if self._http.they_are_waiting_for_100_continue:
                await self._write(h11.InformationalResponse(status_code=100, headers=[], reason="Continue"))
            self._http.receive_data(await self._reader.read(CHUNK))

    async def _refuse(self, error: Malformed) -> None:
        """Answers bytes that are not a request."""
        self._host.count("http: malformed")
        too_long = getattr(error.__cause__, "error_status_hint", 400) == 431
        with suppress(h11.LocalProtocolError):  # it is in no state for an answer
            await self.send_reply(TOO_LONG if too_long else MALFORMED)

    # Bodies

    async def _buffered(self, head: Head, admission: Admission) -> BufferedBody:
        """The whole body, or what is wrong with it. Not more than the limit is kept."""
        body = BufferedBody()
        if (head.length or 0) > admission.limit:
            body.problem = BodyProblem.TOO_LARGE
            return body
        pieces = 0
        try:
            async with asyncio.timeout(admission.seconds or self._limits.body_seconds):
                while body.problem is None and isinstance(event := await self._event(), h11.Data):
                    self._keep(body, event.data, admission.limit)
                    pieces += 1
                    if pieces > SMALL_CHUNKS and body.size < pieces * SMALLEST:
                        body.problem = BodyProblem.MALFORMED
        except TimeoutError:
            body.problem = BodyProblem.INCOMPLETE
        except Malformed:
            gone = self._reader.at_eof()
            body.problem = BodyProblem.INCOMPLETE if gone else BodyProblem.MALFORMED
        body.file.seek(0)
        return body

    def _keep(self, body: BufferedBody, data: bytes | bytearray, limit: int) -> None:
        if body.size + len(data) > limit:
            body.problem = BodyProblem.TOO_LARGE
        elif not self._host.has_room(self, len(data)):
            body.problem = BodyProblem.NO_ROOM
        else:
            body.file.write(data)
            body.size += len(data)

    async def next_chunk(self) -> bytes:
        """The next piece of a streamed body; b"" at its end. Raises ConnectionError if it is cut off, not HTTP, or
        slower than the rate."""
        try:
            event = await self._pace_in.wait(self._event())
        except Malformed as error:
            raise ConnectionError(str(error)) from error
        if not isinstance(event, h11.Data):
            return b""
        self._pace_in.moved(len(event.data))
        return bytes(event.data)

    # Answers

    async def _answer(self, head: Head, admission: Admission, body: BufferedBody | None) -> None:
        self._pace_in = Pace(self._limits.grace, self._limits.rate)
        self._pace_out = Pace(self._limits.grace, self._limits.rate)
        self.idle = False
        self._host.has_changed(self)
        reply = await self._host.answer(self, head, admission, body)
        self.idle, self.streaming = True, False
        self._host.has_changed(self)
        if reply is None:
            await self._write(h11.EndOfMessage())
        else:
            await self.send_reply(reply, closing=admission.mode is not BodyMode.STREAMED)

    async def send_reply(self, reply: Reply, *, closing: bool = True) -> None:
        """A whole answer. ``closing``: it says so if the connection cannot be used again, since a body was not read."""
        said = any(name.lower() == "connection" for name, _ in reply.headers)
        unread = closing and not self._complete and not said
        await self.begin(reply, (("Connection", "close"),) if unread else ())
        if reply.body and self._method != "HEAD":
            await self.send(reply.body)
        await self._write(h11.EndOfMessage())

    async def begin(self, reply: Reply, more: tuple[tuple[str, str], ...] = ()) -> None:
        """Sends status and headers."""
        date = ("Date", formatdate(usegmt=True))
        headers = [
            (name.encode("latin-1", "replace"), value.encode("latin-1", "replace"))
            for name, value in (*reply.headers, date, *more)
        ]
        await self._write(h11.Response(status_code=reply.status, headers=headers, reason=reply.reason))

    async def send(self, data: bytes) -> None:
        """Sends a piece of the body; returns once the kernel has it. Raises ConnectionError."""
        self._pace_out.moved(len(data))
        await self._write(h11.Data(data=data))

    async def _write(self, event: h11.Event) -> None:
        if data := self._http.send(event):
            self._writer.write(data)
            await self._pace_out.wait(self._writer.drain())

    async def _linger(self) -> None:
        """Lets the client read the answer: closing at once would reset the connection while it still sends."""
        if self._complete or self._reader.at_eof():
            return
        self._writer.write_eof()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._limits.linger_seconds):
                while await self._reader.read(CHUNK):
                    pass

    def abort(self) -> None:
        """Closes it at once, whatever it does."""
        self._writer.transport.abort()
