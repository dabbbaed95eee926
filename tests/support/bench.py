"""What tests do with an environment of their own, on any engine."""

from __future__ import annotations

from pipeline.domain.engine_types import Replica, SlotSpec
from pipeline.domain.events import Event
from pipeline.ports.clock import Deadline, SystemClock
from pipeline.ports.engine import WholeEngine


class EngineBench:
    """``events``: what the engine reported while releases became ready."""

    engine: WholeEngine
    hosts: tuple[str, ...]
    events: list[Event]

    def watch(self, seconds: float = 30.0) -> Deadline:
        return Deadline(SystemClock(), seconds)

    def stand(self, spec: SlotSpec) -> tuple[Replica, ...]:
        """Starts the release, waits until it is ready, and exposes it."""
        self.engine.start(spec, self.watch())
        replicas = self.engine.ready(spec, self.events.append, self.watch())
        self.engine.expose(spec)
        return replicas

    def deploy(self, spec: SlotSpec) -> None:
        """A deployment without checks."""
        self.engine.prepare(spec.ref, self.hosts)
        self.engine.fits(spec)
        self.stand(spec)
        self.engine.switch(spec)
