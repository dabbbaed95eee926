"""``.dockerignore``, by Docker's own rules: github.com/moby/patternmatcher says how a pattern matches."""

from __future__ import annotations

import posixpath
import re
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import IO

from pipeline.adapters.tar_stream import chunks, rewrite
from pipeline.errors import AppFailed


@dataclass(frozen=True)
class Rule:
    pattern: re.Pattern[str]
    exception: bool  # it began with "!"


def parse(text: str) -> tuple[Rule, ...]:
    """The rules in their order. Raises AppFailed, with the line, where one makes no sense."""
    rules = []
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), 1):
        pattern = line.strip()
        if line.startswith("#") or not pattern:
            continue
        exception = pattern.startswith("!")
        pattern = pattern.removeprefix("!").strip()
        try:
            if not pattern:
                raise ValueError("there is nothing after the !")
            rules.append(Rule(_compile(pattern), exception))
        except (ValueError, re.error) as error:
            raise AppFailed(
                f".dockerignore, line {number}: {line.strip()!r} is no pattern ({error}).",
                advice="Mend that line.",
            ) from error
    return tuple(rules)


def ignored(rules: tuple[Rule, ...], path: str) -> bool:
    """True when the last rule that matches the path, or a folder above it, is not an exception."""
    parts = path.split("/")
    above = ["/".join(parts[: i + 1]) for i in range(len(parts))]
    for rule in reversed(rules):
        if any(rule.pattern.fullmatch(name) for name in above):
            return not rule.exception
    return False


def filtered(stream: IO[bytes], dockerignore: str, dockerfile: str) -> Iterator[bytes]:
    """The context without what ``.dockerignore`` leaves out; untouched where there are no rules.

    The Dockerfile and ``.dockerignore`` itself are always sent: the Engine reads them from the context.
    """
    rules = parse(dockerignore)
    return rewrite(stream, _change(rules, dockerfile)) if rules else chunks(stream)


def _change(rules: tuple[Rule, ...], dockerfile: str) -> Callable[[tarfile.TarInfo], tarfile.TarInfo | None]:
    always = {".dockerignore", posixpath.normpath(dockerfile)}

    def change(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
        path = posixpath.normpath(member.name)
        keep = path in always or path == "." or not ignored(rules, path)
        return member if keep else None

    return change


@lru_cache(maxsize=1024)
def _compile(pattern: str) -> re.Pattern[str]:
    clean = posixpath.normpath(pattern)
    clean = re.sub(r"^/+", "", clean) or "/"
    return re.compile(_translate(clean), re.DOTALL)


def _translate(pattern: str) -> str:
    """The pattern as a regular expression for a whole path."""
    out, i = "", 0
    while i < len(pattern):
        char = pattern[i]
        if pattern.startswith("**", i):
            i += 2
            if pattern.startswith("/", i):
                i += 1
            out += ".*" if i >= len(pattern) else "(?:.*/)?"
            continue
        if char == "[":
            end = _class_end(pattern, i)
            out += _class(pattern[i + 1 : end])
            i = end + 1
            continue
        if char == "\\":
            i += 1
            if i == len(pattern):
                raise ValueError("a backslash at its end")
            char, escaped = pattern[i], True
        else:
            escaped = False
        out += {"*": "[^/]*", "?": "[^/]"}.get(char, re.escape(char)) if not escaped else re.escape(char)
        i += 1
    return out


def _class_end(pattern: str, start: int) -> int:
    i = start + (3 if pattern[start + 1 : start + 2] == "^" else 2)
    while i < len(pattern) and pattern[i] != "]":
        i += 2 if pattern[i] == "\\" else 1
    if i >= len(pattern):
        raise ValueError("its [ is never closed")
    return i


def _class(body: str) -> str:
    negated = body.startswith("^")
    inner = body.removeprefix("^").replace("[", r"\[").replace("&&", r"&\&").replace("--", r"-\-")
    return f"(?!/)[{'^' if negated else ''}{inner}]"
