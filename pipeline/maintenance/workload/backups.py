"""Makes the backups that are due by their schedule."""

from __future__ import annotations

from pipeline.deploy.data.backups import BackupWork
from pipeline.deploy.services import Services
from pipeline.domain.volumes import VolumeRef
from pipeline.errors import LeaseLost, PushliveError, StoreUnavailable
from pipeline.maintenance.job import Aside, Changes, Job
from pipeline.ports.adapters import Adapters


class MakeBackups(Job):
    """One after the other, in a thread: a backup may take hours, and must hold up no repair."""

    def __init__(self, services: Services, adapters: Adapters) -> None:
        self._work = BackupWork(services, adapters)
        self._aside = Aside("backups")
        self._said: list[str] = []
        self._changes = Changes()

    def run(self) -> list[str]:
        if self._aside.busy:
            return []
        said, self._said = self._said, []
        try:
            due = self._work.due()
        except StoreUnavailable:
            raise
        except PushliveError as error:
            return said + self._changes.report(f"which backups are due is not known: {error}")
        if due:
            self._aside.begin(lambda: self.make(due))
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
