"""Moves entries into the audit log's chain, and keeps the newest entry's number and hash in a file outside the store,
so that a log which was cut off or rewritten is detected. Called after each act and by the keeper. Several processes may
do it at once, and one may be killed at any point."""

from __future__ import annotations

import fcntl
import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.domain import audit_chain
from pipeline.domain.audit_chain import BEGINNING, Entry, Mark, Report, Who
from pipeline.lib.files.whole import replacing
from pipeline.store import Store

ROUNDS = 200  # batches that one call moves at most; the rest waits for the next call
_NEXT = "Run `pushlive audit --verify`, and see docs/operations.md (Audit)."


class AuditHead:
    """``data``: the data folder, in which ``audit.head`` keeps the newest entry's number and hash."""

    def __init__(self, store: Store, data: Path) -> None:
        self._log, self._data = store.audit, data
        self._file = data / "audit.head"
        self._moving = threading.Lock()

    def move(self, rounds: int = ROUNDS) -> str:
        """Moves waiting entries into the chain. Returns what is wrong with the chain's end, "" if nothing is.
        ``rounds``: batches to move at most; after an act one is enough. Raises StoreUnavailable."""
        if not self._moving.acquire(blocking=False):
            return ""  # the thread that is moving, or the keeper, moves these as well
        try:
            if self._read() is None:
                self._remember()  # before the first entry, so that a file that goes missing later is noticed
            for _ in range(rounds):
                if not self._log.move():
                    break
            return self._remember()
        finally:
            self._moving.release()

    def begin_again(self, by: Who, now: float) -> str:
        """After the log was lost with its store: the first entry of the new one says where the old one ended. Returns
        that in words. Idempotent."""
        head, lost = self._read(), self._file.with_suffix(".lost")
        if head is None or head.number <= self._log.last().number:
            return "The audit log begins with this adoption"
        detail = f"the log before was lost; it ended with entry {head.number}, {head.hash}"
        self._log.record(audit_chain.entry(by, "audit log begins again", now, detail=detail))
        self._file.rename(lost)
        self._write(BEGINNING)
        return f"The audit log with its {head.number} entries is lost; a new one begins. {lost} has the hash of its end"

    def verify(self, noted: str = "") -> Report:
        """Checks the whole chain, against the file and against ``noted``, a hash that a person wrote down."""
        head = self._read()  # before new entries are moved: the chain must already contain it
        self.move()
        return audit_chain.verify(self._log.lines(), head, noted)

    def newest(self, limit: int, pipeline: str = "") -> list[Entry]:
        """The newest entries, newest first. ``pipeline``: only entries of that pipeline."""
        self.move()
        found: list[Entry] = []
        for line in self._log.newest():
            one = audit_chain.read(line) or {"act": "unreadable", "detail": line[:200]}
            if pipeline in ("", one.get("pipeline")):
                found.append(one)
            if len(found) == limit:
                break
        return found

    def _remember(self) -> str:
        head = self._read()
        if head is not None and head == self._log.last():
            return ""
        try:
            with self._locked():
                return self._write_newer()
        except OSError as error:
            return f"{self._file} cannot be written: {error}."

    def _write_newer(self) -> str:
        head, last = self._read(), self._log.last()
        if head is None and last.number:
            text = f"created again at entry {last.number}"
            self._log.record(audit_chain.entry("keeper", "audit.head was missing", time.time(), detail=text))
        if head and (problem := self._problem(head, last)):
            return f"{problem}. {_NEXT}"
        self._write(last)
        return ""

    def _problem(self, head: Mark, last: Mark) -> str:
        if head.number > last.number:
            return (
                f"the audit log ends with entry {last.number}, but {self._file} remembers entry {head.number}"
            )
        if head.number and self._log.mark(head.number) != head:
            return f"entry {head.number} of the audit log is not the one that {self._file} remembers"
        return ""

    def _write(self, mark: Mark) -> None:
        with replacing(self._file) as opened:
            opened.write(json.dumps({"number": mark.number, "hash": mark.hash}).encode() + b"\n")

    def _read(self) -> Mark | None:
        try:
            found = json.loads(self._file.read_text(encoding="utf-8"))
            return Mark(int(found["number"]), str(found["hash"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One process at a time, so that an older mark never replaces a newer one."""
        folder = os.open(self._data, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)
