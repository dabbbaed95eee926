"""A command's output as lines, while it comes: from a thread that reads to whoever follows it with patience."""

from __future__ import annotations

import codecs
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator

from pipeline.domain.events import Event
from pipeline.ports.builder import Emit
from pipeline.ports.clock import Clock, Watch

OUTPUT = 64 << 10  # characters of the output that the result keeps, the last ones
LINE = 8 << 10  # characters: a longer line is passed on in pieces


def follow(
    stream: Iterable[bytes], close: Callable[[], None], source: str, clock: Clock, emit: Emit, watch: Watch
) -> str:
    """Emits each line of the stream as it comes; its last part at the end. ``close`` ends the stream for whoever reads
    it; it is called whatever happens. Raises what the watch does."""
    pieces: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    reader = threading.Thread(target=_read, args=(stream, pieces), daemon=True)
    reader.start()
    kept, size = deque[str](), 0
    try:
        for line, cut in _lines(pieces, watch):
            emit(
                Event("line", clock.now(), line, data={"container": source} | ({"cut": True} if cut else {}))
            )
            kept.append(line + ("" if cut else "\n"))
            size += len(kept[-1])
            while size > OUTPUT:
                size -= len(kept.popleft())
    finally:
        close()
    return "".join(kept)


def _read(stream: Iterable[bytes], pieces: queue.SimpleQueue[bytes | None]) -> None:
    try:
        for piece in stream:
            pieces.put(piece)
    finally:
        pieces.put(None)


def _lines(pieces: queue.SimpleQueue[bytes | None], watch: Watch) -> Iterator[tuple[str, bool]]:
    """Lines, a very long one in several pieces: all but the last of them are ``cut``."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    rest = ""
    while True:
        try:
            piece = pieces.get(timeout=0.2)
        except queue.Empty:
            watch.check()
            continue
        rest += decoder.decode(piece or b"", final=piece is None)
        *whole, rest = rest.split("\n")
        for line in whole:
            *parts, end = _adapters(line.rstrip("\r"))
            yield from ((part, True) for part in parts)
            yield end, False
        *parts, rest = _adapters(rest)
        yield from ((part, True) for part in parts)
        if piece is None:
            if rest:
                yield rest, False
            return
        watch.check()


def _adapters(line: str) -> list[str]:
    return [line[at : at + LINE] for at in range(0, len(line), LINE)] or [""]
