"""Commands of people in containers of the release that serves: their input open, their output as it comes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from pipeline.config.engines import DOCKER
from pipeline.domain.engine_types import SlotRef, SlotSpec
from pipeline.domain.environment import Slot
from pipeline.ports.clock import Watch

STDOUT, STDERR = 1, 2


@dataclass(frozen=True)
class Wanted:
    """``session``: what names it on the engine, letters and digits. ``terminal``: the command gets one, of that
    size; its whole output is then STDOUT."""

    session: str
    argv: tuple[str, ...]
    terminal: bool = False
    columns: int = 80
    rows: int = 24


@dataclass(frozen=True)
class SessionRecord:
    """What is kept of a session while it runs, so that it ends with the process that serves it.
    ``id``: letters and digits; ``replica``: the container it runs in, "" for a fresh one of its own. ``act``, ``what``
    and ``release``: how the audit log has it, "" if it is in none."""

    id: str
    pipeline: str
    environment: str
    index: int
    slot: Slot
    engine: str = DOCKER
    replica: str = ""
    by: str = ""
    began: float = 0.0
    act: str = ""
    what: str = ""
    release: int | None = None

    @property
    def ref(self) -> SlotRef:
        return SlotRef(self.pipeline, self.environment, self.index, self.slot, self.engine)

    @property
    def lease(self) -> str:
        """The name of the lease that the process holds which serves it."""
        return f"session:{self.id}"


class Session(Protocol):
    """One command. Its methods may be called from different threads."""

    def output(self) -> Iterator[tuple[int, bytes]]:
        """STDOUT or STDERR with a piece of output, as it comes; ends with the command, or once another thread calls
        ``close``."""

    def write(self, data: bytes) -> None:
        """Input for the command; may wait until it takes it. Nothing happens if it has ended."""

    def end_input(self) -> None:
        """Nothing more comes. Idempotent."""

    def resize(self, columns: int, rows: int) -> None:
        """The terminal has another size now. Nothing happens without one."""

    def exit_code(self) -> int:
        """Once the output has ended. Raises EngineFailed if it is not known."""

    def close(self) -> None:
        """Ends the connection, not the command. Idempotent."""


class Terminals(Protocol):
    """Starts commands of people, and ends them."""

    def run_session(self, spec: SlotSpec, wanted: Wanted, watch: Watch) -> Session:
        """Starts the command in a fresh container like the spec's, on its environment's network. Raises AppFailed if
        it cannot be executed, DoesNotFit, EngineFailed."""

    def exec_session(self, ref: SlotRef, replica: str, wanted: Wanted) -> Session:
        """Starts the command in that container of the slot, or of an accessory (``AccessoryState.container``). Raises
        AppFailed if it cannot be executed."""

    def copy_session(self, ref: SlotRef, replica: str, path: str, session: str) -> Session:
        """Its output is a tar archive of that file or folder in that container of the slot, volumes included; paths in
        it begin with the last part of ``path``, which is absolute. Raises NotFound if there is none, AppFailed if it
        cannot be read without a program that the image does not have."""

    def end_session(self, ref: SlotRef, session: str, replica: str = "") -> None:
        """Ends what the session started, and removes its fresh container. ``replica``: the container in which it was
        started, if that was not fresh. Idempotent; also for one that never started."""
