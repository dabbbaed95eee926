"""A machine's figures as the rows of a table, for the command line and the page. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from pipeline.lib.units import show_size, show_time

COLUMNS = ("cores", "memory", "disk")
PURPOSES = ("serving", "warm", "deploying", "command", "system")
UNKNOWN = "?"


class Row(NamedTuple):
    """``part``: it is a part of the row above. ``cells``: one for each of COLUMNS, "" where a row has none."""

    name: str
    part: bool
    cells: tuple[str, ...]


def rows(one: Mapping[str, Any]) -> Iterator[Row]:
    """``one``: of ``machines`` in ``Queries.capacity``."""
    yield _row("has", one["has"])
    yield _row("promised", one["promised"])
    yield _row("used by everything", one["used"])
    if busiest := one.get("busiest"):
        yield _row("in its largest hour", busiest, part=True)
    if one["taken"]:
        yield _row("taken by containers", _sum(one["taken"].values()))
    for purpose in PURPOSES:
        if purpose in one["taken"]:
            yield _row(purpose, one["taken"][purpose], part=True)
    if one["idle"]:
        yield _row("idle", one["idle"])
    if one["largest"]:
        yield _row("largest hour", one["largest"])
    if size := one["fits"]["size"]:
        yield _row("one pipeline", size)
        yield Row("more that fit", False, tuple(_count(one["fits"]["by"].get(name)) for name in COLUMNS))


def _sum(taken: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    every = tuple(taken)
    return {key: sum(one[key] for one in every) for key in ("cores", "memory")}


def _row(name: str, found: Mapping[str, Any], *, part: bool = False) -> Row:
    return Row(name, part, tuple(_cell(key, found[key]) if key in found else "" for key in COLUMNS))


def _cell(key: str, value: float | None) -> str:
    if value is None:
        return UNKNOWN
    return f"{value:.2f}" if key == "cores" else show_size(round(value))


def _count(count: int | None) -> str:
    return UNKNOWN if count is None else str(count)


def sentences(one: Mapping[str, Any]) -> Iterator[str]:
    """How many more fit, and what takes the disk, without full stops."""
    more = one["fits"]["more"]
    if more is not None:
        yield f"{more} more {'pipeline' if more == 1 else 'pipelines'} of today's size fit: {one['step']}"
    if takers := {name: size for name, size in one["takers"].items() if size}:
        yield "The disk has " + ", ".join(f"{name} {show_size(size)}" for name, size in takers.items())
    if one["trend_from"] and one["trend_from"] > one["looked"]:
        yield f"There is a trend from {show_time(one['trend_from'])} on, after five whole days"


def data_folder(found: Mapping[str, Any]) -> str:
    """Where the data folder is and what takes it, with full stops; "" if it was not looked at yet."""
    if not found.get("disk"):
        return ""
    takers = sorted(((size, name) for name, size in found["takers"].items() if size), reverse=True)[:4]
    has = f" It has {', '.join(f'{name} {show_size(size)}' for size, name in takers)}." if takers else ""
    where = "on the same disk" if found["shared"] else f"on a disk with {show_size(found['disk_free'])} free"
    return f"The data folder {found['path']} is {where}.{has}"
