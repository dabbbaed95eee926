"""One command in a container of its own: started once, found again after a crash, never guessed about."""

from __future__ import annotations

import codecs
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator

from docker.types import CancellableStream

from pipeline.adapters.containers import Body
from pipeline.adapters.docker_calls import NEVER, Calls, Found
from pipeline.errors import OutcomeUnknown
from pipeline.model import CommandResult, Event
from pipeline.ports import Clock, Emit, Watch

OUTPUT = 64 << 10  # characters of the output that the result keeps, the last ones
LINE = 8 << 10  # characters: a longer line is passed on in pieces
LOST = 255  # what dockerd itself writes for a container that ended while it was not looking


def run(
    calls: Calls, clock: Clock, name: str, body: Callable[[], Body], emit: Emit, watch: Watch
) -> CommandResult:
    """Runs the command, or awaits or looks up the one begun earlier under the same name. ``body`` makes what a new
    container is created from.

    Each output line is emitted as it comes. Raises OutcomeUnknown where it was begun and its result is not
    to be had; what the watch raises leaves the container as it is, for the next call or ``forget_command``.
    """
    began = clock.monotonic()
    earlier = calls.inspect(name)
    if earlier is None:
        calls.create(name, body())
    if earlier is None or earlier["State"]["StartedAt"] == NEVER:
        calls.start(name)
        earlier = None
    text = _follow(calls, name, clock, emit, watch)
    found = _ended(calls, name, watch)
    if found is None or (earlier and _lost(earlier)):
        raise OutcomeUnknown(
            f"{name} was begun, and nobody knows how it ended.",
            advice="Look what the command has done, then `pushlive retry` or `pushlive revert`.",
        )
    return CommandResult(int(found["State"]["ExitCode"]), text, clock.monotonic() - began)


def _lost(earlier: Found) -> bool:
    state = earlier["State"]
    return bool(state["Dead"] or (not state["Running"] and state["ExitCode"] == LOST))


def _ended(calls: Calls, name: str, watch: Watch) -> Found | None:
    """The output has ended, the container does within milliseconds; None where it was removed."""
    while (found := calls.inspect(name)) and found["State"]["Running"]:
        watch.wait(0.01)
    return found


def _follow(calls: Calls, name: str, clock: Clock, emit: Emit, watch: Watch) -> str:
    stream = calls.follow(name)
    pieces: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    reader = threading.Thread(target=_read, args=(stream, pieces), daemon=True)
    reader.start()
    kept, size = deque[str](), 0
    try:
        for line, cut in _lines(pieces, watch):
            emit(Event("line", clock.now(), line, data={"container": name} | ({"cut": True} if cut else {})))
            kept.append(line + ("" if cut else "\n"))
            size += len(kept[-1])
            while size > OUTPUT:
                size -= len(kept.popleft())
    finally:
        stream.close()
    return "".join(kept)


def _read(stream: CancellableStream[bytes], pieces: queue.SimpleQueue[bytes | None]) -> None:
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
            *parts, end = _parts(line.rstrip("\r"))
            yield from ((part, True) for part in parts)
            yield end, False
        *parts, rest = _parts(rest)
        yield from ((part, True) for part in parts)
        if piece is None:
            if rest:
                yield rest, False
            return
        watch.check()


def _parts(line: str) -> list[str]:
    return [line[at : at + LINE] for at in range(0, len(line), LINE)] or [""]
