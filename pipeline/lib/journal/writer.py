"""Writes the journal. Nothing that it meets stops or delays what is reported: a line that cannot be written is counted,
and the next one that can says how many were left out."""

from __future__ import annotations

import logging
import os
import threading
import time
from typing import Any, Protocol

from pipeline.lib.journal.line import Fields, line, rfc3339

log = logging.getLogger("pushlive.journal")


class Target(Protocol):
    def write(self, text: bytes) -> bool:
        """Writes a whole line; False if there is no room now. Raises OSError."""


class Journal:
    """``target``: None to write nothing. ``always``: fields of every line. Nothing is written before ``named``."""

    def __init__(self, target: Target | None = None, **always: Any) -> None:
        self._target, self._always = target, always
        self._dropped, self._said = 0, ""
        self._lock, self._pid = threading.Lock(), os.getpid()

    def named(self, process: str) -> None:
        """From now on this process has that name: web, keeper, worker-1."""
        self._always = {**self._always, "process": process}

    def write(
        self, event: str, message: str = "", *, level: str = "info", at: float = 0.0, **fields: Any
    ) -> None:
        """One line. ``at``: seconds since the epoch, 0: now. Raises nothing."""
        if self._target is None or "process" not in self._always:
            return
        if self._pid != os.getpid():  # a fork: a thread that is not in it may have had the lock
            self._lock, self._pid = threading.Lock(), os.getpid()
        # Another thread that hangs in a write to a disk keeps this one for a moment only.
        if not self._lock.acquire(timeout=1.0):
            self._dropped += 1
            return
        try:
            made: Fields = {
                "time": rfc3339(at or time.time()), "level": level, "event": event, **self._always,
                "pid": os.getpid(), **fields, "message": message, "dropped": self._dropped or None,
            }  # fmt: skip
            if self._target.write(line(made)):
                self._dropped, self._said = 0, ""
            else:
                self._dropped += 1
        except (OSError, ValueError) as error:
            self._dropped += 1
            self._say(str(error))
        finally:
            self._lock.release()

    def _say(self, why: str) -> None:
        if why != self._said:  # once, until a line is written again
            self._said = why
            log.warning("the journal cannot be written: %s. Lines are left out; runs go on.", why)


NO_JOURNAL = Journal()


class JournalHandler(logging.Handler):
    """What the service says to people goes into the journal as well, as the event of its logger: keeper, web, git."""

    def __init__(self, journal: Journal) -> None:
        super().__init__()
        self._journal = journal

    def emit(self, record: logging.LogRecord) -> None:
        if record.name == log.name:
            return  # it is about the journal
        product, _, part = record.name.partition(".")
        event = (part or product) if product == "pushlive" else "library"
        try:
            message = record.getMessage()
        except (TypeError, ValueError):
            message = str(record.msg)
        if record.exc_info and record.exc_info[1] is not None:
            message = f"{message}: {type(record.exc_info[1]).__name__}: {record.exc_info[1]}"
        level = record.levelname.lower() if record.levelno in _LEVELS else "info"
        self._journal.write(f"said_{event.replace('.', '_')}", message, level=level, at=record.created)


_LEVELS = (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR)
