"""Reads a Dockerfile into its instructions, as BuildKit does. What they mean is for the caller to say."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

_DIRECTIVE = re.compile(r"^#\s*([A-Za-z]+)\s*=\s*(.*?)\s*$")
_SPACE = re.compile(r"[\t\v\f\r ]+")  # what BuildKit takes for a space
_HEREDOC = re.compile(r"<<-?\s*([\"']?)([A-Za-z_]\w*)\1")
_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)(?::?([-+])([^}]*))?\})")


@dataclass(frozen=True)
class Instruction:
    line: int  # the first one, from 1
    word: str  # in upper case
    flags: tuple[str, ...]  # "--from=build"
    rest: str


def directives(text: str) -> dict[str, str]:
    """``# syntax=…`` and ``# escape=…``: they count only at the very beginning of the file."""
    found: dict[str, str] = {}
    for line in _lines(text):
        match = _DIRECTIVE.match(line.strip())
        if not match or match[1].lower() in found:
            break
        found[match[1].lower()] = match[2]
    return found


def _lines(text: str) -> list[str]:
    """Lines end with a line feed only, as in BuildKit."""
    return [line.removesuffix("\r") for line in text.removeprefix("\ufeff").split("\n")]


def instructions(text: str, *, heredocs: bool = True) -> Iterator[Instruction]:
    """Every instruction, with continued lines joined, without comments. Without ``heredocs``, the lines of a
    here-document are taken for instructions, as an Engine that does not know them takes them."""
    escape = directives(text).get("escape", "\\")
    lines = _lines(text)
    i = 0
    while i < len(lines):
        first, joined = i + 1, ""
        while i < len(lines):
            line, i = lines[i], i + 1
            if not line.strip() or line.lstrip().startswith("#"):
                if not joined:
                    break
                continue
            stripped = line.rstrip()
            if not stripped.endswith(escape):
                joined += line
                break
            joined += stripped[: -len(escape)]
        if not joined.strip():
            continue
        one = instruction(first, joined.strip())
        if heredocs and one.word in ("RUN", "COPY", "ADD"):
            i = _after_heredocs(lines, i, one.rest)
        yield one


def instruction(line: int, text: str) -> Instruction:
    """One instruction from its text on one line."""
    word, rest = [*_SPACE.split(text, maxsplit=1), ""][:2]
    flags = []
    rest = rest.strip()
    while match := re.match(r"(--[^\s=]*(?:=(?:\"[^\"]*\"|\S*))?)(?:\s+|$)", rest):
        flags.append(match[1].replace('"', ""))
        rest = rest[match.end() :]
    return Instruction(line, word.upper(), tuple(flags), rest)


def _after_heredocs(lines: list[str], i: int, rest: str) -> int:
    for _, word in _HEREDOC.findall(rest):
        end = next((n for n in range(i, len(lines)) if lines[n].strip() == word), None)
        if end is None:  # not a here-document after all
            return i
        i = end + 1
    return i


def expand(text: str, known: Mapping[str, str]) -> str:
    """The text without quotes at its ends, its variables replaced: ``$A``, ``${A}``, ``${A:-default}``,
    ``${A:+instead}``. An unknown one is empty."""

    def value(match: re.Match[str]) -> str:
        found = known.get(match[1] or match[2], "")
        if match[3] == "-":
            return found or match[4]
        return match[4] if match[3] == "+" and found else "" if match[3] == "+" else found

    return _VARIABLE.sub(value, text.strip("\"'"))


def builder_settings(args: Iterable[str]) -> list[str]:
    """Those of the build arguments that BuildKit itself acts on: they choose what builds, and whose caches it may use.
    ``BUILDKIT_INLINE_CACHE`` is harmless."""
    return sorted(name for name in args if name.startswith("BUILDKIT_") and name != "BUILDKIT_INLINE_CACHE")
