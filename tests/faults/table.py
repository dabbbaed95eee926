"""The one table at the end."""

from __future__ import annotations

from collections.abc import Mapping

from tests.faults.registry import FAULTS, Tally

HEAD = ("fault", "tried", "survived", "lost", "doubled", "longest recovery")


def table(tallies: Mapping[str, Tally]) -> str:
    """One line for each fault that was tried, and the sum of all."""
    order = sorted(tallies, key=lambda name: (FAULTS[name].rows, name))
    rows = [_row(f"{FAULTS[name].title} ({name})", tallies[name]) for name in order]
    every = list(tallies.values())
    whole = Tally(
        sum(one.tried for one in every),
        sum(one.survived for one in every),
        sum(one.lost for one in every),
        sum(one.doubled for one in every),
        max((one.recovery for one in every), default=0.0),
    )
    rows.append(_row("all", whole))
    widths = [max(len(row[n]) for row in (HEAD, *rows)) for n in range(len(HEAD))]
    lines = [_line(row, widths) for row in (HEAD, *rows)]
    rule = "─" * len(lines[0])
    return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])


def _row(title: str, tally: Tally) -> tuple[str, ...]:
    figures = (tally.tried, tally.survived, tally.lost, tally.doubled)
    return (title, *(str(figure) for figure in figures), f"{tally.recovery:.1f} s")


def _line(row: tuple[str, ...], widths: list[int]) -> str:
    first = row[0].ljust(widths[0])
    return "  ".join([first, *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))])
