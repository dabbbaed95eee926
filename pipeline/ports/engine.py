"""An engine runs releases and moves traffic between them: its ports, and the probe that reaches what runs there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from pipeline.ports.accessories import Accessories
from pipeline.ports.adoption import Adoption
from pipeline.ports.commands import Commands
from pipeline.ports.cost.metering import Metering
from pipeline.ports.drift import Drift
from pipeline.ports.outputs import Outputs, Restarts
from pipeline.ports.probe import Probe
from pipeline.ports.processes import Processes
from pipeline.ports.scheduled import Scheduled
from pipeline.ports.sleep.sleeping import Sleeping
from pipeline.ports.slots import Slots
from pipeline.ports.terminal import Terminals
from pipeline.ports.traffic import Traffic
from pipeline.ports.volumes import Volumes


@dataclass(frozen=True)
class Engine:
    """One engine's ports. ``probe`` reaches what runs there."""

    slots: Slots
    traffic: Traffic
    commands: Commands
    drift: Drift
    adoption: Adoption
    terminals: Terminals
    outputs: Outputs
    restarts: Restarts
    volumes: Volumes
    accessories: Accessories
    processes: Processes
    scheduled: Scheduled
    metering: Metering
    sleeping: Sleeping
    probe: Probe


class WholeEngine(
    Slots,
    Traffic,
    Commands,
    Drift,
    Adoption,
    Terminals,
    Outputs,
    Restarts,
    Volumes,
    Accessories,
    Processes,
    Scheduled,
    Metering,
    Sleeping,
    Protocol,
):
    """An adapter that is all ports at once."""


def engine_of(adapter: WholeEngine, probe: Probe) -> Engine:
    one = adapter
    return Engine(one, one, one, one, one, one, one, one, one, one, one, one, one, one, probe)


class Engines(Protocol):
    """Every engine by its key (``Where.key``)."""

    def of(self, key: str) -> Engine:
        """Raises ConfigError if it cannot be reached from here at all."""

    def in_use(self) -> Iterable[str]:
        """The keys of the engines that may run something."""
