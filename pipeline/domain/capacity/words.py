"""What grows, in words, and what frees it. Pure."""

from __future__ import annotations

import time

from pipeline.config.engines import where_of
from pipeline.domain.capacity.room import DAY
from pipeline.domain.capacity.trend import Shortage
from pipeline.domain.measuring.trends import soon
from pipeline.lib.units import show_size

DATA = "data"  # in place of an engine: the disk of the data folder
SHOWN = 3  # takers in a sentence
_FREES = {
    "images": "`pushlive gc` removes images that no release needs; PUSHLIVE_KEEP_RELEASES says how many are kept",
    "build cache": "`docker builder prune` on that machine gives the build cache back",
    "volumes": "`pushlive volume list` shows each volume",
    "logs": "PUSHLIVE_LOGS_SIZE limits the logs of runs",
    "journal": "PUSHLIVE_LOGS_SIZE limits the journal as well",
    "backups": "`keep` of `backup` says how many backups are kept",
}
REST = "`du -xh --max-depth=2 / | sort -h | tail` on that machine shows what else takes it"
_WHO = "`pushlive capacity` shows what the pipelines take, and how much is warm"


def machine(engine: str) -> str:
    """An engine's machine as people call it. ``engine``: as ``engines.machines_of``, or DATA."""
    if engine == DATA:
        return "the data folder"
    where = where_of(engine)
    if where.kind.machines:
        return f"the cluster {engine.partition(':')[2].strip('/') or engine}"
    return "this machine" if where.kind.local else f"the machine {where.docker}"


def text(one: Shortage, now: float) -> str:
    """``the disk of this machine will be full in about 5 days (it grows by 1.2 GiB a day since 2026-11-20): images take
    12 GiB``, without a full stop."""
    day = time.strftime("%Y-%m-%d", time.gmtime(one.since * DAY))
    where, when = machine(one.engine), soon(one.at - now)
    if one.what == "load":
        grows = f"the largest load of a day grows by {one.per_day:.2g} a day since {day}"
        return f"the {one.limit:g} cores of {where} will be fully used {when} ({grows})"
    per_day = show_size(int(one.per_day))
    if one.what == "memory":
        grows = f"the most that is used in a day grows by {per_day} a day since {day}"
        return f"the memory of {where} will be used up {when} ({grows})"
    most = sorted(one.takers.items(), key=lambda each: -each[1])[:SHOWN]
    takes = ", ".join(f"{name} {show_size(size)}" for name, size in most if size)
    of = f"the disk of {where} will be full {when} (it grows by {per_day} a day since {day})"
    return f"{of}; it has {takes}" if takes else of


def advice(one: Shortage) -> str:
    """The command that frees it, or shows what takes it, a sentence."""
    if one.what != "disk":
        return f"{_WHO}."
    names = [*one.grown, *sorted(one.takers, key=lambda name: -one.takers[name])]
    known = next((_FREES[name] for name in names if name in _FREES), "")
    return f"{known}; {REST}." if known else f"{REST}."
