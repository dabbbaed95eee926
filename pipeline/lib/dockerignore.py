"""``.dockerignore``, by Docker's own rules: patterns match as in github.com/moby/patternmatcher."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from pipeline.errors import AppFailed

RULES_AT_MOST = 1000
WILDCARDS_AT_MOST = 32
PIECES_AT_MOST = 1000
_STAR, _ANY, _FOLDERS = "[^/]*", ".*", "(?:.*/)?"
_FEW = 2  # wildcards in one pattern; a regular expression with more may take exponential time


class Pattern(Protocol):
    def matches(self, path: str) -> bool:
        """True if it matches the path, or a folder above it."""
        ...


@dataclass(frozen=True)
class Expression:
    """A pattern with few wildcards."""

    expression: re.Pattern[str]

    def matches(self, path: str) -> bool:
        return any(self.expression.fullmatch(path, 0, end) for end in _ends(path))


def _ends(path: str) -> Iterator[int]:
    """Where each folder above the path, and the path itself, ends."""
    at = path.find("/")
    while at >= 0:
        yield at
        at = path.find("/", at + 1)
    yield len(path)


@dataclass(frozen=True)
class Steps:
    """A pattern with many wildcards. All possibilities are matched at once: at most pieces × characters steps."""

    pieces: tuple[str, ...]

    def matches(self, path: str) -> bool:
        return not self.reached(path).isdisjoint(_ends(path))

    def reached(self, path: str) -> set[int]:
        """Every n for which it matches the path's first n characters."""
        positions = {0}
        for piece in self.pieces:
            positions = _step(piece, positions, path)
            if not positions:
                break
        return positions


def _step(piece: str, positions: set[int], text: str) -> set[int]:
    """The positions in the text after the piece, from the possible ones before it."""
    if piece == _ANY:
        return set(range(min(positions), len(text) + 1))
    if piece == _FOLDERS:
        return positions | {i + 1 for i in range(min(positions), len(text)) if text[i] == "/"}
    if piece == _STAR:
        found, going = set[int](), False
        for i in range(min(positions), len(text) + 1):
            going = i in positions or (going and text[i - 1] != "/")
            if going:
                found.add(i)
        return found
    one = re.compile(piece, re.DOTALL)
    return {i + 1 for i in positions if i < len(text) and one.fullmatch(text[i])}


@dataclass(frozen=True)
class Rule:
    pattern: Pattern
    exception: bool  # it began with "!"


def parse(text: str) -> tuple[Rule, ...]:
    """The rules in order. Raises AppFailed, with the line, for one that is not valid."""
    rules: list[Rule] = []
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), 1):
        pattern = line.strip()
        if line.startswith("#") or not pattern:
            continue
        exception = pattern.startswith("!")
        pattern = pattern.removeprefix("!").strip()
        if len(rules) == RULES_AT_MOST or len(pattern) > 2 * PIECES_AT_MOST:
            raise AppFailed(
                f".dockerignore, line {number}: there are more than {RULES_AT_MOST} rules, or this one is too long.",
                advice="Ignore whole folders instead of single files.",
            )
        try:
            if not pattern:
                raise ValueError("nothing follows the !")
            rules.append(Rule(_compile(pattern), exception))
        except (ValueError, re.error) as error:
            raise AppFailed(
                f".dockerignore, line {number}: {line.strip()!r} is not a valid pattern ({error}).",
                advice="Fix that line.",
            ) from error
    return tuple(rules)


def ignored(rules: tuple[Rule, ...], path: str) -> bool:
    """True if the last rule that matches the path, or a folder above it, is not an exception."""
    for rule in reversed(rules):
        if rule.pattern.matches(path):
            return not rule.exception
    return False


@lru_cache(maxsize=1024)
def _compile(pattern: str) -> Pattern:
    clean = posixpath.normpath(pattern)
    clean = re.sub(r"^/+", "", clean) or "/"
    pieces = _translate(clean)
    wild = sum(piece in (_STAR, _ANY, _FOLDERS) for piece in pieces)
    if wild > WILDCARDS_AT_MOST or len(pieces) > PIECES_AT_MOST:
        raise ValueError("it has too many wildcards or is too long")
    return Steps(pieces) if wild > _FEW else Expression(re.compile("".join(pieces), re.DOTALL))


def _translate(pattern: str) -> tuple[str, ...]:
    """The pattern as pieces of a regular expression for a whole path. Each matches one character, except _STAR, _ANY
    and _FOLDERS."""
    out, i = list[str](), 0
    while i < len(pattern):
        char = pattern[i]
        if pattern.startswith("**", i):
            i += 2
            if pattern.startswith("/", i):
                i += 1
            out.append(_ANY if i >= len(pattern) else _FOLDERS)
            continue
        if char == "[":
            end = _class_end(pattern, i)
            out.append(_class(pattern[i + 1 : end]))
            i = end + 1
            continue
        if char == "\\":
            i += 1
            if i == len(pattern):
                raise ValueError("it ends with a backslash")
            char, escaped = pattern[i], True
        else:
            escaped = False
        out.append({"*": _STAR, "?": "[^/]"}.get(char, re.escape(char)) if not escaped else re.escape(char))
        i += 1
    return tuple(out)


def _class_end(pattern: str, start: int) -> int:
    i = start + (3 if pattern[start + 1 : start + 2] == "^" else 2)
    while i < len(pattern) and pattern[i] != "]":
        i += 2 if pattern[i] == "\\" else 1
    if i >= len(pattern):
        raise ValueError("its [ is not closed")
    return i


def _class(body: str) -> str:
    negated = body.startswith("^")
    inner = body.removeprefix("^").replace("[", r"\[").replace("&&", r"&\&").replace("--", r"-\-")
    one = f"(?!/)[{'^' if negated else ''}{inner}]"
    re.compile(one)  # on its own: `[\\]` would only be closed by what follows it
    return one
