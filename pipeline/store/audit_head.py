"""Moves what was done into the audit log's chain, and keeps the newest entry's number and hash in a file beside the
store: so an end cut off and a log made anew are found. Called after each act and by the keeper; several at once, or one
that is killed anywhere, are harmless."""

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
from pipeline.domain.audit_chain import Entry, Mark, Report
from pipeline.store import Store

ROUNDS = 200  # of one call: what more there is waits for the next
_BROKEN = "`pushlive audit --verify` says more; docs/operations.md (Audit) says what to do."


class AuditHead:
    """``head`` is the file that remembers the newest entry."""

    def __init__(self, store: Store, data: Path) -> None:
        self._log, self._data = store.audit, data
        self.head = data / "audit.head"
        self._turn = threading.Lock()

    def move(self, rounds: int = ROUNDS) -> str:
        """Raises StoreUnavailable; returns what is wrong with the log's end, "" where nothing is. ``rounds``: whoever
        has just acted moves what waits once, and is not kept by what others do meanwhile."""
        if not self._turn.acquire(blocking=False):
            return ""  # whoever is at it, or the keeper, moves these as well
        try:
            if self._read() is None:
                self._remember()  # before the first entry, so that a file that is missing later is told
            for _ in range(rounds):
                if not self._log.move():
                    break
            return self._remember()
        finally:
            self._turn.release()

    def verify(self, noted: str = "") -> Report:
        """The whole chain, against the file and the hash that a person noted."""
        head = self._read()  # before anything moves: it must be found among what is there
        self.move()
        return audit_chain.verify(self._log.lines(), head, noted)

    def newest(self, limit: int, pipeline: str = "") -> list[Entry]:
        """The newest entries, newest first; ``pipeline``: only its own."""
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
            return f"{self.head} cannot be written: {error}."

    def _write_newer(self) -> str:
        head, last = self._read(), self._log.last()
        if head is None and last.number:
            text = f"made anew at entry {last.number}"
            self._log.record(audit_chain.entry("keeper", "audit.head was missing", time.time(), detail=text))
        elif head and head.number > last.number:
            return (
                f"the audit log ends with entry {last.number}, {self.head} remembers {head.number}. {_BROKEN}"
            )
        elif head and head.number and self._log.mark(head.number) != head:
            return f"the audit log's entry {head.number} is not the one that {self.head} remembers. {_BROKEN}"
        fresh = self.head.with_suffix(".new")
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as opened:
            opened.write(json.dumps({"number": last.number, "hash": last.hash}) + "\n")
            opened.flush()
            os.fsync(opened.fileno())
        fresh.rename(self.head)
        return ""

    def _read(self) -> Mark | None:
        try:
            found = json.loads(self.head.read_text(encoding="utf-8"))
            return Mark(int(found["number"]), str(found["hash"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One process at a time, so that an older mark never takes the place of a newer one."""
        folder = os.open(self._data, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)
