"""Data that outlives releases, and copies of their backups in another place."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from typing import Protocol

from pipeline.config.workload.backup import Destination
from pipeline.config.workload.kubernetes import ClaimOptions
from pipeline.domain.volumes import Helper, KeptBackup, StoredVolume, VolumeRef
from pipeline.errors import EngineFailed, NotFound
from pipeline.ports.clock import Watch

ASKED = ClaimOptions()


class Volumes(Protocol):
    """Volumes of pipelines and accessories. Nothing but ``remove_volume`` ever removes one."""

    def volume_name(self, ref: VolumeRef) -> str:
        """What the engine calls it."""

    def ensure_volume(self, ref: VolumeRef, asked: ClaimOptions = ASKED) -> None:
        """Makes an empty volume unless it exists. ``asked``: what a cluster is asked for then. Idempotent. Raises
        EngineFailed or ConfigError if something else has its name."""

    def volumes(self, *, sizes: bool = False) -> Iterable[StoredVolume]:
        """Every volume of this instance. ``sizes``: the engine counts the bytes of each, which may take long; what it
        does not count within a request's limit has no size."""

    def running_beside(self, ref: VolumeRef) -> tuple[str, ...]:
        """Names of what runs with that volume now and is no part of a slot: commands, jobs, what is not ours."""

    def remove_volume(self, ref: VolumeRef) -> None:
        """Removes a volume and its data. Idempotent. Raises RequestError if a container has it."""

    def helpers(self) -> Iterable[Helper]:
        """What gives access to volumes now: for a backup, a restore or a copy, or left by a process that died."""

    def end_helpers(self, ref: VolumeRef) -> None:
        """Ends those at that volume, and settles files that were changing places. Nothing of ours may be at work there.
        Idempotent. Raises TryAgain if one does not end."""

    def export_volume(self, ref: VolumeRef, watch: Watch) -> Generator[bytes]:
        """Its files as a tar stream: paths are relative and begin with ``./``. Close it if it is not read to its end.
        Raises RequestError if there is no such volume, EngineFailed if reading stops half-way."""

    def import_volume(
        self, ref: VolumeRef, tar: Iterable[bytes], watch: Watch, end: Callable[[], None] = lambda: None
    ) -> None:
        """Replaces its files by those of a tar stream; makes the volume if there is none. They are unpacked beside the
        present ones and take their place at once, so a stream that breaks off, or that does not fit, changes nothing.
        ``end`` is called in between; from then on nothing may run that uses the volume. Raises RequestError if
        something does, and for a tar that is not one."""

    def copy_volume(
        self,
        source: VolumeRef,
        target: VolumeRef,
        watch: Watch,
        end: Callable[[], None] = lambda: None,
        asked: ClaimOptions | None = None,
    ) -> None:
        """Gives ``target``, which is made if there is none, the files of ``source``, and compares both before the first
        of them is in its place. Idempotent. ``end`` as in ``import_volume``: from then on nothing may run that uses
        either. ``asked``: what a cluster is asked for if it makes the target, None for what the source has; never for
        less room than that. Raises NotFound if there is no source; RequestError if something does, or if the target has
        files of its own; EngineFailed if the copy did not become whole: then the target has nothing of it."""


class Copies(Protocol):
    """Sends backups away, and reads those back that are in a bucket."""

    def send(self, to: Destination, ref: VolumeRef, file: Path, watch: Watch) -> None:
        """Leaves a copy of the file there, under its name: a whole one, or none that has that name. Idempotent; one at
        a time for each ``ref``. Raises EngineFailed."""

    def kept(self, to: Destination, ref: VolumeRef) -> tuple[KeptBackup, ...]:
        """Those that are there, newest first; () for a place that Pushlive cannot list. Raises EngineFailed."""

    def read(self, to: Destination, ref: VolumeRef, file: str, watch: Watch) -> Generator[bytes]:
        """One of those. Close it if it is not read to its end. Raises NotFound, and EngineFailed if it breaks off."""

    def prune(self, to: Destination, ref: VolumeRef, keep: int) -> None:
        """Removes all but the newest ``keep`` where Pushlive can and may, and nothing that it has not sent. Idempotent.
        Raises EngineFailed."""


class NoCopies:
    """Where nothing can be sent away."""

    def send(self, to: Destination, ref: VolumeRef, file: Path, watch: Watch) -> None:  # noqa: ARG002
        raise EngineFailed(f"{file.name} cannot be copied to {to} from here.")

    def kept(self, to: Destination, ref: VolumeRef) -> tuple[KeptBackup, ...]:  # noqa: ARG002
        return ()

    def read(self, to: Destination, ref: VolumeRef, file: str, watch: Watch) -> Generator[bytes]:  # noqa: ARG002
        raise NotFound(f"There is no backup {file[:120]!r} of {ref} in {to}.")

    def prune(self, to: Destination, ref: VolumeRef, keep: int) -> None:
        pass
