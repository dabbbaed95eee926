"""The logs of runs in the data folder: old ones are compressed, and removed by age and by size."""

from __future__ import annotations

import gzip
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.lib.files.whole import replacing
from pipeline.lib.units import is_number

LOG, COMPRESSED = ".log", ".log.gz"


@dataclass(frozen=True)
class Kept:
    """One log. ``at``: when it was last written, seconds since the epoch; ``size``: bytes that it takes."""

    path: Path
    pipeline: str
    number: int
    at: float
    size: int


def kept(data: Path) -> tuple[Kept, ...]:
    """Every log, oldest first. ``data``: the data folder. What is removed meanwhile is left out."""
    return tuple(sorted(_found(data), key=lambda one: (one.at, one.pipeline, one.number)))


def _found(data: Path) -> Iterator[Kept]:
    for path in (data / "logs").glob("*/*.log*"):
        number, _, ending = path.name.partition(".")
        if is_number(number) and f".{ending}" in (LOG, COMPRESSED):
            try:
                stat = path.stat()
            except OSError:
                continue
            yield Kept(path, path.parent.name, int(number), stat.st_mtime, stat.st_size)


def compress(path: Path, target: Path | None = None) -> None:
    """Puts a compressed copy in place of a log, with the same time. Raises OSError; the log is there then. One that was
    interrupted leaves the log beside its copy, and may be repeated. ``target``: the copy's name, if not that of a
    run's log."""
    target = target or path.with_name(path.name.removesuffix(LOG) + COMPRESSED)
    stat = path.stat()
    with path.open("rb") as source, replacing(target, mode=0o666) as opened:
        with gzip.GzipFile(filename="", mode="wb", fileobj=opened, mtime=0) as packed:
            shutil.copyfileobj(source, packed)
        opened.flush()
        os.utime(opened.fileno(), ns=(stat.st_atime_ns, stat.st_mtime_ns))
    path.unlink()
