"""What the containers of a slot print, and what they use."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from pipeline.domain.engine_types import SlotRef


@dataclass(frozen=True)
class Source:
    """A container of the slot. ``label``: what tells it from the others for people, ``2`` or ``worker.1``; ``process``:
    "" for the web one."""

    name: str
    label: str
    process: str = ""


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
