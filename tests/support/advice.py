"""Every command that our messages tell a person to type, from the source: string literals and f-strings."""

from __future__ import annotations

import ast
import re
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.support.paths import ROOT

HOLE = "\ue000"  # stands for what an f-string puts in
_QUOTED = re.compile("`(pushlive(?: [^`]*)?)`|^(pushlive [^`]*)$")


@dataclass(frozen=True)
class Text:
    """One text with ``HOLE`` for each part that is only known later."""

    file: Path
    line: int
    text: str

    @property
    def root(self) -> Path:
        return ROOT

    @property
    def where(self) -> str:
        return f"{self.file.relative_to(ROOT)}:{self.line}"


@cache
def texts(word: str = "") -> tuple[Text, ...]:
    """Every text of the product except for docstrings. With a ``word`` only those of the statements that it is in,
    which takes a fraction of the time."""
    return tuple(_every(word))


def _every(word: str) -> Iterator[Text]:
    for folder in ("pipeline", "webhooks", "workers"):
        for file in sorted((ROOT / folder).rglob("*.py")):
            source = file.read_text()
            if word in source:
                lines = source.splitlines()
                numbers = [number for number, line in enumerate(lines, 1) if word in line]
                yield from _texts(file, ast.parse(source), numbers)


def _texts(file: Path, node: ast.AST, lines: list[int]) -> Iterator[Text]:
    """``lines``: those that are wanted, in order."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant):
            continue  # a docstring
        if isinstance(child, ast.stmt) and not _any_within(lines, child):
            continue
        if isinstance(child, ast.BinOp | ast.JoinedStr | ast.Constant) and (found := _rendered(child)):
            yield Text(file, child.lineno, found)
        yield from () if isinstance(child, ast.JoinedStr) else _texts(file, child, lines)
        if isinstance(child, ast.JoinedStr):
            for part in child.values:
                yield from _texts(file, part, lines)


def _any_within(lines: list[int], statement: ast.stmt) -> bool:
    at = bisect_left(lines, statement.lineno)
    return at < len(lines) and lines[at] <= (statement.end_lineno or statement.lineno)


def _rendered(node: ast.expr) -> str:
    """The text of a literal, of an f-string, or of a sum with one in it; "" if it is no text."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    if isinstance(node, ast.JoinedStr):
        return "".join(_rendered(one) if isinstance(one, ast.Constant) else HOLE for one in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        parts = _rendered(node.left), _rendered(node.right)
        return "".join(part or HOLE for part in parts) if any(parts) else ""
    return ""


def commands() -> Iterator[tuple[Text, str]]:
    """Every command line in them: in backquotes, or a text of its own."""
    for text in texts("pushlive"):
        for found in _QUOTED.finditer(text.text):
            yield text, found[1] or found[2]


def templates() -> Iterator[tuple[Text, str]]:
    """Every command line on the pages."""
    for file in sorted((ROOT / "webhooks" / "templates").glob("*.html")):
        for number, line in enumerate(file.read_text().splitlines(), 1):
            for found in re.findall(r"<code>(pushlive [^<]*)</code>", line):
                text = re.sub(r"{{.*?}}", HOLE, found)
                yield Text(file, number, text), text


# Not commands to type: usage, the words of a list, texts that are hashed.
NO_COMMANDS = {"pipeline/cli/main.py", "pipeline/secrets/rules.py", "pipeline/secrets/encryption.py"}


@cache
def advised() -> tuple[tuple[str, str], ...]:
    """Every command that a person is told to type, with where it is in the source."""
    found = {
        (text.where, command)
        for text, command in [*commands(), *templates()]
        if str(text.file.relative_to(text.root)) not in NO_COMMANDS
    }
    return tuple(sorted(found))
