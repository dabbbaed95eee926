"""Backups of what has another name now: those that are kept here follow it, and what is known of the others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from pipeline.deploy.data.backup_places import named
from pipeline.deploy.data.backups import BackupWork
from pipeline.domain.volumes import BackupState, VolumeRef


class RenamedBackups(BackupWork):
    """Idempotent, so that a move that was killed goes on from there."""

    @contextmanager
    def alone(self, *refs: VolumeRef) -> Iterator[None]:
        """No backup of these is made or sent meanwhile. Raises TryAgain while one is."""
        with ExitStack() as stack:
            for ref in sorted(refs):
                stack.enter_context(self.making(ref))
            yield

    def follow(self, old: VolumeRef, new: VolumeRef) -> tuple[str, ...]:
        """Under ``alone``: the backups of ``old`` are those of ``new``; what is to be said of that."""
        count, before = self.kept.rename(old, new), self.state(old)
        if not count and before == BackupState():
            return ()
        self._change(new, lambda found: _merged(found, before, old))
        self._change(old, lambda _: BackupState())
        many = f"{count} backups are kept as backups" if count > 1 else "1 backup is kept as a backup"
        said = [f"{named(old)}: {many} of {named(new)} now."] if count else []
        if before.good and (to := self.said(new).to):
            listed = f", and `pushlive backups {new.owner}` lists them" if to.s3 else ""
            said.append(f"The copies in another place keep the names with {old}{listed}.")
        return tuple(said)


def _merged(found: BackupState, before: BackupState, old: VolumeRef) -> BackupState:
    """What is known of both, once more from an interrupted move as well."""
    names = dict.fromkeys((*found.formerly, *before.formerly, str(old)))
    if found.good or found.made:
        return replace(found, formerly=tuple(names))
    return replace(before, formerly=tuple(names))
