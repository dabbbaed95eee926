"""Finding secrets in text and putting ••• in their place, also where the text comes in pieces.

A value is found as it is, line by line where it has several, and as JSON, Python, a URL or base64 write it. What
an application makes of it otherwise (turned around, hashed, wrapped at a width) is not recognised.
"""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus, unquote

from pipeline.lib.secret import HIDDEN, Secret
from pipeline.lib.text import printable

SHORTEST = 4  # characters: what is shorter would be found everywhere, so `secret set` refuses it

Span = tuple[int, int]  # first character, and the one behind the last

_PERCENT = re.compile("%[0-9A-F]{2}")


class Mask:
    """``also`` gives a mask of more values; a mask itself never changes."""

    def __init__(self, values: Iterable[Secret] = (), known: Iterable[str] = ()) -> None:
        self._patterns = frozenset(known) | {form for one in values for form in forms(one.reveal())}
        self._heads: dict[str, list[str]] = {}
        for pattern in sorted(self._patterns, key=lambda text: (-len(text), text)):
            self._heads.setdefault(pattern[:SHORTEST], []).append(pattern)
        self.longest = max((len(pattern) for pattern in self._patterns), default=0)

    def __repr__(self) -> str:
        return f"Mask({len(self._patterns)} patterns)"

    def __bool__(self) -> bool:
        return bool(self._patterns)

    def also(self, values: Iterable[Secret]) -> Mask:
        return Mask(values, self._patterns)

    def text(self, text: str) -> str:
        """One whole text."""
        if not self._patterns:
            return text
        text = printable(text)
        return hidden(text, self.spans(text))

    def lines(self, lines: Iterable[str]) -> tuple[str, ...]:
        """Lines that stand one below the other: also what goes on from one into the next is found, and what the
        first and the last one have only a part of, since they may have been cut out of more."""
        seen = tuple(lines)
        if not self._patterns:
            return seen
        seen = tuple(printable(line) for line in seen)
        text = "".join(seen)
        spans = merged([*self.spans(text), *self._begun_before(text), *self._going_on(text)])
        found, at = [], 0
        for line in seen:
            inside = [(max(a - at, 0), min(b - at, len(line))) for a, b in spans]
            found.append(hidden(line, [(a, b) for a, b in inside if a < b]))
            at += len(line)
        return tuple(found)

    def spans(self, text: str) -> list[Span]:
        """Where secrets stand in the text, in order, none touching the next."""
        found = []
        for at in range(len(text) - SHORTEST + 1):
            for pattern in self._heads.get(text[at : at + SHORTEST], ()):
                if text.startswith(pattern, at):
                    found.append((at, at + len(pattern)))
                    break
        return merged(found)

    def open_from(self, text: str) -> int:
        """Where a secret begins that the text may have only the first part of; its length where none does."""
        for at in range(max(0, len(text) - self.longest + 1), len(text)):
            rest = text[at:]
            heads = (
                self._heads.get(rest[:SHORTEST], ())
                if len(rest) >= SHORTEST
                else (head for head in self._heads if head.startswith(rest))
            )
            if any(len(rest) < SHORTEST or (p.startswith(rest) and p != rest) for p in heads):
                return at
        return len(text)

    def _begun_before(self, text: str) -> Iterator[Span]:
        """The last part of a secret, where the text begins with one."""
        for pattern in self._patterns:
            at = pattern.find(text[:SHORTEST], 1) if len(text) >= SHORTEST else -1
            while at > 0:
                if text.startswith(pattern[at:]):
                    yield 0, len(pattern) - at
                    break
                at = pattern.find(text[:SHORTEST], at + 1)

    def _going_on(self, text: str) -> Iterator[Span]:
        """The first part of a secret, where the text ends with one."""
        at = self.open_from(text)
        if len(text) - at >= SHORTEST:
            yield at, len(text)


class Stream:
    """One text that comes in pieces. What may be the beginning of a secret is held back until it is known."""

    def __init__(self, mask: Mask) -> None:
        self._mask = mask
        self._rest = ""
        self._covered = 0  # characters at the beginning of the rest that belong to a secret already found

    def feed(self, piece: str, *, last: bool = False) -> str:
        """What can be shown now."""
        text = self._rest + printable(piece)
        spans = merged([(0, self._covered), *self._mask.spans(text)])
        end = len(text) if last else self._mask.open_from(text)
        self._rest = text[end:]
        self._covered = max((b - end for a, b in spans if a <= end < b), default=0)
        return hidden(text[:end], [(a, min(b, end)) for a, b in spans if a < end])


def merged(spans: Iterable[Span]) -> list[Span]:
    """In order, and those that overlap or touch as one; empty ones are left out."""
    found: list[Span] = []
    for a, b in sorted(span for span in spans if span[0] < span[1]):
        if found and a <= found[-1][1]:
            found[-1] = (found[-1][0], max(b, found[-1][1]))
        else:
            found.append((a, b))
    return found


def hidden(text: str, spans: Iterable[Span]) -> str:
    """The text with ••• in place of each span."""
    shown, at = [], 0
    for a, b in spans:
        shown += [text[at:a], HIDDEN]
        at = b
    return "".join([*shown, text[at:]])


def forms(value: str) -> set[str]:
    """The ways in which the value is recognised."""
    parts = {value, *(part for line in value.splitlines() for part in (line, line.strip()))}
    parts |= _passwords(value)
    found = {form for part in parts if len(part) >= SHORTEST for form in _written(part)}
    return {printable(form) for form in found if len(printable(form)) >= SHORTEST}


def _passwords(value: str) -> set[str]:
    """The password in an address, as it is written there and as it is used."""
    found = re.match(r"[a-z][a-z0-9+.-]*://[^:/?#]*:(.+)@[^@/]", value, re.IGNORECASE)
    return {found[1], unquote(found[1])} if found else set()


def _written(text: str) -> Iterator[str]:
    yield text
    yield json.dumps(text)[1:-1]
    yield json.dumps(text, ensure_ascii=False)[1:-1]
    yield repr(text)[1:-1]
    for inside in ("'\"'\"'", "'\\''"):  # as a shell writes it, traced or quoted
        yield text.replace("'", inside)
    yield html.escape(text)
    yield html.escape(text, quote=False)
    for quoted in (quote(text, safe=""), quote(text), quote_plus(text)):
        yield quoted
        yield _PERCENT.sub(lambda match: match[0].lower(), quoted)
    yield from _base64(text.encode())


def _base64(raw: bytes) -> Iterator[str]:
    """What stands in the base64 of anything that holds the value: one text for each of three positions."""
    for before in range(3):
        whole = base64.b64encode(bytes(before) + raw)
        sure = whole[(0, 2, 3)[before] : 8 * (before + len(raw)) // 6].decode()
        yield sure
        yield sure.translate(str.maketrans("+/", "-_"))
