"""A strict engine in memory."""

from __future__ import annotations

from pipeline.adapters.fake.accessories import FakeAccessories
from pipeline.adapters.fake.adoption import FakeAdoption
from pipeline.adapters.fake.commands import FakeCommands
from pipeline.adapters.fake.drift import FakeDrift
from pipeline.adapters.fake.outputs import FakeMetering, FakeOutputs, FakeRestarts
from pipeline.adapters.fake.processes import FakeProcesses, FakeScheduled
from pipeline.adapters.fake.sleep.sleeping import FakeSleeping
from pipeline.adapters.fake.slots import FakeSlots
from pipeline.adapters.fake.terminals import FakeTerminals
from pipeline.adapters.fake.traffic import FakeTraffic
from pipeline.adapters.fake.volumes import FakeVolumes
from pipeline.config.engines import DOCKER
from pipeline.ports.engine import Engine, WholeEngine, engine_of
from pipeline.ports.probe import Probe


class FakeEngine(
    FakeSlots,
    FakeTraffic,
    FakeCommands,
    FakeDrift,
    FakeAdoption,
    FakeTerminals,
    FakeOutputs,
    FakeRestarts,
    FakeProcesses,
    FakeScheduled,
    FakeVolumes,
    FakeAccessories,
    FakeMetering,
    FakeSleeping,
):
    """All ports (``ports.WholeEngine``); what each refuses is said there."""


class OneEngine:
    """``ports.Engines`` with the same engine under every key. Refuses nothing."""

    def __init__(self, adapter: WholeEngine, probe: Probe) -> None:
        self._engine = engine_of(adapter, probe)

    def of(self, key: str) -> Engine:  # noqa: ARG002
        return self._engine

    def in_use(self) -> tuple[str, ...]:
        return (DOCKER,)
