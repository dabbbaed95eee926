"""Reads a Dockerfile into its instructions, as BuildKit does. What they mean is for the caller to say.

Versions of BuildKit differ: the Engine 20.10's knows no here-documents, others take ``<< EOF`` for one, or not. `read`
reads the file as each of them would, and refuses one that they would carry out differently.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass

from pipeline.config.shell_words import Heredoc, heredocs, split

_DIRECTIVE = re.compile(r"#[\t\f\r ]*([A-Za-z][A-Za-z0-9]*)[\t\f\r ]*=[\t\f\r ]*(\S.*)")
_LOOSE_DIRECTIVE = re.compile(r"\s*(?:#|//)\s*([A-Za-z][A-Za-z0-9]*)\s*=\s*(\S.*)")
_SPACE = re.compile(r"[\t\v\f\r ]+")  # what BuildKit takes for a space
_BLANK = "\t\v\f\r "
_STRAY = re.compile(r"\r(?!\n|\Z)|[\x00\x1c-\x1f]")
_WITH_HEREDOCS = ("RUN", "COPY", "ADD", "ONBUILD")
_NAME = re.compile(r"[A-Za-z_]\w*")

INSTRUCTIONS = frozenset({
    "ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "LABEL", "MAINTAINER",
    "ONBUILD", "RUN", "SHELL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR",
})  # fmt: skip


class Unclear(ValueError):
    """Versions of BuildKit read the file differently. ``why``: a clause that begins with the line."""

    def __init__(self, line: int, why: str) -> None:
        super().__init__(f"line {line}: {why}")
        self.line = line
        self.why = why


@dataclass(frozen=True)
class Instruction:
    line: int  # the first one, from 1
    word: str  # in upper case
    flags: tuple[str, ...]  # "--from=build", without quotes and escapes
    rest: str


@dataclass(frozen=True)
class _Dialect:
    known: bool = True  # it has here-documents
    spaces: bool = False
    raw_escapes: bool = True
    plain_names: bool = False  # only letters, digits and underscores
    escape_in_flags: bool = False  # the file's escape character counts in flags, not always the backslash


_USUAL = _Dialect()
_DIALECTS = (
    _USUAL,
    _Dialect(known=False),
    _Dialect(spaces=True, escape_in_flags=True),
    _Dialect(escape_in_flags=True),
    _Dialect(raw_escapes=False, plain_names=True),
)


class _Unterminated(ValueError):
    """A here-document does not end: BuildKit refuses the file."""


def directives(text: str) -> dict[str, str]:
    """``# syntax=…`` and ``# escape=…``: they count only at the very beginning of the file."""
    found: dict[str, str] = {}
    for line in _lines(text):
        match = _DIRECTIVE.fullmatch(line)
        if not match or match[1].lower() not in ("syntax", "escape") or match[1].lower() in found:
            break
        found[match[1].lower()] = match[2].rstrip()
    return found


def read(text: str) -> tuple[Instruction, ...]:
    """Every instruction, with continued lines joined, without comments and here-documents. Raises Unclear."""
    _refuse_unclear_text(text)
    readings = []
    for dialect in _DIALECTS:
        try:
            readings.append(tuple(_instructions(text, dialect)))
        except _Unterminated:
            continue
    valid = [one for one in readings if all(each.word in INSTRUCTIONS for each in one)] or readings
    first = valid[0]
    for other in valid[1:]:
        if other != first:
            raise _difference(first, other)
    return first


def _difference(one: tuple[Instruction, ...], other: tuple[Instruction, ...]) -> Unclear:
    pairs = [(a, b) for a, b in zip(one, other, strict=False) if a != b]
    if pairs and pairs[0][0].line == pairs[0][1].line:
        return Unclear(pairs[0][0].line, "its flags have an escape character in them")
    common = [a for a, b in zip(one, other, strict=False) if a == b]
    return Unclear(common[-1].line, "the lines after it are a here-document, or instructions of their own")


def instructions(text: str, *, with_heredocs: bool = True) -> tuple[Instruction, ...]:
    """The same, for a reader that only wants hints: nothing is refused. Without ``with_heredocs``, the lines of a
    here-document are taken for instructions."""
    for dialect in (_USUAL,) if with_heredocs else ():
        try:
            return tuple(_instructions(text, dialect))
        except ValueError:
            continue
    return tuple(_instructions(text, _Dialect(known=False)))


