"""The output of all containers that serve, followed through a switch to the next release's."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Generator
from contextlib import closing, suppress
from dataclasses import dataclass

from pipeline.domain.engine_types import SlotRef
from pipeline.errors import NotFound, PushliveError, RequestError
from pipeline.lib.text import one_line
from pipeline.ports.engine import Engines
from pipeline.ports.outputs import Output, Source
from pipeline.secrets.redaction import Mask, Stream

LOOK = 1.0  # seconds between two looks at which containers serve
QUIET = 2.0  # seconds without a line, after which the client hears that it goes on
WAITING = 2000  # lines that wait for the client; then their containers' output does
AT_ONCE = 500  # lines of one piece
LONGEST = 8192  # characters of one line


@dataclass(frozen=True)
class Wish:
    """``process``: only that one's, "" for all; ``lines``: of each container's past; ``since``: seconds since the
    epoch; ``follow``: also what comes."""

    process: str
    lines: int
    since: float
    follow: bool


class FollowedOutput:
    """``serving``: the slot that serves now; ``now``: seconds since the epoch; ``mask``: what no line shows."""

    def __init__(
        self,
        serving: Callable[[], SlotRef],
        engines: Engines,
        wish: Wish,
        now: Callable[[], float],
        mask: Mask,
    ) -> None:
        self._serving, self._engines, self._wish, self._now = serving, engines, wish, now
        self._mask = mask
        self._ended: dict[str, float] = {}  # when the output of a container ended
        self._lines: queue.Queue[str] = queue.Queue(WAITING)
        self._reading: dict[str, threading.Thread] = {}  # by container
        self._open: dict[str, Output] = {}
        self._over = threading.Event()
        self._first = True

    def look(self) -> None:
        """Begins to read what was not there before. Raises NotFound for a process that is not there."""
        ref = self._serving()
        found = self._engines.of(ref.engine).outputs.sources(ref)
        wanted = [one for one in found if self._wish.process in ("", one.process or "web")]
        if self._first and not wanted and self._wish.process:
            known = ", ".join(dict.fromkeys(one.process or "web" for one in found)) or "none"
            raise NotFound(
                f"{ref.pipeline}/{ref.environment} runs no process {self._wish.process[:60]!r}.",
                advice=f"It runs: {known}.",
            )
        alone = len(wanted) == 1
        for one in wanted:
            before = self._reading.get(one.name)
            if before is None or not before.is_alive():  # it has just come, or was started again
                self._begin(ref, one, alone)
        self._first = False

    def _begin(self, ref: SlotRef, one: Source, alone: bool) -> None:
        wish = self._wish
        outputs = self._engines.of(ref.engine).outputs
        # Of a container that comes later, everything is new.
        past = wish.lines if self._first else WAITING
        since = self._ended.get(one.name, wish.since)
        output = outputs.output_of(one.name, lines=past, since=since, follow=wish.follow)
        self._open[one.name] = output
        label = f"{one.label} | " if not alone or wish.follow else ""
        thread = threading.Thread(
            target=self._read, args=(one.name, output, label), name="followed-output", daemon=True
        )
        self._reading[one.name] = thread
        thread.start()

    def _read(self, name: str, output: Output, label: str) -> None:
        with suppress(PushliveError), closing(output):
            self._pieces(output, label)
        self._ended[name] = self._now()

    def _pieces(self, output: Output, label: str) -> None:
        # Each container's by itself, before the label: a secret may go on behind the place of a cut.
        stream, rest, text = Stream(self._mask), b"", self._opening
        for piece in output.pieces():
            *whole, rest = (rest + piece).split(b"\n")
            for line in whole:
                self._put(label, stream.feed(text(line), last=True))
                text = _text
            if len(rest) > LONGEST:
                self._put(label, stream.feed(text(rest)))
                rest, text = b"", _text
            if self._over.is_set():
                return
        if last := stream.feed(text(rest), last=True):
            self._put(label, last)

    def _opening(self, line: bytes) -> str:
        """The first line of an excerpt: the Engine counts pieces of a long line as lines."""
        return self._mask.opening(_text(line))

    def _put(self, label: str, line: str) -> None:
        while not self._over.is_set():
            with suppress(queue.Full):
                self._lines.put(label + line, timeout=0.2)
                return

    def lines(self, first: tuple[str, ...] = ()) -> Generator[tuple[str, ...]]:
        """As they come, masked; () while there is none. Without ``follow`` it ends with what there is."""
        try:
            if first:
                yield first
            looked = said = time.monotonic()
            while True:
                some = self._some()
                now = time.monotonic()
                if some:
                    said = now
                    yield tuple(one_line(line) for line in some)
                elif (
                    not any(thread.is_alive() for thread in self._reading.values()) and not self._wish.follow
                ):
                    return
                elif now - said >= QUIET:
                    said = now
                    yield ()
                if self._wish.follow and now - looked >= LOOK:
                    looked = now
                    with suppress(RequestError):  # nothing serves for a moment
                        self.look()
        finally:
            self._over.set()
            for output in self._open.values():
                with suppress(PushliveError):
                    output.close()

    def _some(self) -> list[str]:
        found: list[str] = []
        with suppress(queue.Empty):
            found.append(self._lines.get(timeout=0.2))
            while len(found) < AT_ONCE:
                found.append(self._lines.get_nowait())
        return found


def _text(line: bytes) -> str:
    return line.decode(errors="replace").rstrip("\r")
