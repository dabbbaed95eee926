"""Compresses the logs of runs that ended a day ago, and removes the oldest ones."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import suppress

from pipeline.config.settings import Settings
from pipeline.lib.units import show_size
from pipeline.maintenance.damage import Damage
from pipeline.maintenance.job import Changes, Job
from pipeline.ports.clock import Clock
from pipeline.runlog import kept
from pipeline.runlog.kept import Kept
from pipeline.store import Store

OLD = 86400.0  # seconds after which a log is compressed
WORK = 0.2  # seconds in one round
HOUR = 3600.0


class KeepLogs(Job):
    """Those of runs that have not ended stay as they are."""

    def __init__(self, store: Store, settings: Settings, clock: Clock, damage: Damage) -> None:
        self._store, self._settings, self._clock, self._damage = store, settings, clock, damage
        self._looked = -HOUR
        self._due: list[Kept] = []
        self._problems = Changes()

    def run(self) -> list[str]:
        said: list[str] = []
        now = self._clock.monotonic()
        if now - self._looked >= HOUR:
            self._looked = now
            at_work = self._open()
            found = kept.kept(self._settings.data)
            ended = [one for one in found if (one.pipeline, one.number) not in at_work]
            said += self.remove(ended)
            before = self._clock.now() - OLD
            self._due = [one for one in ended if one.path.suffix == kept.LOG and one.at < before]
        return [*said, *self._problems.report(self._compress())]

    def _open(self) -> set[tuple[str, int]]:
        found = self._damage.each(lambda name: self._store.open_runs(name))
        return {(run.pipeline, run.number) for run in found}

    def remove(self, ended: Iterable[Kept]) -> list[str]:
        """Those that are too old, then the oldest until the rest is small enough."""
        found, settings = list(ended), self._settings
        before = self._clock.now() - settings.logs_keep if settings.logs_keep else 0.0
        size, removed, freed = sum(one.size for one in found), 0, 0
        for one in found:
            if one.at >= before and not (settings.logs_size and size > settings.logs_size):
                break
            with suppress(OSError):
                one.path.unlink(missing_ok=True)
                size, removed, freed = size - one.size, removed + 1, freed + one.size
        if not removed:
            return []
        name = "the log of an old run" if removed == 1 else f"the logs of {removed} old runs"
        return [f"removed {name}, {show_size(freed)} (PUSHLIVE_LOGS_KEEP, PUSHLIVE_LOGS_SIZE)"]

    def _compress(self) -> str:
        """Some of them: each round is short. Returns what went wrong, "" if nothing."""
        end = time.monotonic() + WORK
        while self._due and time.monotonic() < end:
            one = self._due.pop(0)
            try:
                kept.compress(one.path)
            except FileNotFoundError:
                continue
            except OSError as error:
                self._due.clear()
                return f"cannot compress {one.path}: {error.strerror}. It is tried again in an hour."
        return ""
