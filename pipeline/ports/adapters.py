"""All ports together."""

from __future__ import annotations

from dataclasses import dataclass, field

from pipeline.ports.builder import Builder
from pipeline.ports.clock import Clock
from pipeline.ports.engine import Engines
from pipeline.ports.judging.figures import Figures, NoFigures
from pipeline.ports.queue import Queue
from pipeline.ports.source import Source
from pipeline.ports.volumes import Copies, NoCopies


@dataclass(frozen=True)
class Adapters:
    """Every adapter that a run needs, made in ``pipeline.runtime.bootstrap``."""

    source: Source
    builder: Builder
    engines: Engines
    clock: Clock
    queue: Queue
    copies: Copies = field(default_factory=NoCopies)
    figures: Figures = field(default_factory=NoFigures)
