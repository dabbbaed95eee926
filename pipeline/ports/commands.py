"""Commands in containers of a release."""

from __future__ import annotations

from typing import Protocol

from pipeline.domain.engine_types import CommandResult, SlotRef, SlotSpec
from pipeline.ports.builder import Emit
from pipeline.ports.clock import Watch


class Commands(Protocol):
    """Release commands and checks that run in a container of their own."""

    def command(
        self,
        spec: SlotSpec,
        name: str,
        argv: tuple[str, ...],
        env: dict[str, str],
        emit: Emit,
        watch: Watch,
        *,
        entrypoint: bool = False,
    ) -> CommandResult:
        """Runs a command in a container of the release, on the environment's network. Idempotent for one ``name``: a
        second call finds the first one's container, and waits for its result or returns it. Raises OutcomeUnknown if
        the command was started and its result is not available. ``entrypoint``: the image's ENTRYPOINT is given the
        command, as at a start; otherwise the command is run in its place."""

    def end_command(self, spec: SlotSpec, name: str) -> None:
        """Ends a command that runs (SIGTERM, then SIGKILL after the slot's limit). Its container stays until
        ``forget_command``. Idempotent."""

    def forget_command(self, spec: SlotSpec, name: str) -> None:
        """Removes a finished command's container. Idempotent."""

    def command_runs(self, ref: SlotRef) -> frozenset[int]:
        """The runs whose command containers are still in that environment."""

    def forget_commands(self, ref: SlotRef, run: int) -> None:
        """Removes that run's command containers from the environment. Idempotent."""
