"""Data that outlives releases: who has it, what an engine knows of it, and what is known of its backups."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from pydantic import ValidationError

from pipeline.config.workload.backup import Backup
from pipeline.domain.engine_types import SlotSpec
from pipeline.lib import codec
from pipeline.lib.units import show_age, show_time

OwnerKind = Literal["pipeline", "accessory"]
SHORTEST, LONGEST = 60.0, 3600.0  # seconds until a failed one is tried again
LATE = 2.0  # times `every`: from then on the last good one is old
_NAME = re.compile(r"[a-z0-9-]+-(\d{8}T\d{6}Z)(?:-(\d+))?\.(dump|tar)")
DATA = "data"  # the name of the volume of an accessory
BEFORE_UPGRADE = "before-upgrade"  # of the copy that its last upgrade has made


@dataclass(frozen=True, order=True)
class VolumeRef:
    """A volume of an environment. ``owner``: the name of the pipeline or the accessory that has it."""

    owner: str
    environment: str
    name: str
    kind: OwnerKind = "pipeline"

    def __str__(self) -> str:
        return f"{self.owner}/{self.environment}/{self.name}"


@dataclass(frozen=True)
class StoredVolume:
    """A volume that exists. ``stored_as``: its name on the engine; ``size``: bytes, None if no one knows; ``room``:
    bytes that a cluster gave it, None if it is as large as its files; ``users``: names of the containers or pods that
    have it, running or not."""

    ref: VolumeRef
    stored_as: str
    size: int | None = None
    users: tuple[str, ...] = ()
    room: int | None = None


def volumes_of(spec: SlotSpec) -> tuple[VolumeRef, ...]:
    """The volumes that a release's containers have, in the order of the configuration."""
    return tuple(
        VolumeRef(spec.ref.pipeline, spec.ref.environment, name) for name in spec.config.service.volumes
    )


@dataclass(frozen=True)
class Helper:
    """A container or pod that only gives access to volumes."""

    name: str
    refs: tuple[VolumeRef, ...]


@dataclass(frozen=True)
class UnfinishedCopy:
    """The volume ``ref`` was to get all files of another one, or of a backup, and no process has said that it has them.

    ``act``: what was asked, such as "volume mv"; ``command``: what repeats it; ``since``: when it began, in seconds;
    ``source``: the name of the volume, or the accessory, whose data it gets, "" for a backup; ``failed``: why that
    failed, "" if it is at work or its process died; ``copied``: all files are there, only the source is still to be
    removed; ``whole``: the volume has all its files from before or all of the new ones, whatever happened, so that it
    may be used; ``told``: receivers were.
    """

    ref: VolumeRef
    act: str
    command: str
    since: float
    source: str = ""
    failed: str = ""
    copied: bool = False
    whole: bool = False
    told: bool = False

    def text(self, *, at_work: bool = False) -> str:
        """What happened, without a full stop. ``at_work``: it goes on."""
        how = f"failed: {self.failed.rstrip('.')}" if self.failed else "was broken off"
        return (
            f"{self._state}: `{self.act}`, begun {show_time(self.since)}, {'is at work' if at_work else how}"
        )

    @property
    def _state(self) -> str:
        if self.copied:
            return f"{self.ref} has all data of {self.source}, which is still there"
        if self.whole:
            return f"{self.ref} has all its files of before, or all of the backup"
        return f"{self.ref} does not have all data of {self.source or 'the backup'} yet"

    @property
    def advice(self) -> str:
        """What to do next."""
        if self.source:
            without = f"`pushlive volume rm {self.ref}`; {self.source} keeps them"
            return f"`{self.command}` goes on with it. To begin without these data: {without}."
        if self.ref.kind == "accessory":
            start = f"pushlive accessory start {self.ref.owner} {self.ref.environment} --as-it-is"
            return f"`{self.command}` does it again. To go on with the data that are there: `{start}`."
        return f"`{self.command}` does it again. To do without these files: `pushlive volume rm {self.ref}`."


