"""Samples what a release uses while it is watched after its switch, for the record of that time."""

from __future__ import annotations

from pipeline.domain.environment import Environment
from pipeline.domain.slots import slot_ref
from pipeline.domain.watching import usage
from pipeline.errors import PushliveError, StoreUnavailable
from pipeline.lib import codec
from pipeline.maintenance.health import Watches


class SampleUsage(Watches):
    """One request for each container and sample, which an engine answers at once. An engine that cannot tell is asked
    again with the next sample; why it could not is kept beside the series."""

    def _one(self, environment: Environment) -> list[str]:
        bake, active = environment.bake, environment.active
        slot = environment.slots.get(active) if active else None
        if (
            bake is None
            or active is None
            or slot is None
            or (slot.release, slot.run) != (bake.release, bake.run)
        ):
            return []
        name, now = usage.fact_name(environment.id, bake.run), self._adapters.clock.now()
        series = usage.read(self._store.facts.get(name))
        if usage.is_due(series, now):
            ref = slot_ref(environment, active)
            try:
                measured = self._adapters.engines.of(ref.engine).outputs.measured(ref)
            except StoreUnavailable:
                raise
            except PushliveError as error:
                if (told := usage.missed(series, str(error))) != series:
                    self._store.facts.set(name, codec.dump(told))
                raise
            self._store.facts.set(name, codec.dump(usage.sampled(series, measured, now)))
        return []

    def _miss(self, environment: Environment) -> None:
        """Others note that its engine is away."""
