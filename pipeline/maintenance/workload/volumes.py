"""Remembers how large volumes are. Counting every file may take an engine long, so `pushlive status` does not ask."""

from __future__ import annotations

import json
import time
from collections import Counter, defaultdict
from collections.abc import Callable

from pipeline.domain.cost.ledger import Place
from pipeline.domain.volumes import StoredVolume, VolumeRef
from pipeline.errors import PushliveError
from pipeline.maintenance.job import Aside, Job
from pipeline.ports.engine import Engines
from pipeline.store import Store
from pipeline.store.costs.stored import StoredBytes

EVERY = 1800.0  # seconds
NEW = 30.0  # the same for a volume that was not there before


class VolumeSizes(Job):
    """Of those of pipelines. They are counted in a thread: an engine with many files must hold up no repair."""

    def __init__(self, store: Store, engines: Engines, now: Callable[[], float]) -> None:
        self._store, self._engines, self._now = store, engines, now
        self._aside = Aside("volume sizes")
        self._all = self._looked = float("-inf")  # when that was done last
        self._seen: set[VolumeRef] = set()

    def run(self) -> list[str]:
        now = time.monotonic()
        if not self._aside.busy and now - self._looked >= NEW:
            act = self.count_new
            if now - self._all >= EVERY:
                self._all, act = now, self.count
            self._looked = now
            self._aside.begin(act)
        return []

    def count(self) -> None:
        """What an engine does not tell, or not in time, stays as it was known."""
        self._seen.clear()
        self._count(everywhere=True)

    def count_new(self) -> None:
        """On engines with a volume that was not there before."""
        self._count(everywhere=False)

    def _count(self, *, everywhere: bool) -> None:
        counted: dict[str, dict[str, int]] = defaultdict(dict)
        bytes_of: dict[str, Counter[Place]] = {}
        for key in self._engines.in_use():
            try:
                ports = self._engines.of(key).volumes
                if not everywhere and {one.ref for one in ports.volumes()} <= self._seen:
                    continue
                found = tuple(ports.volumes(sizes=True))
                if all(_bytes(one) is not None for one in found):
                    bytes_of[key] = Counter()
                    for one in found:
                        bytes_of[key][one.ref.owner, one.ref.environment] += _bytes(one) or 0
                for one in found:
                    self._seen.add(one.ref)
                    if one.ref.kind == "pipeline" and one.size is not None:
                        counted[one.ref.owner][f"{one.ref.environment}/{one.ref.name}"] = one.size
            except PushliveError:  # reconciliation reports an engine that does not answer
                continue
        try:
            for key, sizes_of in bytes_of.items():
                StoredBytes(self._store.facts).note(key, sizes_of, self._now())
            for owner, sizes in counted.items():
                name = f"volume-sizes:{owner}"
                known = json.loads(self._store.facts.get(name) or "{}").get("sizes", {})
                self._store.facts.set(name, json.dumps({"at": self._now(), "sizes": {**known, **sizes}}))
        except PushliveError:  # the store does not answer: every other job reports that
            return


def _bytes(one: StoredVolume) -> int | None:
    """What a volume costs for: on a cluster what it was given, else what its files take."""
    return one.size if one.room is None else one.room
