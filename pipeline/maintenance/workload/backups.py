"""Makes the backups that are due by their schedule."""

from __future__ import annotations

import threading

from pipeline.deploy.data.backups import BackupWork
from pipeline.deploy.services import Services
from pipeline.domain.volumes import VolumeRef
from pipeline.errors import LeaseLost, PushliveError, StoreUnavailable
from pipeline.maintenance.job import Changes, Job
from pipeline.ports.adapters import Adapters


class MakeBackups(Job):
    """One after the other, in a thread: a backup may take hours, and must hold up no repair."""

    def __init__(self, services: Services, adapters: Adapters) -> None:
        self._work = BackupWork(services, adapters)
        self._thread: threading.Thread | None = None
        self._said: list[str] = []
        self._changes = Changes()

    def run(self) -> list[str]:
        if self._thread is not None and self._thread.is_alive():
            return []
        said, self._said = self._said, []
        try:
            due = self._work.due()
        except StoreUnavailable:
            raise
        except PushliveError as error:
            return said + self._changes.report(f"which backups are due is not known: {error}")
        if due:
            self._thread = threading.Thread(target=self.make, args=(due,), name="backups", daemon=True)
            self._thread.start()
        return said + self._changes.report("")

    def make(self, due: list[VolumeRef]) -> None:
        """What went wrong is recorded with each, and said in the next round."""
        for ref in due:
            try:
                self._work.make_due(ref)
            except LeaseLost:
                continue
            except PushliveError as error:
                self._said.append(f"the backup of {ref} failed: {error}")
