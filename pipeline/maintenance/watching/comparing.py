"""What the jobs share that compare the release that serves with the one before it."""

from __future__ import annotations

from typing import Generic, TypeVar

from pipeline.config.judging.metrics import Metrics
from pipeline.deploy.services import Services
from pipeline.domain.engine_types import SlotRef
from pipeline.domain.environment import Environment, Slot
from pipeline.domain.slots import slot_ref
from pipeline.maintenance.damage import Damage
from pipeline.maintenance.health import Watches
from pipeline.maintenance.watching.figures import Figures
from pipeline.ports.adapters import Adapters
from pipeline.ports.traffic import Traffic

Seen = TypeVar("Seen")


class Compares(Watches, Generic[Seen]):
    """Of the slot that takes the traffic. The figures are those of the environment's ``metrics``, else its engine's."""

    def __init__(self, services: Services, adapters: Adapters, damage: Damage) -> None:
        super().__init__(services, adapters, damage)
        self._figures = Figures(services, adapters)

    def run(self) -> list[str]:
        self._figures.begin()
        return super().run()

    def _one(self, environment: Environment) -> list[str]:
        slot = environment.active
        if slot is None:
            return []
        if metrics := self._figures.metrics(environment):
            seen = self._by_metrics(environment, metrics)
        else:
            traffic = self._adapters.engines.of(environment.engine).traffic
            seen = self._by_engine(traffic, slot_ref(environment, slot))
        if seen is None:  # nothing counts or measures there, or it does not answer
            return []
        return self._compared(environment, slot, seen, self._adapters.clock.now())

    def _by_metrics(self, environment: Environment, metrics: Metrics) -> Seen | None:
        raise NotImplementedError

    def _by_engine(self, traffic: Traffic, ref: SlotRef) -> Seen | None:
        raise NotImplementedError

    def _compared(self, environment: Environment, slot: Slot, seen: Seen, now: float) -> list[str]:
        """Records what was seen and what follows; returns what the log gets."""
        raise NotImplementedError
