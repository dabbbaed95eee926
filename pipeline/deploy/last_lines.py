"""The application's last lines, as a failure card shows them."""

from __future__ import annotations

import re

LINES = 20
LINE_LIMIT = 1000  # characters of one line
_FIGURES = re.compile(r"\d+")


def collapsed(lines: tuple[str, ...]) -> tuple[str, ...]:
    """Neighbours that differ in figures only (an access log's health checks) as one line with their number."""
    found: list[tuple[str, str, int]] = []
    for line in map(_cut, lines):
        shape = _FIGURES.sub("#", line)
        count = found.pop()[2] if found and found[-1][1] == shape else 0
        found.append((line, shape, count + 1))
    return tuple(line + (f"  (×{count})" if count > 1 else "") for line, _, count in found)


def _cut(line: str) -> str:
    """A line as it is kept in a record; `pushlive logs --app` has the whole of it."""
    return line if len(line) <= LINE_LIMIT else f"{line[:LINE_LIMIT]} … ({len(line)} characters)"


_NO_PROCESS = re.compile(
    r"(?:can't|cannot|unable to|failed to|error:) ?(?:v?fork|create (?:new )?(?:OS |native )?thread|start new thread)"
    r"|fork(?:\(\))?: (?:retry: )?Resource temporarily unavailable|pthread_create(?:\(\))? failed",
    re.IGNORECASE,
)


def advice_of(lines: tuple[str, ...]) -> str:
    """What to do about a limit that the application met, by its own lines; "" if none is known."""
    if any(_NO_PROCESS.search(line) for line in lines):
        return (
            "It could not start another process or thread: raise `pids` in pipelines.yaml (512 unless it is set; on a "
            "cluster the node's own limit counts)."
        )
    return ""
