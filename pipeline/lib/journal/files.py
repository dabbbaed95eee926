"""The journal's files in the data folder: ``journal.jsonl``, and parts that are complete, compressed after a minute."""

from __future__ import annotations

import fcntl
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

PART_SIZE = 8 << 20  # bytes, after which the file is a complete part
LOCK_WAIT = 0.05  # seconds; a writer that was stopped while it had the lock keeps no one
_PAUSE = 0.002
MODE = 0o600
_TIME = re.compile(rb'\{"time":"([0-9T:.-]{23}Z)"')


def folder(data: Path) -> Path:
    """``data``: the data folder."""
    return data / "journal"


def current(data: Path) -> Path:
    return folder(data) / "journal.jsonl"


class JournalFile:
    """Appends whole lines, from any number of processes. A file that was renamed or removed is made again."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file, self._pid = -1, 0

    def write(self, text: bytes) -> bool:
        """Raises OSError, and leaves no half of a line then if it has the file for itself."""
        file = self._opened()
        with _locked(file) as alone:
            size = os.fstat(file).st_size
            written = os.write(file, text)
            if written < len(text):
                if alone:
                    os.ftruncate(file, size)
                raise OSError("the disk is full")
            if alone and size + written >= PART_SIZE:
                self._complete()
        return True

    def _opened(self) -> int:
        """The file of that name, which may be another one than at the last line."""
        if self._file >= 0:
            with suppress(FileNotFoundError):
                if self._pid != os.getpid():
                    raise FileNotFoundError  # a lock is that of an open file, which a fork shares
                named, ours = self._path.stat(), os.fstat(self._file)
                if (named.st_ino, named.st_dev) == (ours.st_ino, ours.st_dev):
                    return self._file
            os.close(self._file)
            self._file = -1
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._pid = os.getpid()
        self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, MODE)
        return self._file

    def _complete(self) -> None:
        with suppress(FileNotFoundError):
            self._path.rename(part_name(self._path))

    def complete(self) -> None:
        """The file becomes a complete part; the next line begins a new one. Raises OSError."""
        self._complete()


def part_name(path: Path) -> Path:
    """A name that is free and sorts by time."""
    now = time.time_ns()
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(now // 10**9))
    return path.with_name(f"journal-{stamp}.{now % 10**9:09}Z.jsonl")


@contextmanager
def _locked(file: int) -> Iterator[bool]:
    """False after ``LOCK_WAIT`` without the lock: the kernel keeps appended lines apart in any case."""
    end = time.monotonic() + LOCK_WAIT
    alone = False
    while not alone:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            alone = True
        except BlockingIOError:
            if time.monotonic() > end:
                break
            time.sleep(_PAUSE)
    try:
        yield alone
    finally:
        if alone:
            fcntl.flock(file, fcntl.LOCK_UN)


def parts(data: Path) -> Iterator[Path]:
    """The complete parts, oldest first, compressed or not."""
    return iter(sorted(folder(data).glob("journal-*.jsonl*")))


def begun(data: Path) -> float:
    """The time of the first line of the current file, in seconds since the epoch; 0 if there is none."""
    try:
        with current(data).open("rb") as opened:
            first = opened.readline(200)
    except FileNotFoundError:
        return 0.0
    found = _TIME.match(first)
    return datetime.fromisoformat(found[1].decode()).timestamp() if found else 0.0
