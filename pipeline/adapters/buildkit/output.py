"""A build's progress records as our events. Plain data in, plain data out, in bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from pipeline.adapters.buildkit.trace import Log, Vertex
from pipeline.domain.events import Event
from pipeline.lib.text import states
from pipeline.lib.units import show_size

OUTPUT_LIMIT = 16 << 20  # bytes of one build's output that are emitted
_LINE_LIMIT = 8 << 10  # bytes: a longer line is emitted in parts
_RAN = 300  # steps that were not cached: the names of so many are kept
_TAIL = 20  # lines of each running step that are kept as evidence


@dataclass
class _Step:
    name: str
    rest: bytes = b""  # the beginning of an incomplete line
    tail: deque[str] = field(default_factory=lambda: deque[str](maxlen=_TAIL))


class Output:
    """``steps`` and ``cached`` count the Dockerfile's steps; ``ran`` has those that were not cached. ``failed`` is the
    step that failed; ``evidence`` has its last lines."""

    def __init__(self, limit: int = OUTPUT_LIMIT) -> None:
        self.steps = 0
        self.cached = 0
        self.ran: list[tuple[str, float]] = []
        self.failed: Vertex | None = None
        self.evidence: tuple[str, ...] = ()
        self._limit = limit
        self._passed = 0
        self._open: dict[str, _Step] = {}
        self._done: set[str] = set()

    def feed(self, record: Vertex | Log, at: float) -> Iterator[Event]:
        """The events of one record. ``at``: their time."""
        if isinstance(record, Log):
            yield from self._log(record, at)
            return
        step = self._open.setdefault(record.digest, _Step(record.name))
        step.name = record.name
        if record.completed:
            yield from self._finish(record, step, at)

    def _finish(self, vertex: Vertex, step: _Step, at: float) -> Iterator[Event]:
        if step.rest:
            yield from self._line(step, step.rest, at)
            step.rest = b""
        if vertex.error and not self.failed and not vertex.is_cancelled:
            self.failed, self.evidence = vertex, tuple(step.tail)
        del self._open[vertex.digest]
        if vertex.digest in self._done or not (vertex.is_step or vertex.error):
            return
        self._done.add(vertex.digest)
        self.steps += vertex.is_step
        self.cached += vertex.is_step and vertex.cached
        if vertex.is_step and not vertex.cached and len(self.ran) < _RAN:
            self.ran.append((vertex.name, round(vertex.seconds, 3)))
        data = {"seconds": round(vertex.seconds, 3), "cached": vertex.cached, "error": vertex.error}
        yield Event("vertex", at, text=vertex.name, data=data)

    def _log(self, log: Log, at: float) -> Iterator[Event]:
        step = self._open.setdefault(log.digest, _Step(""))
        *lines, step.rest = (step.rest + log.text).split(b"\n")
        for line in lines:
            yield from self._line(step, line, at)
        if len(step.rest) > _LINE_LIMIT:  # a progress bar may write much and never end its line
            step.rest = b"\r".join(_states(step.rest)) + (b"\r" if step.rest.endswith(b"\r") else b"")
        while len(step.rest) > _LINE_LIMIT:
            piece, step.rest = _cut(step.rest)
            yield from self._piece(step, piece, at, cut=True)

    def _line(self, step: _Step, line: bytes, at: float) -> Iterator[Event]:
        for state in _states(line):
            while len(state) > _LINE_LIMIT:
                piece, state = _cut(state)
                yield from self._piece(step, piece, at, cut=True)
            yield from self._piece(step, state, at)

    def _piece(self, step: _Step, piece: bytes, at: float, cut: bool = False) -> Iterator[Event]:
        """A line, or with ``cut`` a part of one that continues in the step's next event."""
        text = piece.decode("utf-8", "replace").rstrip("\r")
        step.tail.append(text)
        before, self._passed = self._passed, self._passed + len(text) + 1
        if self._passed <= self._limit:
            data = {"vertex": step.name} | ({"cut": True} if cut else {})
            yield Event("line", at, text=text, data=data)
        elif before <= self._limit:
            shown = show_size(self._limit)
            yield Event(
                "note",
                at,
                text=f"The build's output is cut here: it is larger than {shown}. The build continues.",
            )


def _states(line: bytes) -> list[bytes]:
    return [one.encode("utf-8", "surrogateescape") for one in states(line.decode("utf-8", "surrogateescape"))]


def _cut(line: bytes) -> tuple[bytes, bytes]:
    """The first piece of a long line, and the rest; no character is split."""
    end = _LINE_LIMIT
    while end > _LINE_LIMIT - 4 and line[end] & 0xC0 == 0x80:
        end -= 1
    return line[:end], line[end:]
