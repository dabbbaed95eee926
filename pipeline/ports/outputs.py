"""What the containers of a slot print and use, and how they are started again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from pipeline.domain.engine_types import SlotRef, SlotSpec
from pipeline.domain.watching.usage import Measured
from pipeline.ports.builder import Emit
from pipeline.ports.clock import Watch


@dataclass(frozen=True)
class Source:
    """A container of the slot. ``label``: what tells it from the others for people, ``2`` or ``worker.1``; ``process``:
    "" for the web one; ``running``: False if it is known to have ended."""

    name: str
    label: str
    process: str = ""
    running: bool = True


@dataclass(frozen=True)
class Usage:
    """``cpu``: cores; ``memory``: bytes, without the page cache that can be given back; ``limit``: bytes, 0 if not
    known."""

    name: str
    cpu: float
    memory: int
    limit: int = 0


class Output(Protocol):
    """A container's output as it comes."""

    def pieces(self) -> Iterator[bytes]:
        """Ends with the container, or once another thread calls ``close``."""

    def close(self) -> None:
        """Idempotent."""


class Outputs(Protocol):
    """Read-only."""

    def sources(self, ref: SlotRef) -> tuple[Source, ...]:
        """The slot's containers that run, or have run, in the order of their labels."""

    def output_of(self, name: str, *, lines: int, since: float, follow: bool) -> Output:
        """What that container prints: its last ``lines`` (at most), of those since then (seconds since the epoch; 0: of
        all), and with ``follow`` what comes."""

    def usage(self, ref: SlotRef) -> tuple[Usage, ...]:
        """What the slot's containers use now. Raises RequestError, with what to do, if the engine cannot tell."""

    def measured(self, ref: SlotRef) -> tuple[Measured, ...]:
        """The same at once, as the engine has it: cores, or the processor time since the start. Sorted by name. Raises
        as ``usage``."""


class Restarts(Protocol):
    """Starts the containers of a release again, as they are."""

    def restart_slot(self, spec: SlotSpec, mark: str, emit: Emit, watch: Watch) -> None:
        """One replica after the other, each healthy before the next, so that no request is lost; then the slot's
        processes. ``mark``: names a container that takes the requests meanwhile if there is only one replica; letters
        and digits. With `one` there is no such container: requests wait in the proxy instead. Raises AppFailed if one
        does not become healthy: the others serve on then."""

    def revive(self, spec: SlotSpec, name: str) -> None:
        """Starts that web container of the slot again, which runs and does not answer: it has `stop` to end. Does not
        wait until it is healthy. Does nothing on an engine that does it by itself."""

    def forget_restart(self, ref: SlotRef, mark: str) -> None:
        """Removes that container. Idempotent."""
