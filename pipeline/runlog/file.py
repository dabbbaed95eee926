"""A run's log: a plain text file of bounded size, appended to as events come."""

from __future__ import annotations

import gzip
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from pipeline.domain.events import Event
from pipeline.lib.units import show_size
from pipeline.runlog.format import lines


def path(data: Path, pipeline: str, number: int) -> Path:
    """The log file of a run. ``data``: the data folder."""
    return data / "logs" / pipeline / f"{number}.log"


class RunLog:
    """Writes lines such as ``12:00:01.123 build   │ text``, in UTC. Beyond ``limit`` bytes, lines of output are left
    out, and one line says so."""

    def __init__(self, file: Path, limit: int) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        self._file = file.open("a", encoding="utf-8", errors="replace", buffering=1)
        self._left = limit - self._file.tell()
        self._limit = limit

    def write(self, event: Event) -> None:
        if event.kind in ("line", "vertex") and self._left <= 0:
            return
        stamp = time.strftime("%H:%M:%S", time.gmtime(event.at)) + f".{int(event.at % 1 * 1000):03}"
        for line in lines(event, whole=True) or _log_only(event):
            text = f"{stamp} {line}\n"
            self._left -= len(text.encode("utf-8", "replace"))  # the limit is in bytes
            self._file.write(text)
        if event.kind == "line" and self._left <= 0:
            self._file.write(
                f"{stamp} … the log is larger than {show_size(self._limit)}: further output is left out\n"
            )

    def close(self) -> None:
        self._file.close()


def _log_only(event: Event) -> tuple[str, ...]:
    """Lines for events that are not shown on a screen, but are evidence in a log."""
    if event.kind in ("step", "check"):
        seconds = float(event.data.get("seconds") or 0)
        return (f"{event.stage:<7} {event.step or 'check'} {seconds:.3f}s {event.text}".rstrip(),)
    return ()


def is_kept(file: Path) -> bool:
    """True if there is a log, as it is or compressed."""
    return file.exists() or _compressed(file).exists()


def _compressed(file: Path) -> Path:
    return file.with_name(file.name + ".gz")


def read(file: Path, stage: str = "") -> Iterator[str]:
    """The log's lines, or those of one stage. Empty if there is no file."""
    try:
        with file.open(encoding="utf-8", errors="replace") as opened:
            yield from _of(opened, stage)
    except FileNotFoundError:
        if _compressed(file).exists():
            with gzip.open(_compressed(file), "rt", encoding="utf-8", errors="replace") as text:
                yield from _of(text, stage)


def _of(lines: Iterable[str], stage: str) -> Iterator[str]:
    return (line for line in lines if not stage or line[13:].startswith(f"{stage} "))
