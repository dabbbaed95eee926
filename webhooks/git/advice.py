"""What to do about a push that git refuses: a line of ours before git's own, in what git sends to the pusher.

git's answer is a sequence of packets, each with its length in four hexadecimal digits. The first byte of its content
is 1 for the result, 2 for lines that the pusher sees. git's texts are read here alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Protocol

_RESULT, _LINE = b"\x01", b"\x02"
_KEPT = 4096  # bytes of git's lines that are searched, since a line may come in several packets
_ADVICE: tuple[tuple[re.Pattern[bytes], str], ...] = (
    (
        re.compile(rb"shallow update not allowed"),
        "This clone has only the last part of a history that is not here yet. Fetch the rest with `git fetch "
        "--unshallow` (in a CI job: check out with depth 0), then push again.",
    ),
    (
        re.compile(rb"object [0-9a-f]+: (\w+): "),
        "git refuses an object of this history. If it does no harm, a maintainer can set PUSHLIVE_GIT_FSCK_IGNORE={0}.",
    ),
    (
        re.compile(rb"pack exceeds maximum allowed size"),
        "The push is too large. A maintainer can raise PUSHLIVE_PUSH_LIMIT.",
    ),
    (re.compile(rb"deny updating a hidden ref"), "Only branches and tags can be pushed."),
)
# A lock file that is there, or a ref that has moved since the pusher's git read it.
_AT_ONCE = re.compile(rb"cannot lock ref '[^']*': (?:is at ([0-9a-f]+) but expected|Unable to create)")


class Answer(Protocol):
    def __iter__(self) -> Iterator[bytes]: ...

    def close(self) -> None: ...


def _no_one(_: str) -> str:
    return ""


class Advised:
    """The answer of ``git receive-pack`` with our advice in it; unchanged if the client reads no lines. ``pusher``: who
    pushed that commit, "" if it is not known."""

    def __init__(self, answer: Answer, pusher: Callable[[str], str] = _no_one) -> None:
        self._answer, self._pusher = answer, pusher

    def __iter__(self) -> Iterator[bytes]:
        rest, said = b"", b""
        for chunk in self._answer:
            packets, rest = _packets(rest + chunk)
            for packet in packets:
                band = packet[4:5]
                if band in (_RESULT, _LINE):
                    said = said[-_KEPT:] + packet[5:]
                if band == _RESULT:
                    yield from map(_line, self._advice(said))
                    said = b""
                yield packet
        if rest:
            yield rest

    def close(self) -> None:
        self._answer.close()

    def _advice(self, said: bytes) -> Iterator[str]:
        for pattern, advice in _ADVICE:
            if match := pattern.search(said):
                yield advice.format(*(group.decode("ascii", "replace") for group in match.groups()))
        if match := _AT_ONCE.search(said):
            who = self._pusher(match[1].decode()) if match[1] else ""
            yield (
                f"{who or 'Someone else'} pushed to the same branch at the same moment, so this push changed nothing. "
                "Run `git fetch`, look at what came, then push again."
            )


def _packets(data: bytes) -> tuple[list[bytes], bytes]:
    """The complete packets, and the rest. What is no packet is returned whole."""
    found, at = list[bytes](), 0
    while len(data) - at >= 4:
        try:
            length = max(4, int(data[at : at + 4], 16))
        except ValueError:
            return [*found, data[at:]], b""
        if len(data) - at < length:
            break
        found.append(data[at : at + length])
        at += length
    return found, data[at:]


def _line(text: str) -> bytes:
    content = _LINE + text.encode() + b"\n"
    return b"%04x" % (len(content) + 4) + content
