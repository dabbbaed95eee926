"""The access log's files in the data folder: ``access/hello/live.jsonl``, and parts that are complete, compressed."""

from __future__ import annotations

import calendar
import gzip
import os
import time
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import suppress
from pathlib import Path

from pipeline.runlog import kept

PART_SIZE = 8 << 20  # bytes, after which the file is a complete part
PART_AGE = 86400.0  # seconds after which it is one
SHARE = 4  # the access log takes one part in so many of PUSHLIVE_LOGS_SIZE at most
_MODE = 0o600
_CHUNK = 64 << 10


def folder(data: Path) -> Path:
    """``data``: the data folder."""
    return data / "access"


def current(data: Path, pipeline: str, environment: str) -> Path:
    return folder(data) / pipeline / f"{environment}.jsonl"


def parts(data: Path, pipeline: str = "*", environment: str = "*") -> list[Path]:
    """Complete ones, oldest first, compressed or not."""
    found = folder(data).glob(f"{pipeline}/{environment}.[0-9]*Z.jsonl*")
    return sorted(found, key=lambda part: part.name.partition(".")[2])


class AccessFiles:
    """For one process that writes. ``keep``: seconds, 0: for ever; ``size``: bytes of all of them, 0: any number."""

    def __init__(self, data: Path, keep: float, size: int) -> None:
        self._data, self._keep, self._size = data, keep, size

    def write(self, pipeline: str, environment: str, text: bytes) -> None:
        """Appends whole lines. Raises OSError."""
        path = current(self._data, pipeline, environment)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, _MODE)
        try:
            before = os.fstat(file).st_size
            written = os.write(file, text)
            if written < len(text):
                os.ftruncate(file, before)
                raise OSError("the disk is full")
        finally:
            os.close(file)
        if before + written >= PART_SIZE:
            self._complete(path)

    def tidy(self, now: float | None = None) -> None:
        """Completes what is a day old, compresses what is complete, and removes what is too old or too much, the oldest
        first. ``now``: seconds since the epoch. Raises OSError."""
        now = time.time() if now is None else now
        for path in folder(self._data).glob("*/*.jsonl"):
            if "Z" not in path.stem and now - _begun(path, now) > PART_AGE:
                self._complete(path)
        for part in parts(self._data):
            if part.suffix == ".jsonl":
                kept.compress(part, part.with_name(part.name + ".gz"))
        self._remove(now)

    def _complete(self, path: Path) -> None:
        """A name that is free and sorts by time."""
        at = time.time_ns()
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(at // 10**9))
        with suppress(FileNotFoundError):
            path.rename(path.with_name(f"{path.stem}.{stamp}.{at % 10**9:09}Z.jsonl"))

    def _remove(self, now: float) -> None:
        found = parts(self._data)
        sizes = {part: part.stat().st_size for part in found}
        left, most = sum(sizes.values()), self._size // SHARE
        for part in found:
            too_old = self._keep and part.stat().st_mtime < now - self._keep
            if not too_old and not (most and left > most):
                continue
            part.unlink(missing_ok=True)
            left -= sizes[part]


def _begun(path: Path, now: float) -> float:
    """When the first line was written, as far as the file system tells."""
    with suppress(OSError, ValueError, IndexError):
        with path.open("rb") as opened:
            head = opened.readline(40)
        stamp = head.split(b'"')[3].decode()
        return float(calendar.timegm(time.strptime(stamp[:19], "%Y-%m-%dT%H:%M:%S")))
    return now


def last(data: Path, pipeline: str, environment: str, count: int) -> tuple[str, ...]:
    """The last lines, oldest first."""
    found: deque[str] = deque(maxlen=count)
    paths = [*parts(data, pipeline, environment), current(data, pipeline, environment)]
    wanted: list[Path] = []
    for path in reversed(paths):  # no more of them are read than needed
        wanted.insert(0, path)
        found.clear()
        for one in wanted:
            found.extend(_lines(one))
        if len(found) == count:
            break
    return tuple(found)


def _lines(path: Path) -> Iterator[str]:
    """None of a file that was removed meanwhile, and not what is being written."""
    with (
        suppress(FileNotFoundError, EOFError),
        gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as opened,
    ):
        for line in opened:
            if line.endswith(b"\n"):
                yield line.decode("utf-8", "replace").rstrip("\n")


class Followed:
    """Lines that come after now. A file that is complete is read to its end before the next one."""

    def __init__(self, data: Path, pipeline: str, environment: str) -> None:
        self._path = current(data, pipeline, environment)
        self._file = -1
        self._rest = b""
        self._open(at_end=True)

    def _open(self, *, at_end: bool = False) -> None:
        with suppress(FileNotFoundError):
            self._file = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            if at_end:
                os.lseek(self._file, 0, os.SEEK_END)

    def lines(self) -> tuple[str, ...]:
        """Those that have come since the last call, some thousands at most."""
        if self._file < 0:
            self._open()
        if self._file < 0:
            return ()
        found = os.read(self._file, _CHUNK)
        if not found and self._is_complete():
            os.close(self._file)
            self._file = -1
            return ()
        *whole, self._rest = (self._rest + found).split(b"\n")
        return tuple(one.decode("utf-8", "replace") for one in whole)

    def _is_complete(self) -> bool:
        try:
            named = self._path.stat()
        except FileNotFoundError:
            return True
        return named.st_ino != os.fstat(self._file).st_ino

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def followed(data: Path, pipeline: str, environment: str, count: int) -> Generator[tuple[str, ...]]:
    """The last ``count`` lines, then those that come; () while none does."""
    one = Followed(data, pipeline, environment)
    try:
        if found := last(data, pipeline, environment, count):
            yield found
        while True:
            if not (found := one.lines()):
                time.sleep(PAUSE)
            yield found
    finally:
        one.close()


PAUSE = 0.25  # seconds between two looks
