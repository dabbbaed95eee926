"""The journal's files: one is complete after a day or 8 MiB, compressed a minute later, and removed by age and size."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

from pipeline.config.settings import Settings
from pipeline.lib.journal import files
from pipeline.maintenance.job import Changes, Job
from pipeline.ports.clock import Clock
from pipeline.runlog import kept

EVERY = 60.0  # seconds between two looks
DAY = 86400.0
QUIET = 60.0  # seconds: a writer that had the file open has written its line by then
SHARE = 10  # the journal takes one part in so many of PUSHLIVE_LOGS_SIZE at most
WORK = 0.2  # seconds in one round


class KeepJournal(Job):
    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings, self._clock = settings, clock
        self._looked = -EVERY
        self._problems = Changes()

    def run(self) -> list[str]:
        now = self._clock.monotonic()
        if now - self._looked < EVERY:
            return []
        self._looked = now
        try:
            self._complete()
            self._compress()
            self._remove()
        except OSError as error:
            return self._problems.report(
                f"cannot keep the journal in order: {error}. It is tried again in a minute."
            )
        self._problems.report("")
        return []

    def _complete(self) -> None:
        begun = files.begun(self._settings.data)
        if begun and self._clock.now() - begun > DAY:
            files.JournalFile(files.current(self._settings.data)).complete()

    def _compress(self) -> None:
        end = time.monotonic() + WORK
        for part in files.parts(self._settings.data):
            if part.suffix == ".jsonl" and self._clock.now() - part.stat().st_mtime > QUIET:
                kept.compress(part, part.with_name(part.name + ".gz"))
                if time.monotonic() > end:
                    return

    def _remove(self) -> None:
        settings, found = self._settings, [*files.parts(self._settings.data)]
        sizes = {part: _size(part) for part in found}
        left, most = sum(sizes.values()), settings.logs_size // SHARE
        before = self._clock.now() - settings.logs_keep if settings.logs_keep else 0.0
        for part in found:
            if not (most and left > most) and _written(part) >= before:
                return
            part.unlink(missing_ok=True)
            left -= sizes[part]


def _size(part: Path) -> int:
    with suppress(FileNotFoundError):
        return part.stat().st_size
    return 0


def _written(part: Path) -> float:
    with suppress(FileNotFoundError):
        return part.stat().st_mtime
    return 0.0
