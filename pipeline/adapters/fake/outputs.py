"""What fake applications print and use."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.adapters.fake.engine_state import EngineState
from pipeline.domain.engine_types import SlotRef
from pipeline.ports.outputs import Source, Usage


class FakeOutputs(EngineState):
    """Each replica prints ``printed``, and uses a tenth of a core."""

    def sources(self, ref: SlotRef) -> tuple[Source, ...]:
        with self.call("sources", ref):
            return tuple(Source(one.name, str(n)) for n, one in enumerate(self._replicas(ref), 1))

    def output_of(self, name: str, *, lines: int, since: float, follow: bool) -> FakeOutput:
        with self.call("output_of", name, lines, since, follow):
            return FakeOutput(self.printed[-lines:])

    def usage(self, ref: SlotRef) -> tuple[Usage, ...]:
        with self.call("usage", ref):
            return tuple(Usage(one.name, 0.1, 1 << 20, 32 << 20) for one in self._replicas(ref))


class FakeOutput:
    """Ends at once."""

    def __init__(self, printed: tuple[str, ...]) -> None:
        self._printed = printed

    def pieces(self) -> Iterator[bytes]:
        yield from (f"{line}\n".encode() for line in self._printed)

    def close(self) -> None:
        """Nothing is open."""
