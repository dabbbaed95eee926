"""Which releases have no image any more: `pushlive status` knows before a revert asks."""

from __future__ import annotations

import json

from pipeline.deploy.build_stage import repository
from pipeline.errors import TryAgain
from pipeline.maintenance.damage import Damage
from pipeline.maintenance.job import Job
from pipeline.ports.builder import Builder
from pipeline.ports.clock import Clock
from pipeline.store import Store


class MissingImages(Job):
    """Records them for ``service.views``. What is known stays while the builder does not answer."""

    def __init__(self, store: Store, builder: Builder, clock: Clock, instance: str, damage: Damage) -> None:
        self._store, self._builder, self._clock = store, builder, clock
        self._instance, self._damage = instance, damage

    def run(self) -> list[str]:
        began, self.waited = self._clock.monotonic(), 0.0
        try:
            return self._damage.each(self._look)
        except TryAgain:
            self.waited = self._clock.monotonic() - began
            return []

    def _look(self, pipeline: str) -> tuple[str, ...]:
        here = self._builder.images(repository(self._instance, pipeline))
        missing = json.dumps([r.number for r in self._store.releases(pipeline) if r.image not in here])
        if self._store.facts.get(f"missing:{pipeline}") != missing:
            self._store.facts.set(f"missing:{pipeline}", missing)
        return ()
