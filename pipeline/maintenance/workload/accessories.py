"""Accessories that should run and do not are started again, as they were made."""

from __future__ import annotations

from pipeline.deploy.accessories import AccessoryCare
from pipeline.deploy.heartbeat import LeaseHeartbeat
from pipeline.deploy.services import Services
from pipeline.domain.accessories import AccessoryRecord
from pipeline.errors import DamagedRecord, EngineAway, LeaseLost, PushliveError, StoreUnavailable, TryAgain
from pipeline.lib.retry import Backoff, Retry
from pipeline.maintenance.damage import Damage
from pipeline.maintenance.job import Job
from pipeline.ports.adapters import Adapters
from pipeline.ports.clock import Deadline

ASK_EVERY = 30.0  # seconds between two looks at whether one that runs is ready: each runs its `health`
ASK_SOON = Backoff(4.0, ceiling=ASK_EVERY)  # while it is not: `status` shows what the last look found
LIMIT = 60.0  # seconds for one: others wait meanwhile
# After a failure. Its lease is free between, for a run or a person whose act is about to make it.
AGAIN = Backoff(15.0, ceiling=300.0)


class KeepAccessories(Job):
    """One at which a run or a person is at work is left to them. What goes wrong is a `problem` in the store."""

    def __init__(self, services: Services, adapters: Adapters, damage: Damage) -> None:
        self._store, self._clock, self._damage = services.store, adapters.clock, damage
        self._next: dict[str, float] = {}  # when the next look is
        self._away: dict[str, Retry] = {}  # of those that were not ready at the last one
        self._failed: dict[str, Retry] = {}
        self._due: dict[str, float] = {}  # of those that failed: when the next attempt is
        self._care = AccessoryCare(services, adapters.engines, adapters.clock)

    def run(self) -> list[str]:
        said: list[str] = []
        away: set[str] = set()
        for error in self._store.accessories.damaged().values():
            self._damage.add(error)
        for record in self._store.accessories.all():
            if record.engine in away or self._clock.monotonic() < self._due.get(record.id, 0.0):
                continue
            try:
                said += self._one(record)
                self._failed.pop(record.id, None)
            except StoreUnavailable:
                raise
            except DamagedRecord as error:
                self._damage.add(error)
            except PushliveError as error:
                self._problem(record, str(error))
                if not isinstance(error, TryAgain):
                    self._later(record.id)
                away |= {record.engine} if isinstance(error, EngineAway) else set()
        return said

    def _later(self, accessory: str) -> None:
        retry = self._failed.setdefault(accessory, Retry(AGAIN, self._clock))
        self._due[accessory] = self._clock.monotonic() + (retry.pause() or 0.0)

    def _one(self, record: AccessoryRecord) -> list[str]:
        lease = self._store.leases.take(f"accessory:{record.id}", "keeper")
        if lease is None:
            return []
        with LeaseHeartbeat(self._store) as heartbeat:
            held = heartbeat.hold(lease)
            found = self._store.accessories.get(record.name, record.environment)
            if found is None:
                return []
            due = self._is_due(record.id)
            try:
                watch = Deadline(self._clock, LIMIT, "starting an accessory")
                found = self._care.pruned(found, held) if due else found
                acted = self._care.keep(found, held, watch)
            except LeaseLost:
                return []
            if due and not found.stopped:
                why = self._care.why_away(found) if found.attached else ""
                self._problem(record, why)
                self._look_again(record.id, soon=bool(why))
        return [f"the accessory {record.id} was not running as it should, and was started"] if acted else []

    def _is_due(self, accessory: str) -> bool:
        now = self._clock.monotonic()
        due = now >= self._next.get(accessory, now)
        if due:
            self._next[accessory] = now + ASK_EVERY
        return due

    def _look_again(self, accessory: str, *, soon: bool) -> None:
        """One that was started with the machine is ready a moment later."""
        if not soon:
            self._away.pop(accessory, None)
            return
        retry = self._away.setdefault(accessory, Retry(ASK_SOON, self._clock))
        self._next[accessory] = self._clock.monotonic() + (retry.pause() or ASK_EVERY)

    def _problem(self, record: AccessoryRecord, text: str) -> None:
        name = f"accessory-problem:{record.id}"
        if self._store.facts.get(name) != text:
            self._store.facts.set(name, text)
