"""Restores the data of an accessory from a backup: through its own command, or by replacing its files."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import replace

from pipeline.config.workload.backup import AccessoryBackup
from pipeline.deploy.accessories import AccessoryCare
from pipeline.deploy.data.access import VolumeAccess
from pipeline.deploy.data.kept import KeptBackups, chunks
from pipeline.deploy.data.unfinished import UnfinishedCopies
from pipeline.deploy.data.volumes import TRANSFER
from pipeline.deploy.heartbeat import HeldLease
from pipeline.deploy.services import Services
from pipeline.domain.accessories import AccessoryRecord
from pipeline.domain.audit_chain import Entry
from pipeline.domain.volumes import UnfinishedCopy, VolumeRef
from pipeline.errors import RequestError
from pipeline.ports.adapters import Adapters
from pipeline.ports.clock import Deadline, Watch


class AccessoryRestore:
    """Under the accessory's lease: no run, and no other person, acts on it meanwhile."""

    def __init__(self, services: Services, adapters: Adapters, kept: KeptBackups) -> None:
        self._kept = kept
        self._store, self._configurations = services.store, services.configurations
        self._engines, self._clock = adapters.engines, adapters.clock
        self._access = VolumeAccess(services.store, adapters.clock)
        self._unfinished = UnfinishedCopies(services, adapters.clock)
        self._care = AccessoryCare(services, adapters.engines, adapters.clock)

    def restore(
        self, ref: VolumeRef, pieces: Iterable[bytes], size: int | None, entry: Callable[[], Entry]
    ) -> tuple[str, ...]:
        """What was done. One that is not there is made. ``size``: bytes of the pieces, None if that is not known.
        Raises NotFound if nothing uses it there, RequestError for what is no backup of it, and EngineFailed; with files
        that are replaced, nothing has changed then. If its process dies, nothing starts with what is there until a
        person has decided (``data.unfinished``)."""
        said = self._said(ref.owner)
        if said.restore and size is None:
            with self._kept.spooled(ref, pieces) as (path, length), path.open("rb") as file:
                return self.restore(ref, chunks(file), length, entry)
        watch = Deadline(self._clock, TRANSFER, f"Restoring {ref.owner}/{ref.environment}")
        with self._care.lease(f"{ref.owner}/{ref.environment}", watch) as lease:
            record = replace(self._care.configured(ref.owner, ref.environment), stopped="")
            there = self._is_there(record)
            # What the files replace is whole in any case; what a command has loaded may be half of it.
            mark = self._mark(ref, whole=there and not said.restore)
            # A backup of it would end with it, or have half of each.
            with self._access.replacing(ref), self._unfinished.during(mark, error_ends=there):
                self._store.accessories.put(record, lease, entry())
                if said.restore:
                    self._keep(record, lease, watch)
                    engine = lease.fenced(self._engines.of(record.engine))
                    engine.accessories.load_accessory(record.ref, said.restore, pieces, size or 0, watch)
                    return (f"{record.id} has the data of the backup.",)
                self._replace_files(record, pieces, lease, watch)
            return (f"{record.id} has the files of the backup, and is ready.",)

    def _mark(self, ref: VolumeRef, *, whole: bool) -> UnfinishedCopy:
        command = f"pushlive accessory restore {ref.owner} {ref.environment} --from FILE"
        return UnfinishedCopy(ref, "accessory restore", command, self._clock.now(), whole=whole)

    def _is_there(self, record: AccessoryRecord) -> bool:
        """Whether it may have data."""
        engine = self._engines.of(record.engine)
        if record.config.volume:
            return any(one.ref == record.ref.volume for one in engine.volumes.volumes())
        return record.ref in engine.accessories.accessories()

    def _said(self, name: str) -> AccessoryBackup:
        _, config = self._configurations.current()
        return config.accessories[name].backup if name in config.accessories else AccessoryBackup()

    def _replace_files(
        self, record: AccessoryRecord, pieces: Iterable[bytes], lease: HeldLease, watch: Watch
    ) -> None:
        if not record.config.volume:
            raise RequestError(
                f"{record.id} has no volume whose files could be replaced.",
                advice="Name the command that reads a backup: `backup: {restore: […]}` under "
                f"accessories.{record.name}.",
            )
        engine = lease.fenced(self._engines.of(record.engine))
        with ExitStack() as stack:

            def end() -> None:
                stack.callback(self._keep, record, lease, watch)
                engine.accessories.halt_accessory(record.ref)

            engine.volumes.import_volume(record.ref.volume, pieces, watch, end)

    def _keep(self, record: AccessoryRecord, lease: HeldLease, watch: Watch) -> None:
        engine = lease.fenced(self._engines.of(record.engine))
        engine.accessories.keep_accessory(self._care.spec(record), watch)
        self._care.await_ready(record, watch)
