"""Restores the data of an accessory from a backup: through its own command, or by replacing its files."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import replace

from pipeline.config.workload.backup import AccessoryBackup
from pipeline.deploy.accessories import AccessoryCare
from pipeline.deploy.data.access import VolumeAccess
from pipeline.deploy.data.kept import KeptBackups, chunks
from pipeline.deploy.data.volumes import TRANSFER
from pipeline.deploy.heartbeat import HeldLease
from pipeline.deploy.services import Services
from pipeline.domain.accessories import AccessoryRecord
from pipeline.domain.audit_chain import Entry
from pipeline.domain.volumes import VolumeRef
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
        self._care = AccessoryCare(services, adapters.engines, adapters.clock)

    def restore(
        self, ref: VolumeRef, pieces: Iterable[bytes], size: int | None, entry: Callable[[], Entry]
    ) -> tuple[str, ...]:
        """What was done. One that is not there is made. ``size``: bytes of the pieces, None if that is not known.
        Raises NotFound if nothing uses it there, RequestError for what is no backup of it, and EngineFailed; with files
        that are replaced, nothing has changed then."""
        said = self._said(ref.owner)
        if said.restore and size is None:
            with self._kept.spooled(ref, pieces) as (path, length), path.open("rb") as file:
                return self.restore(ref, chunks(file), length, entry)
        watch = Deadline(self._clock, TRANSFER, f"Restoring {ref.owner}/{ref.environment}")
        with self._care.lease(f"{ref.owner}/{ref.environment}", watch) as lease:
            record = replace(self._care.configured(ref.owner, ref.environment), stopped="")
            if said.restore:
                self._store.accessories.put(record, lease, entry())
                self._keep(record, lease, watch)
                engine = lease.fenced(self._engines.of(record.engine))
                engine.accessories.load_accessory(record.ref, said.restore, pieces, size or 0, watch)
                return (f"{record.id} has the data of the backup.",)
            with self._access.replacing(ref):  # a backup of it would end with it
                self._store.accessories.put(record, lease, entry())
                self._replace_files(record, pieces, lease, watch)
            return (f"{record.id} has the files of the backup, and is ready.",)

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