@dataclass(frozen=True)
class KeptBackup:
    """A complete backup in the data folder. ``at``: when it was started; ``size``: bytes."""

    file: str
    at: float
    size: int

    @property
    def order(self) -> tuple[float, int, str]:
        """Larger for a newer one. Those of one second are numbered: the first has no number, the next is ``-2``."""
        return self.at, number_of(self.file), self.file


@dataclass(frozen=True)
class WrittenBackup(KeptBackup):
    """One that has just been written. ``sha256``: of its file."""

    sha256: str = ""

    @property
    def kept(self) -> KeptBackup:
        """As it is remembered."""
        return KeptBackup(self.file, self.at, self.size)


@dataclass(frozen=True)
class BackupState:
    """What is remembered of the backups of one volume or accessory.

    ``since``: when a schedule was first seen for it; ``tried``: when the last attempt began; ``made``: the newest one;
    ``good``: the newest one that is in every place where it should be; ``failed``: why the last attempt failed, "" if
    it did not; ``told``: that it is late was reported; ``formerly``: the names that it had when older copies were sent
    elsewhere, such as "hello/live/data".
    """

    since: float = 0.0
    tried: float = 0.0
    made: KeptBackup | None = None
    good: KeptBackup | None = None
    failed: str = ""
    told: bool = False
    formerly: tuple[str, ...] = ()

    def is_due(self, said: Backup, now: float) -> bool:
        """Whether one is to be made now by the schedule."""
        if not said.every or (self.good and 0 <= now - self.good.at < said.every):
            return False
        # Whatever became of the last attempt: the process that made it may have been killed.
        return not 0 <= now - self.tried < min(max(said.every / 4, SHORTEST), LONGEST)

    def unsent(self, said: Backup, now: float) -> KeptBackup | None:
        """One that only has to be sent: it is younger than the schedule asks for."""
        if self.made is None or self.made == self.good:
            return None
        return self.made if 0 <= now - self.made.at < said.every else None

    def is_late(self, said: Backup, now: float) -> bool:
        begin = self.good.at if self.good else self.since
        return bool(said.every and begin) and now - begin > LATE * said.every

    def problem(self, said: Backup, now: float) -> str:
        """What is wrong, as the rest of a sentence; "" if nothing is."""
        found = []
        if self.is_late(said, now):
            found.append(
                f"the last good backup is {show_age(now - self.good.at)} old"
                if self.good
                else "there is no backup yet"
            )
        if self.failed:
            found.append(f"the last attempt failed: {self.failed}")
        return "; ".join(found)


def backup_state(text: str) -> BackupState:
    """From the store. A newer version's, or none, is as if nothing was known: the files are there all the same."""
    try:
        return codec.load(BackupState, text) if text else BackupState()
    except ValidationError:
        return BackupState()


def folder_of(ref: VolumeRef) -> str:
    """The folder of its backups in the data folder and in a bucket, relative to that of all."""
    return f"{ref.owner}/{ref.environment}/{ref.name}"


def stem_of(ref: VolumeRef, at: float) -> str:
    """``at``: when it started, in seconds."""
    stamp = datetime.fromtimestamp(at, UTC).strftime("%Y%m%dT%H%M%SZ")
    return f"{ref.owner}-{ref.environment}-{ref.name}-{stamp}"


def ending_of(ref: VolumeRef) -> str:
    return "dump" if ref.kind == "accessory" else "tar"


def number_of(name: str) -> int:
    """Which of its second the backup with that name is, from 1; 0 for any other name."""
    found = _NAME.fullmatch(name)
    return int(found[2] or 1) if found else 0


def time_of(name: str) -> float | None:
    """When the backup with that name started; None for any other name."""
    found = _NAME.fullmatch(name)
    if not found:
        return None
    with suppress(ValueError):
        return datetime.strptime(found[1], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    return None
