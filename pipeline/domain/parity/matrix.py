"""Environments side by side. Pure.

A row is a property, and a column an environment with what really runs there; where nothing runs, with what would. Rows
in which every environment leaves a key at its default are left out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from pipeline.config.parity.properties import INHERENT, OUTSIDE, Value, ordered, reason_for

NONE = "none"  # the text of a property that an environment does not have
UNKNOWN = "–"  # … of one that is not known of it: nothing runs there, or its engine did not answer
NOT_COMPARED = -1  # the group of such a cell


class Kind(StrEnum):
    """Of a row: whether and why its environments differ."""

    SAME = "same"
    DECLARED = "declared"  # every environment that differs says why
    INHERENT = "inherent"  # it cannot be the same, or no one set what has another default where it is
    UNDECLARED = "undeclared"


@dataclass(frozen=True)
class Column:
    """``runs``: what really runs; ``made``: what it was started as; ``wanted``: what the configuration in force says.
    An empty ``runs``: nothing serves, and ``wanted`` is compared. ``differs``: the reasons, by property; ``release``:
    the number of what serves, None if nothing does."""

    environment: str
    wanted: Mapping[str, Value]
    runs: Mapping[str, Value] = field(default_factory=dict)
    made: Mapping[str, Value] = field(default_factory=dict)
    differs: Mapping[str, str] = field(default_factory=dict)
    release: int | None = None

    @property
    def compared(self) -> Mapping[str, Value]:
        return self.runs or self.wanted


@dataclass(frozen=True)
class Cell:
    """``group``: 0, 1, …: equal for equal values of a row, NOT_COMPARED for what is not known; ``made``: what Pushlive
    started, if that is not what runs: it was changed by hand; ``wanted``: what pipelines.yaml says by now, if the
    release does not have that yet."""

    environment: str
    text: str
    group: int
    made: str | None = None
    wanted: str | None = None
    reason: str = ""


@dataclass(frozen=True)
class Row:
    name: str
    kind: Kind
    cells: tuple[Cell, ...]

    @property
    def by_hand(self) -> bool:
        return any(cell.made is not None for cell in self.cells)


@dataclass(frozen=True)
class Share:
    """``percent``: 100 only if ``same`` is ``of``."""

    same: int
    of: int
    declared: int
    undeclared: int
    inherent: int

    @property
    def percent(self) -> int:
        return 100 * self.same // self.of if self.of else 100


def rows(columns: Sequence[Column]) -> tuple[Row, ...]:
    names = {name for one in columns for name in one.compared}
    found = (_row(name, columns) for name in ordered(names))
    return tuple(one for one in found if one is not None)


def share(found: Iterable[Row]) -> Share:
    """Of the rows that could be the same, those that are. A difference counts as one, whether it is declared or not."""
    counts = dict.fromkeys(Kind, 0)
    for row in found:
        counts[row.kind] += 1
    same, declared, undeclared = counts[Kind.SAME], counts[Kind.DECLARED], counts[Kind.UNDECLARED]
    return Share(same, same + declared + undeclared, declared, undeclared, counts[Kind.INHERENT])


def undeclared(columns: Sequence[Column]) -> tuple[Row, ...]:
    return tuple(row for row in rows(columns) if row.kind == Kind.UNDECLARED)


def line(row: Row) -> str:
    """``memory: 128 MiB (qa), 256 MiB (live)``, with what was changed by hand."""
    return f"{row.name}: " + ", ".join(
        f"{cell.text} ({cell.environment}{_hand(cell)})" for cell in _told_apart(row)
    )


def _hand(cell: Cell) -> str:
    return f", by hand: {cell.made} was started" if cell.made is not None else ""


def _told_apart(row: Row) -> Iterable[Cell]:
    """Values that people do not see get a letter each."""
    return told_apart(row).cells


def told_apart(row: Row) -> Row:
    """The row with texts that differ where the values do: ``set`` becomes ``value A``, ``value B``."""
    by_text: dict[str, set[int]] = {}
    for cell in row.cells:
        by_text.setdefault(cell.text, set()).add(cell.group)
    cells = tuple(
        cell if len(by_text[cell.text]) == 1 else _lettered(cell, sorted(by_text[cell.text]))
        for cell in row.cells
    )
    return Row(row.name, row.kind, cells)


def _lettered(cell: Cell, groups: list[int]) -> Cell:
    letter = chr(ord("A") + groups.index(cell.group))
    text = f"value {letter}" if cell.text == "set" else f"{cell.text} ({letter})"
    return Cell(cell.environment, text, cell.group, cell.made, cell.wanted, cell.reason)


def _row(name: str, columns: Sequence[Column]) -> Row | None:
    values = [one.compared.get(name) for one in columns]
    if all(one is None or one.unset for one in values):
        return None
    known = [one for one in values if one is not None or not _outside(name)]
    kinds = list(dict.fromkeys(_same(one) for one in known))
    cells = tuple(_cell(name, column, kinds) for column in columns)
    by_place = {
        column.environment for column, value in zip(columns, values, strict=True) if value and value.by_place
    }
    return Row(name, _kind(name, cells, by_place), cells)


def _outside(name: str) -> bool:
    return any(name == one or name.startswith(f"{one}.") for one in OUTSIDE)


def _cell(name: str, column: Column, kinds: list[str | None]) -> Cell:
    value, made, wanted = (one.get(name) for one in (column.compared, column.made, column.wanted))
    if value is None and _outside(name):
        return Cell(column.environment, UNKNOWN, NOT_COMPARED)
    runs = bool(column.runs)
    by_hand = runs and name in {**column.made, **column.runs} and _same(value) != _same(made)
    later = runs and name in {**column.made, **column.wanted} and _same(wanted) != _same(made)
    return Cell(
        column.environment,
        _text(value),
        kinds.index(_same(value)),
        _text(made) if by_hand else None,
        _text(wanted) if later else None,
        reason_for(column.differs, name),
    )


def _kind(name: str, cells: Sequence[Cell], by_place: Collection[str]) -> Kind:
    """Those that say why they differ may; all the others have to be alike. No reason covers what was changed by
    hand. ``by_place``: environments whose value no one set."""
    compared = [cell for cell in cells if cell.group != NOT_COMPARED]
    by_hand = any(cell.made is not None for cell in cells)
    if len({cell.group for cell in compared}) <= 1 and not by_hand:
        return Kind.SAME
    if name in INHERENT and not by_hand:
        return Kind.INHERENT
    set_there = [cell for cell in compared if cell.environment not in by_place]
    if len({cell.group for cell in set_there}) <= 1 and not by_hand:
        return Kind.INHERENT
    others = {cell.group for cell in set_there if not cell.reason}
    return Kind.UNDECLARED if len(others) > 1 or by_hand else Kind.DECLARED


def _same(value: Value | None) -> str | None:
    return value.same if value else None


def _text(value: Value | None) -> str:
    return value.text if value else NONE
