"""Output for a terminal: text without control characters, tables, durations, colours.

Imports little: every command loads this.
"""

from __future__ import annotations

import os
import sys
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TextIO

from pipeline.lib.text import one_line, printable

Paint = Callable[[str, str], str]
Cell = str | tuple[str, str]  # text, or text and the name of its style

_STYLES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "blue": "34", "cyan": "36"}


def cleaned(value: Any) -> Any:
    """``one_line`` for every string and key of a decoded JSON value."""
    if isinstance(value, str):
        return one_line(value)
    if isinstance(value, list):
        return [cleaned(item) for item in value]
    if isinstance(value, dict):
        return {one_line(key): cleaned(item) for key, item in value.items()}
    return value


def origin_text(origin: dict[str, Any]) -> str:
    """The commit that a configuration came from."""
    return f"{origin['commit'][:7]} “{origin['subject']}” by {origin['author']} ({origin['place']})"


def plain(text: str, style: str = "") -> str:
    """A Paint without colours."""
    del style
    return text


def _coloured(text: str, style: str) -> str:
    codes = ";".join(_STYLES[name] for name in style.split())
    return f"\x1b[{codes}m{text}\x1b[0m" if codes and text else text


def clock(seconds: float) -> str:
    """A running time in whole seconds: ``0:07``, ``4:58``."""
    sign, whole = ("-", int(-seconds)) if seconds < 0 else ("", int(seconds))
    return f"{sign}{whole // 60}:{whole % 60:02}"


def age(seconds: float) -> str:
    """How long ago, in one unit: ``12s``, ``3m``, ``5h``, ``2d``."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{int(seconds // size)}{unit}"
    return f"{max(0, int(seconds))}s"


def columns(text: str) -> int:
    """How many columns the text takes: wide characters two, combining characters none."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(c) or c == "\u200d" else 1 + (unicodedata.east_asian_width(c) in "WF")
        for c in text
    )


def cut(text: str, width: int) -> str:
    """The text, cut with … if it would take more than ``width`` columns."""
    if columns(text) <= width:
        return text
    kept = ""
    for character in text:
        if columns(kept + character) > width - 1:
            break
        kept += character
    return kept.rstrip() + "…" if width > 0 else ""


def waterfall(before: float, length: float, whole: float, width: int) -> tuple[str, str]:
    """The indentation and the bar of a part that began ``before`` seconds into ``whole`` seconds."""
    if whole <= 0:
        return "", ""
    start = min(width - 1, int(before / whole * width))
    end = min(width, max(start + 1, round((before + length) / whole * width)))
    return " " * start, "━" * (end - start)


LEAST = 12  # columns to which a text is cut
NONE: Mapping[int, int] = MappingProxyType({})


def _split(cell: Cell) -> tuple[str, str]:
    return (cell, "") if isinstance(cell, str) else cell


def _fit(
    sizes: dict[int, int], width: int, flexible: int, spare: Sequence[int], long: Mapping[int, int]
) -> None:
    def excess() -> int:
        return sum(sizes.values()) + 2 * (len(sizes) - 1) - width

    def cut_to(column: int, least: int) -> None:
        if column in sizes:
            sizes[column] = min(sizes[column], max(least, sizes[column] - max(0, excess())))

    for column, usual in long.items():
        cut_to(column, usual)
    cut_to(flexible, LEAST)
    for column in spare:
        if excess() > 0:
            sizes.pop(column, None)
    for column in long:
        cut_to(column, LEAST)


def table(
    head: Sequence[str],
    rows: Iterable[Sequence[Cell]],
    paint: Paint,
    *,
    width: int = 0,
    flexible: int = -1,
    spare: Sequence[int] = (),
    right: Sequence[int] = (),
    long: Mapping[int, int] = NONE,
    indent: str = "  ",
) -> list[str]:
    """Lines of a table. Empty columns are left out. If ``width`` (0: unlimited) is too small, the column
    ``flexible`` is cut, down to 12, then the columns ``spare`` are dropped in that order. ``long``: columns that
    are cut to so much before that, and down to 12 in the end. ``right``: these are right-aligned."""
    cells = [[_split(cell) for cell in row] for row in rows]
    used = [i for i in range(len(head)) if any(row[i][0] for row in cells)]
    sizes = {i: max([columns(head[i]), *(columns(row[i][0]) for row in cells)]) for i in used}
    if width:
        _fit(sizes, width - len(indent), flexible, spare, long)

    def line(row: Sequence[tuple[str, str]]) -> str:
        parts = []
        for i in sizes:
            text = cut(row[i][0], sizes[i])
            gap = " " * (sizes[i] - columns(text))
            parts.append(gap + paint(text, row[i][1]) if i in right else paint(text, row[i][1]) + gap)
        return (indent + "  ".join(parts)).rstrip()

    titles = [line([(title, "dim") for title in head])] if any(head[i] for i in sizes) else []
    return titles + [line(row) for row in cells]


def _width(out: TextIO) -> int:
    try:
        return os.get_terminal_size(out.fileno()).columns or 80
    except OSError:
        return 80


class Terminal:
    """Where output goes, and whether it may have colours."""

    def __init__(self, environ: Mapping[str, str], *, quiet: bool = False, out: TextIO | None = None) -> None:
        self.out = out or sys.stdout
        self.quiet = quiet
        self._environ = environ
        capable = self.out.isatty() and environ.get("TERM", "") != "dumb"
        self.live = capable and not quiet
        self.paint: Paint = _coloured if capable and not environ.get("NO_COLOR") else plain
        # Only lines for a terminal are cut; a pipe gets them whole.
        self.width = _width(self.out) if self.out.isatty() else 0

    def data(self, *lines: str) -> None:
        """The command's result: always written."""
        self.out.write("".join(f"{line}\n" for line in lines))
        self.out.flush()

    def say(self, *lines: str) -> None:
        """For a person: not written with ``--quiet``."""
        if not self.quiet:
            self.data(*lines)

    def note(self, *lines: str) -> None:
        """For a person, beside a result that a script reads: to standard error, unless ``--quiet``."""
        if not self.quiet:
            self.complain(*lines)

    def complain(self, *lines: str) -> None:
        """An error or a warning: always, to standard error."""
        self.out.flush()
        text = "".join(f"{line}\n" for line in lines)
        # Colours are chosen for standard output; standard error may still be a file.
        sys.stderr.write(text if sys.stderr.isatty() else printable(text))
        sys.stderr.flush()