def _refuse_unclear_text(text: str) -> None:
    if match := _STRAY.search(text):
        at = text.count("\n", 0, match.start()) + 1
        raise Unclear(at, "it has a control character, or a carriage return that does not end the line")
    if text.removeprefix("\ufeff").lstrip().startswith("{"):
        raise Unclear(1, "the file begins with {, as a file for another frontend does")
    loose, at = list[tuple[str, str]](), 0
    for number, line in enumerate(_lines(text), 1):
        match = _LOOSE_DIRECTIVE.fullmatch(line)
        if match and match[1].lower() in ("syntax", "escape"):
            loose.append((match[1].lower(), match[2].rstrip()))
            at = number
        elif not match and not (number == 1 and line.startswith("#!")):
            break
    found = directives(text)
    if loose != list(found.items()) or (loose and text.startswith("\ufeff")):
        raise Unclear(at, "not every version reads this `syntax` or `escape`, because of what precedes it")
    if found.get("escape", "\\") not in ("\\", "`"):
        raise Unclear(at, "the escape character is neither \\ nor `")
    escape = re.escape(found.get("escape", "\\"))
    for number, line in enumerate(_lines(text), 1):
        if re.search(f"{escape}{escape}[ \t]*$", line) and not line.lstrip().startswith("#"):
            raise Unclear(number, "it ends with two escape characters")


def _lines(text: str) -> list[str]:
    """Lines end with a line feed only, as in BuildKit."""
    return [line.removesuffix("\r") for line in text.removeprefix("\ufeff").split("\n")]


def _instructions(text: str, dialect: _Dialect) -> Iterable[Instruction]:
    """Raises Unclear, and _Unterminated."""
    escape = directives(text).get("escape", "\\")
    continued = re.compile(re.escape(escape) + "[ \t]*$")
    lines, i = _lines(text), 0
    while i < len(lines):
        first, line, i = i + 1, lines[i].lstrip(), i + 1
        if not line or line.startswith("#"):
            continue
        joined, more = continued.subn("", line)
        while more and i < len(lines):
            line, i = lines[i], i + 1
            if line.strip() and not line.lstrip().startswith("#"):
                line, more = continued.subn("", line)
                joined += line
        if not joined.strip():
            continue
        one = instruction(first, joined, escape if dialect.escape_in_flags else "\\")
        yield one
        if dialect.known and one.word in _WITH_HEREDOCS:
            for heredoc in _heredocs(one, joined, dialect):
                i = _end(lines, i, heredoc)


def _heredocs(one: Instruction, line: str, dialect: _Dialect) -> tuple[Heredoc, ...]:
    while one.word == "ONBUILD":
        one = instruction(one.line, one.rest)
    if "<<" not in line or one.word not in _WITH_HEREDOCS or _is_list(one):
        return ()
    try:
        found = heredocs(line, spaces=dialect.spaces, raw_escapes=dialect.raw_escapes)
    except ValueError as error:
        raise Unclear(one.line, str(error)) from None
    return tuple(each for each in found if not dialect.plain_names or _NAME.fullmatch(each.name))


def _is_list(one: Instruction) -> bool:
    """True for ``["a", "b"]``. Raises Unclear if something follows it."""
    if not one.rest.startswith("["):
        return False
    try:
        _, end = json.JSONDecoder().raw_decode(one.rest)
    except ValueError:
        return False
    if one.rest[end:].strip():
        raise Unclear(one.line, "something follows the list in brackets")
    return True


def _end(lines: list[str], i: int, heredoc: Heredoc) -> int:
    """The index after the here-document."""
    for n in range(i, len(lines)):
        line = lines[n].lstrip("\t") if heredoc.chomp else lines[n]
        if line == heredoc.name:
            return n + 1
    raise _Unterminated


def instruction(line: int, text: str, escape: str = "\\") -> Instruction:
    """One instruction from its text on one line. ``escape``: the character that escapes in its flags."""
    word, rest = [*_SPACE.split(text.strip(), maxsplit=1), ""][:2]
    flags, rest = _flags(rest, escape)
    # Go's lower case of these two letters is ASCII
    return Instruction(line, word.replace("\u0130", "i").replace("\u212a", "k").upper(), flags, rest.strip())


def _flags(text: str, escape: str) -> tuple[tuple[str, ...], str]:
    """The words that begin with ``--``, without quotes and escapes, up to the first other word or a ``--``."""
    flags, i = list[str](), 0
    while True:
        while i < len(text) and text[i] in _BLANK:
            i += 1
        if not text.startswith("--", i):
            return tuple(flags), text[i:]
        flag, quote = "", ""
        while i < len(text) and (quote or text[i] not in _BLANK):
            char, i = text[i], i + 1
            if char == escape:
                flag, i = flag + text[i : i + 1], i + 1
            elif char == quote or (not quote and char in "'\""):
                quote = "" if quote else char
            else:
                flag += char
        if flag == "--":
            return tuple(flags), text[i:]
        flags.append(flag)


def declared(text: str, names: Iterable[str]) -> list[str]:
    """Those of the names that the Dockerfile declares as build arguments (``ARG``), anywhere."""
    lines = [one for one in instructions(text) if one.word == "ARG"]
    words = {part.partition("=")[0] for one in lines for part in split(one.rest)}
    return [name for name in names if name in words]


def builder_settings(args: Iterable[str]) -> list[str]:
    """Those of the build arguments that BuildKit itself acts on: they choose what builds, and whose caches it may use.
    ``BUILDKIT_INLINE_CACHE`` is harmless."""
    return sorted(name for name in args if name.startswith("BUILDKIT_") and name != "BUILDKIT_INLINE_CACHE")
