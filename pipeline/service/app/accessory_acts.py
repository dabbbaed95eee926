"""What all acts on accessories have in common."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from pipeline.deploy.accessories import AccessoryCare
from pipeline.deploy.data.access import VolumeAccess
from pipeline.deploy.data.unfinished import UnfinishedCopies, refusal, refuse
from pipeline.deploy.heartbeat import HeldLease
from pipeline.deploy.services import Services
from pipeline.domain.accessories import AccessoryRecord, AccessoryRef
from pipeline.domain.audit_chain import Who
from pipeline.errors import NotFound, RequestError
from pipeline.ports.accessories import Accessories as AccessoryPort
from pipeline.ports.clock import Clock
from pipeline.ports.engine import Engines
from pipeline.ports.queue import Queue
from pipeline.service.audited import Audited
from pipeline.service.operations import Operations

REMOVED = "removed"
LIMIT = 900.0  # seconds for one act: an image is pulled, a database starts


class AccessoryActs(Audited):
    def __init__(
        self, services: Services, queue: Queue, clock: Clock, operations: Operations, engines: Engines
    ) -> None:
        super().__init__(services, queue, clock, operations)
        self._engines = engines
        self._care = AccessoryCare(services, engines, clock)
        self._unfinished = UnfinishedCopies(services, clock)

    def _of(self, record: AccessoryRecord, lease: HeldLease | None = None) -> AccessoryPort:
        """``lease``: for what changes it."""
        engine = self._engines.of(record.engine)
        return (lease.fenced(engine) if lease else engine).accessories

    def _known_record(self, name: str, environment: str) -> AccessoryRecord:
        found = self._store.accessories.get(name, environment)
        if found is None:
            known = ", ".join(one.id for one in self._store.accessories.all()) or "none"
            raise NotFound(
                f"there is no accessory {name[:60]}/{environment[:60]}; there is {known}.",
                advice="`pushlive accessory status` lists them; `pushlive accessory start NAME ENV` makes one.",
            )
        return found

    def _stopping(self, ref: AccessoryRef) -> AbstractContextManager[None]:
        """While its container ends. Raises InUse while a backup of its data runs: it would end with the container."""
        return VolumeAccess(self._store, self._clock).replacing(ref.volume)

    def _refuse_unfinished(self, ref: AccessoryRef) -> None:
        """Under its lease. Raises RequestError if it does not have all its data yet, or another one waits for them."""
        refuse(self._store, [ref.volume], RequestError, alone=True)
        if waits := self._unfinished.to_be_copied(str(ref.volume)):
            raise refusal(self._store, waits, RequestError, alone=True)

    def _entry_of(self, by: Who, act: str, record: AccessoryRecord, detail: str = "") -> Any:
        """``record``: as it is after the act."""
        text, known = (
            f"{record.name} {detail}".strip(),
            self._store.accessories.get(record.name, record.environment),
        )
        change: dict[str, Any] = {
            "before": _state(known),
            "after": REMOVED if act == "rm" else _state(record),
        }
        return self._entry(by, f"accessory {act}", environment=record.environment, detail=text, **change)


def _state(record: AccessoryRecord | None) -> str:
    """What it is made from, and who stopped it, in words."""
    if record is None:
        return "none"
    return f"{record.config.image}, stopped by {record.stopped}" if record.stopped else record.config.image


def insist_on_volume(before: AccessoryRecord, wanted: AccessoryRecord) -> None:
    """Raises RequestError if its data would be looked for elsewhere."""
    if before.config.volume != wanted.config.volume:
        raise RequestError(
            f"{before.id} keeps its data in {before.config.volume or 'its container'}, and pipelines.yaml says "
            f"{wanted.config.volume or 'nothing'} under `volume`: it would not find them there.",
            advice="Keep `volume`, or give the new one another name and copy the data.",
        )


def refuse_half_upgraded(record: AccessoryRecord) -> None:
    """Raises RequestError if the service died in its upgrade."""
    if record.upgrade and not record.upgrade.done:
        raise RequestError(
            f"the upgrade of {record.id} was broken off.",
            advice=f"`pushlive accessory upgrade {record.name} {record.environment}` goes on with it; with `--back` "
            "it is taken back.",
        )
