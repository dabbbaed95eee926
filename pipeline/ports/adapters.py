"""All ports together."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.ports.builder import Builder
from pipeline.ports.clock import Clock
from pipeline.ports.engine import Engine
from pipeline.ports.probe import Probe
from pipeline.ports.queue import Queue
from pipeline.ports.source import Source


@dataclass(frozen=True)
class Adapters:
    """Everything that the story needs from outside, made in ``pipeline.runtime.bootstrap``."""

    source: Source
    builder: Builder
    engine: Engine
    probe: Probe
    clock: Clock
    queue: Queue
