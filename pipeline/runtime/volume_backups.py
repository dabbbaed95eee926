"""The data of volumes and accessories in the file of ``pushlive backup``, if asked for, and back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from pipeline.config.settings import Settings
from pipeline.deploy.data.accessory_restore import AccessoryRestore
from pipeline.deploy.data.backup_places import named
from pipeline.deploy.data.backups import BackupWork
from pipeline.deploy.data.kept import FOLDER, chunks
from pipeline.deploy.data.volumes import VolumeWork
from pipeline.domain import audit_chain
from pipeline.domain.volumes import VolumeRef
from pipeline.errors import PushliveError, StoreUnavailable
from pipeline.lib.units import show_size
from pipeline.ports.adapters import Adapters
from pipeline.runtime import bootstrap

BY = "restore"


def make_all(settings: Settings) -> tuple[list[tuple[str, Path]], tuple[str, ...]]:
    """A new backup of each volume and accessory: its name in the archive and its file, and what is left out. The store
    has to run. Raises what went wrong with one: a backup that lacks something is none."""
    services, adapters = bootstrap.services(settings), bootstrap.adapters(settings)
    work, files, notes = BackupWork(services, adapters), list[tuple[str, Path]](), list[str]()
    with_command = work.configured().keys()
    for ref in _there(VolumeWork(services, adapters)):
        if ref.kind == "accessory" and ref not in with_command:
            notes.append(
                f"The data of {named(ref)} are not in it: pipelines.yaml has no `backup.run` for {ref.owner}"
            )
            continue
        path = work.kept.path(ref, work.make(ref).file)
        files.append((f"data/{path.relative_to(settings.data)}", path))
    return files, tuple(notes)


def restore_all(settings: Settings) -> tuple[str, ...]:
    """Gives the newest kept backup to each volume and accessory that is not there; what was done and what was not. The
    store has to run. What is there has newer data than a backup."""
    services, adapters = bootstrap.services(settings), bootstrap.adapters(settings)
    work = BackupWork(services, adapters)
    return tuple(
        _restored(
            work,
            VolumeWork(services, adapters),
            AccessoryRestore(services, adapters, work.kept),
            adapters,
            ref,
        )
        for ref in _kept(settings, work)
    )


def _kept(settings: Settings, work: BackupWork) -> Iterator[VolumeRef]:
    """Of everything that has a backup in the data folder."""
    accessories = {one.ref.volume for one in bootstrap.store(settings).accessories.all()} | {
        ref for ref in work.configured() if ref.kind == "accessory"
    }
    for folder in sorted((settings.data / FOLDER).glob("*/*/*")):
        owner, environment, name = folder.parts[-3:]
        of_accessory = VolumeRef(owner, environment, name, "accessory")
        ref = of_accessory if of_accessory in accessories else VolumeRef(owner, environment, name)
        if work.kept.of(ref):
            yield ref


def _restored(
    work: BackupWork, volumes: VolumeWork, accessories: AccessoryRestore, adapters: Adapters, ref: VolumeRef
) -> str:
    newest = work.kept.of(ref)[0]
    again = f"`pushlive volume restore {ref} --kept {newest.file} --stop`"
    if ref.kind == "accessory":
        again = f"`pushlive accessory restore {ref.owner} {ref.environment} --kept {newest.file}`"
    try:
        left = volumes.unfinished.of(ref)  # of an earlier attempt that was broken off
        if ref in _there(volumes) and (left is None or left.source):
            return (
                f"{named(ref)} is there and stays as it is; {again} replaces its data, once the service runs"
            )
        with work.kept.path(ref, newest.file).open("rb") as file, closing(chunks(file)) as pieces:
            if ref.kind == "accessory":
                entry = audit_chain.entry(
                    BY,
                    "accessory restore",
                    adapters.clock.now(),
                    environment=ref.environment,
                    detail=str(ref),
                    before="no data",
                    after=f"{newest.file}, {show_size(newest.size)}",
                )
                accessories.restore(ref, pieces, newest.size, lambda: entry)
            else:
                volumes.restore_missing(ref, pieces)
    except StoreUnavailable:
        raise
    except PushliveError as error:
        return f"! {named(ref)} was not restored: {error} {again} does it, once the service runs"
    return f"{named(ref)} has its data again, from {newest.file}"


def _there(volumes: VolumeWork) -> list[VolumeRef]:
    """Raises what an engine does that may have more."""
    found = volumes.look()
    for error in found.unanswered.values():
        raise error
    return sorted(one.ref for _, one in found.volumes)
