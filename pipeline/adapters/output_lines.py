"""A command's output as lines, emitted while it comes."""

from __future__ import annotations

import codecs
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing

from pipeline.domain.events import Event
from pipeline.lib.streams import pump
from pipeline.lib.text import states
from pipeline.ports.builder import Emit
from pipeline.ports.clock import Clock, Watch

OUTPUT = 64 << 10  # characters: how much of its end the result keeps
LINE = 8 << 10  # characters: a longer line is emitted in parts


def follow(
    stream: Iterable[bytes], close: Callable[[], None], source: str, clock: Clock, emit: Emit, watch: Watch
) -> str:
    """Emits each line of ``stream`` as it comes; returns the last OUTPUT characters. ``close`` must end a read of the
    stream that blocks; it is called in any case. Raises what the watch or the stream raises."""
    kept, size = deque[str](), 0
    with closing(pump(stream, watch.check, close, name=f"output-{source}")) as pieces:
        for line, cut in _lines(pieces):
            data = {"container": source} | ({"cut": True} if cut else {})
            emit(Event("line", clock.now(), line, data=data))
            kept.append(line + ("" if cut else "\n"))
            size += len(kept[-1])
            while size > OUTPUT:
                size -= len(kept.popleft())
    return "".join(kept)


def _lines(pieces: Iterable[bytes]) -> Iterator[tuple[str, bool]]:
    """Each line, and whether it is cut: a line longer than LINE comes in parts, and all but the last are cut."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    rest = ""
    for piece in pieces:
        rest += decoder.decode(piece)
        *whole, rest = rest.split("\n")
        for line in whole:
            yield from _whole(line)
        if len(rest) > LINE:  # a progress bar may write much and never end its line
            rest = "\r".join(states(rest)) + ("\r" if rest.endswith("\r") else "")
        *cut, rest = _parts(rest)
        yield from ((part, True) for part in cut)
    if rest := rest + decoder.decode(b"", final=True):
        yield from _whole(rest)


def _whole(line: str) -> Iterator[tuple[str, bool]]:
    for state in states(line):
        *cut, end = _parts(state)
        yield from ((part, True) for part in cut)
        yield end, False


def _parts(line: str) -> list[str]:
    return [line[at : at + LINE] for at in range(0, len(line), LINE)] or [""]
