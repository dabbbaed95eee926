"""Finds secrets in text and replaces them with •••, also when the text comes in pieces.

A value is found as it is, each of its lines by itself, and as JSON, Python, shell, HTML, a URL or base64 write it.
Other transformations by an application (reversed, hashed, wrapped at a width) are not recognised.
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

SHORTEST = 4  # characters: a shorter value would be found everywhere, so `secret set` refuses it

Span = tuple[int, int]  # the first character and the one after the last

_HIDDEN_BYTES = HIDDEN.encode().decode("latin-1")
_PERCENT = re.compile("%[0-9A-F]{2}")


class Mask:
    """Masks ``values``. ``known``: patterns of another mask. A mask never changes: ``also`` returns a new one."""

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
        """A mask of these values as well."""
        return Mask(values, self._patterns)

    def of_bytes(self) -> Mask:
        """The same for bytes in UTF-8, of which each is one character."""
        return Mask(known=(pattern.encode().decode("latin-1") for pattern in self._patterns))

    def text(self, text: str) -> str:
        """One complete text."""
        if not self._patterns:
            return text
        text = printable(text)
        return masked(text, self.spans(text))

    def lines(self, lines: Iterable[str]) -> tuple[str, ...]:
        """Consecutive lines. A secret that continues on the next line is found, and so is the part of one at the start
        of the first line or the end of the last, since they may be an excerpt."""
        given = tuple(lines)
        if not self._patterns:
            return given
        given = tuple(printable(line) for line in given)
        text = "".join(given)
        spans = merged([*self.spans(text), *self._tail_at_start(text), *self._head_at_end(text)])
        found, at = [], 0
        for line in given:
            inside = [(max(a - at, 0), min(b - at, len(line))) for a, b in spans]
            found.append(masked(line, [(a, b) for a, b in inside if a < b]))
            at += len(line)
        return tuple(found)

    def opening(self, text: str) -> str:
        """A text that may begin in the middle of a secret, without that part. Nothing else of it is masked."""
        text = printable(text) if self._patterns else text
        return masked(text, merged(self._tail_at_start(text)))

    def spans(self, text: str) -> list[Span]:
        """Where secrets are in the text, in order; no two touch."""
        found = []
        for at in range(len(text) - SHORTEST + 1):
            for pattern in self._heads.get(text[at : at + SHORTEST], ()):
                if text.startswith(pattern, at):
                    found.append((at, at + len(pattern)))
                    break
        return merged(found)

    def partial_from(self, text: str) -> int:
        """Where a secret begins of which the text may contain only the first part; the text's length if there is
        none."""
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

    def _tail_at_start(self, text: str) -> Iterator[Span]:
        """The last part of a secret, if the text begins with one."""
        for pattern in self._patterns:
            at = pattern.find(text[:SHORTEST], 1) if len(text) >= SHORTEST else -1
            while at > 0:
                if text.startswith(pattern[at:]):
                    yield 0, len(pattern) - at
                    break
                at = pattern.find(text[:SHORTEST], at + 1)

    def _head_at_end(self, text: str) -> Iterator[Span]:
        """The first part of a secret, if the text ends with one."""
        at = self.partial_from(text)
        if len(text) - at >= SHORTEST:
            yield at, len(text)


class Stream:
    """One text that comes in pieces. What may be the beginning of a secret is kept back until the next piece
    decides."""

    def __init__(self, mask: Mask) -> None:
        self._mask = mask
        self._rest = ""
        self._covered = 0  # characters at the start of the rest that belong to a secret already found

    def feed(self, piece: str, *, last: bool = False) -> str:
        """The masked text that can be shown now. ``last``: nothing follows, so nothing is kept back."""
        text = self._rest + printable(piece)
        spans = merged([(0, self._covered), *self._mask.spans(text)])
        end = len(text) if last else self._mask.partial_from(text)
        self._rest = text[end:]
        self._covered = max((b - end for a, b in spans if a <= end < b), default=0)
        return masked(text[:end], [(a, min(b, end)) for a, b in spans if a < end])


class ByteStream:
    """One stream of bytes that comes in pieces and is passed on as it is, but for secrets. ``holds``: what may be the
    beginning of one is kept back."""

    def __init__(self, mask: Mask) -> None:
        self._mask = mask.of_bytes()
        self._rest, self._covered = "", 0  # as in ``Stream``

    @property
    def holds(self) -> bool:
        return bool(self._rest)

    def feed(self, piece: bytes, *, last: bool = False) -> bytes:
        """The masked bytes that can be shown now. ``last``: nothing is kept back."""
        if not self._mask:
            return piece
        text = self._rest + piece.decode("latin-1")
        spans = merged([(0, self._covered), *self._mask.spans(text)])
        end = len(text) if last else self._mask.partial_from(text)
        self._rest = text[end:]
        self._covered = max((b - end for a, b in spans if a <= end < b), default=0)
        shown = [(a, min(b, end)) for a, b in spans if a < end]
        return masked(text[:end], shown, _HIDDEN_BYTES).encode("latin-1")

    def release(self) -> bytes:
        """What was kept back, since nothing follows it for now."""
        return self.feed(b"", last=True)


def merged(spans: Iterable[Span]) -> list[Span]:
    """The spans in order, with those that overlap or touch joined and empty ones left out."""
    found: list[Span] = []
    for a, b in sorted(span for span in spans if span[0] < span[1]):
        if found and a <= found[-1][1]:
            found[-1] = (found[-1][0], max(b, found[-1][1]))
        else:
            found.append((a, b))
    return found


def masked(text: str, spans: Iterable[Span], hidden: str = HIDDEN) -> str:
    """The text with ••• (``hidden``) in place of each span."""
    parts, at = [], 0
    for a, b in spans:
        parts += [text[at:a], hidden]
        at = b
    return "".join([*parts, text[at:]])


def forms(value: str) -> set[str]:
    """The texts by which the value is recognised."""
    parts = {value, *(part for line in value.splitlines() for part in (line, line.strip()))}
    parts |= _passwords(value)
    found = {form for part in parts if len(part) >= SHORTEST for form in _written(part)}
    return {printable(form) for form in found if len(printable(form)) >= SHORTEST}


def _passwords(value: str) -> set[str]:
    """The password in a URL, as it is written there and decoded."""
    found = re.match(r"[a-z][a-z0-9+.-]*://[^:/?#]*:(.+)@[^@/]", value, re.IGNORECASE)
    return {found[1], unquote(found[1])} if found else set()


def _written(text: str) -> Iterator[str]:
    yield text
    yield json.dumps(text)[1:-1]
    yield json.dumps(text, ensure_ascii=False)[1:-1]
    yield repr(text)[1:-1]
    for inside in ("'\"'\"'", "'\\''"):  # in the trace and in the quotes of a shell
        yield text.replace("'", inside)
    yield html.escape(text)
    yield html.escape(text, quote=False)
    for quoted in (quote(text, safe=""), quote(text), quote_plus(text)):
        yield quoted
        yield _PERCENT.sub(lambda match: match[0].lower(), quoted)
    yield from _base64(text.encode())


def _base64(raw: bytes) -> Iterator[str]:
    """The text that the base64 of anything containing the value must contain, for each of three alignments."""
    for before in range(3):
        whole = base64.b64encode(bytes(before) + raw)
        sure = whole[(0, 2, 3)[before] : 8 * (before + len(raw)) // 6].decode()
        yield sure
        yield sure.translate(str.maketrans("+/", "-_"))
