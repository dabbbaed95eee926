"""What fake applications print and use, and their restarts."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace

from pipeline.adapters.fake.engine_state import EngineState
from pipeline.domain.capacity.room import Room
from pipeline.domain.cost.taken import Size, Taken
from pipeline.domain.engine_types import ProcessReplica, SlotRef, SlotSpec
from pipeline.domain.events import Event
from pipeline.domain.watching.usage import Measured
from pipeline.ports.builder import Emit
from pipeline.ports.clock import Watch
from pipeline.ports.outputs import Source, Usage


class FakeOutputs(EngineState):
    """Each replica prints ``printed``, and uses a tenth of a core."""

    def sources(self, ref: SlotRef) -> tuple[Source, ...]:
        with self.call("sources", ref):
            web = [Source(one.name, str(n)) for n, one in enumerate(self._replicas(ref), 1)]
            beside = self.beside.get(ref, {}).values()
            return (*web, *(Source(one.name, _label(one), one.process) for one in beside))

    def output_of(self, name: str, *, lines: int, since: float, follow: bool) -> FakeOutput:
        with self.call("output_of", name, lines, since, follow):
            return FakeOutput(self.printed[-lines:])

    def usage(self, ref: SlotRef) -> tuple[Usage, ...]:
        with self.call("usage", ref):
            return tuple(Usage(one.name, 0.1, 1 << 20, 32 << 20) for one in self._replicas(ref))

    def measured(self, ref: SlotRef) -> tuple[Measured, ...]:
        with self.call("measured", ref):
            spent = self.now() / 10  # a tenth of a core all the time
            return tuple(Measured(one.name, 1 << 20, 32 << 20, spent=spent) for one in self._replicas(ref))


class FakeMetering(EngineState):
    """Each container takes what ``FakeOutputs`` says, of a machine with two cores."""

    def taken(self) -> tuple[Taken, ...]:
        with self.call("taken"):
            spent = self.now() / 10
            found = [
                Taken(one.name, "web", 1 << 20, ref.pipeline, ref.environment, ref.slot, spent=spent)
                for ref, content in self.contents.items()
                if not content.stopped
                for one in self._replicas(ref)
            ]
            for ref, beside in self.beside.items():
                found += [
                    Taken(
                        one.name, "process", 1 << 20, ref.pipeline, ref.environment, ref.slot, one.process,
                        spent=spent,
                    )
                    for one in beside.values()
                ]  # fmt: skip
            return tuple(sorted(found, key=lambda one: one.name))

    def machine_size(self, labels: Collection[str] = ()) -> Size | None:
        with self.call("machine_size", labels):
            return Size(2.0, self.memory)

    def room(self, *, takers: bool = False) -> Room:
        with self.call("room"):
            return self.has_room if takers else replace(self.has_room, takers={})


def _label(one: ProcessReplica) -> str:
    return f"{one.process}.{one.name.rpartition('-')[2]}"


class FakeOutput:
    """Ends at once."""

    def __init__(self, printed: tuple[str, ...]) -> None:
        self._printed = printed

    def pieces(self) -> Iterator[bytes]:
        yield from (f"{line}\n".encode() for line in self._printed)

    def close(self) -> None:
        """Nothing is open."""


class FakeRestarts(EngineState):
    """Refuses to restart what was not started."""

    def restart_slot(self, spec: SlotSpec, mark: str, emit: Emit, watch: Watch) -> None:
        with self.call("restart_slot", spec, mark, watch=watch):
            self._require_content(spec, "restart before start")
            replicas = (one.name for one in self._replicas(spec.ref))
            for name in (*replicas, *self.beside.get(spec.ref, {})):
                watch.check()
                emit(Event("line", 0.0, f"{name} was restarted"))

    def revive(self, spec: SlotSpec, name: str) -> None:
        with self.call("revive", spec, name):
            self.revivals.append(name)

    def forget_restart(self, ref: SlotRef, mark: str) -> None:
        with self.call("forget_restart", ref, mark):
            pass
