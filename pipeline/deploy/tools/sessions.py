"""Commands of people, served by this process: started, followed, and ended together with their connection."""

from __future__ import annotations

import hashlib
import queue
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass

from pipeline.deploy.heartbeat import LeaseHeartbeat
from pipeline.deploy.tools.buffer import OutputBuffer, Piece
from pipeline.errors import NotFound, PushliveError, RequestError, TryAgain
from pipeline.lib.text import summary
from pipeline.lib.units import show_duration, show_size
from pipeline.ports.clock import Clock
from pipeline.ports.terminal import STDERR, STDOUT, Session, SessionRecord, Terminals
from pipeline.secrets.redaction import ByteStream, Mask
from pipeline.store import Store

MOST = 12  # that one process serves at once
QUIET = 2.0  # seconds without output, after which the client hears that it goes on
HELD = 0.3  # seconds that what may be the beginning of a secret is kept back in a terminal
IDLE = 30 * 60.0  # seconds without input or output, after which a terminal is ended
LONGEST = 24 * 3600.0  # seconds that any session may take
PIECES = 64  # of input that wait for the command


@dataclass(frozen=True)
class Ended:
    """``code``: the command's exit code."""

    code: int


class OpenSession:
    """``ends``: removes everything that the session started."""

    def __init__(
        self,
        record: SessionRecord,
        session: Session,
        mask: Mask,
        clock: Clock,
        terminal: bool,
        ends: Callable[[], None],
    ) -> None:
        self.record, self.terminal = record, terminal
        self._session, self._clock, self._ends = session, clock, ends
        self._buffer = OutputBuffer()
        self._masks = {kind: ByteStream(mask) for kind in (STDOUT, STDERR)}
        self._input: queue.Queue[bytes | None] = queue.Queue(PIECES)
        self._taken, self._given = 0, 0  # bytes of input and of output
        self._code: int | None = None
        self._digest = hashlib.sha256()
        self._began = self._used = clock.monotonic()
        self._closing, self._writing = threading.Lock(), threading.Lock()
        self._closed = False
        for name, work in (("output", self._read), ("input", self._feed)):
            threading.Thread(target=work, name=f"session-{name}", daemon=True).start()

    # ── what the client is told ──────────────────────────────────────────────

    def events(self) -> Generator[Piece | Ended | None]:
        """Output, None while there is none, and at last how it ended. The session ends with the iteration. Raises
        RequestError if it has been idle for too long."""
        try:
            while (pieces := self._buffer.take(HELD if self._holds() else QUIET)) is not None:
                if pieces:
                    self._used = self._clock.monotonic()
                    yield from self._shown((kind, self._masks[kind].feed(data)) for kind, data in pieces)
                elif self._holds():
                    yield from self._shown((kind, one.release()) for kind, one in self._masks.items())
                else:
                    self._refuse_idle()
                    yield None
            yield from self._shown((kind, one.feed(b"", last=True)) for kind, one in self._masks.items())
            if self._closed:
                raise RequestError("the session was ended.")
            self._code = code = self._session.exit_code()
            yield Ended(code)
        finally:
            self.close()

    def _holds(self) -> bool:
        return self.terminal and any(one.holds for one in self._masks.values())

    def _shown(self, pieces: Iterator[Piece]) -> Iterator[Piece]:
        for kind, data in pieces:
            if data:
                self._given += len(data)
                self._digest.update(data)
                yield kind, data

    def came_of_it(self) -> str:
        """How it ended, and how much went in and out."""
        how = "ended before it was done" if self._code is None else f"exit code {self._code}"
        lasted = show_duration(self._clock.monotonic() - self._began)
        given = (
            f"{show_size(self._given)} out (sha256 {self._digest.hexdigest()})"
            if self._given
            else "nothing out"
        )
        return f"{how} after {lasted}; {show_size(self._taken)} in, {given}"

    def _refuse_idle(self) -> None:
        now = self._clock.monotonic()
        if self.terminal and now - self._used > IDLE:
            raise RequestError(f"the session was ended: nothing happened in it for {show_duration(IDLE)}.")
        if now - self._began > LONGEST:
            raise RequestError(f"the session was ended: it took longer than {show_duration(LONGEST)}.")

    # ── what the client sends ────────────────────────────────────────────────

    def write(self, data: bytes, at: int | None = None) -> None:
        """``at``: how many bytes were sent before; what has come already is skipped. Raises TryAgain while the command
        takes nothing, and RequestError if what was sent before has not come."""
        with self._writing:  # a repeated request may come while the first one is still at work
            if at is not None and at > self._taken:
                raise RequestError(
                    f"{self._taken} bytes of the input have come, and this begins after {at}.",
                    advice=f"Send what is missing first, with `at` {self._taken}.",
                )
            fresh = data if at is None else data[self._taken - at :]
            if not fresh:
                return
            try:
                self._input.put_nowait(fresh)
            except queue.Full:
                raise TryAgain(
                    "the command does not read its input.", advice="Send it again in a moment."
                ) from None
            self._taken += len(fresh)
            self._used = self._clock.monotonic()

    def end_input(self) -> None:
        """Raises TryAgain while the command takes nothing."""
        try:
            self._input.put_nowait(None)
        except queue.Full:
            raise TryAgain(
                "the command does not read its input.", advice="Send it again in a moment."
            ) from None

    def resize(self, columns: int, rows: int) -> None:
        self._session.resize(columns, rows)

    # ── threads ──────────────────────────────────────────────────────────────

    def _read(self) -> None:
        self._buffer.fill(self._session.output())

    def _feed(self) -> None:
        while (data := self._input.get()) is not None:
            if self._closed:
                return
            self._session.write(data)
        self._session.end_input()

    def close(self) -> None:
        """Ends the command. Idempotent."""
        with self._closing:
            if self._closed:
                return
            self._closed = True
        self._session.close()
        self._buffer.drop()
        with suppress(queue.Full):  # then it is awake
            self._input.put_nowait(b"")  # wakes its thread
        self._ends()


