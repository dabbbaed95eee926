"""Helpers of volumes that a process has left when it died: they keep a volume, or a node's disk, in use."""

from __future__ import annotations

from pipeline.deploy.data.access import InUse, VolumeAccess
from pipeline.deploy.services import Services
from pipeline.domain.volumes import Helper
from pipeline.errors import EngineAway, LeaseLost, PushliveError, StoreUnavailable
from pipeline.maintenance.job import Changes, Job
from pipeline.ports.adapters import Adapters

EVERY = 30.0  # seconds between two looks
LEFT = (
    90.0  # seconds for which one is seen until it is taken for left: those without a lease live for moments
)


class LeftHelpers(Job):
    """One that is at work has a lease of its volume, which is taken before its helper is ended."""

    def __init__(self, services: Services, adapters: Adapters) -> None:
        self._engines, self._clock = adapters.engines, adapters.clock
        self._access = VolumeAccess(services.store, adapters.clock)
        self._seen: dict[tuple[str, str], float] = {}  # when each was first seen, by its engine and name
        self._next = 0.0
        self._changes = Changes()

    def run(self) -> list[str]:
        now = self._clock.monotonic()
        if now < self._next:
            return []
        self._next = now + EVERY
        said, problems, seen = list[str](), list[str](), dict[tuple[str, str], float]()
        for key in sorted(self._engines.in_use()):
            try:
                for one in self._engines.of(key).volumes.helpers():
                    since = seen[key, one.name] = self._seen.get((key, one.name), now)
                    if now - since >= LEFT:
                        said += self._end(key, one)
            except (StoreUnavailable, LeaseLost):
                raise
            except EngineAway:  # reconciliation reports it
                continue
            except PushliveError as error:
                problems.append(f"what a backup or a copy has left on {key} was not removed: {error}")
        self._seen = seen
        return said + self._changes.report("; ".join(problems))

    def _end(self, key: str, helper: Helper) -> list[str]:
        try:
            with self._access.replacing(*helper.refs, waits=0.0):
                for ref in helper.refs:
                    self._engines.of(key).volumes.end_helpers(ref)
        except InUse:  # it is at work
            return []
        named = " and ".join(str(ref) for ref in helper.refs)
        return [
            f"{helper.name} was left by a backup or a copy of {named} that was broken off; it was removed"
        ]