class Sessions:
    """All of this process. ``store``: what is left when the process dies is in it."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock
        self._open: dict[str, OpenSession] = {}
        self._starting = 0
        self._lock = threading.Lock()

    def open(
        self,
        record: SessionRecord,
        terminals: Terminals,
        start: Callable[[], Session],
        mask: Mask,
        *,
        terminal: bool,
        ended: Callable[[str], None] = lambda _: None,
    ) -> OpenSession:
        """``ended``: is told what came of it. Raises TryAgain if there are too many, and what ``start`` raises: then
        nothing is left."""
        with self._lock:
            if len(self._open) + self._starting >= MOST:
                raise TryAgain(
                    f"{MOST} commands run in containers through this service already.",
                    advice="Try again when one of them has ended.",
                )
            self._starting += 1
        try:
            return self._begin(record, terminals, start, mask, terminal, ended)
        finally:
            with self._lock:
                self._starting -= 1

    def _begin(
        self,
        record: SessionRecord,
        terminals: Terminals,
        start: Callable[[], Session],
        mask: Mask,
        terminal: bool,
        ended: Callable[[str], None],
    ) -> OpenSession:
        lease = self._store.leases.take(record.lease, "session")
        if lease is None:
            raise TryAgain("a session of that id exists.", advice="Try again.")
        stack = ExitStack()
        stack.enter_context(LeaseHeartbeat(self._store)).hold(lease)

        def end() -> None:
            with self._lock:
                self._open.pop(record.id, None)
            with stack, suppress(PushliveError):  # then the keeper does it
                terminals.end_session(record.ref, record.id, record.replica)
                self._store.sessions.forget(record.id)
            ended(found.came_of_it() if found else f"it could not be started{why}")

        found: OpenSession | None = None
        why = ""
        try:
            self._store.sessions.put(record)
            found = OpenSession(record, start(), mask, self._clock, terminal, end)
        except BaseException as error:
            why = f": {summary(error.message)}" if isinstance(error, PushliveError) else ""
            end()
            raise
        with self._lock:
            self._open[record.id] = found
        return found

    def find(self, identifier: str, by: str) -> OpenSession:
        """The session that this person has opened. Raises NotFound."""
        found = self._open.get(identifier)
        if found is None or found.record.by != by:
            raise NotFound("that session has ended.", advice="Start the command again.")
        return found
