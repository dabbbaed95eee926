"""What runs beside the web process of a release: workers, schedulers."""

from __future__ import annotations

from typing import Protocol

from pipeline.domain.engine_types import ProcessReplica, SlotRef, SlotSpec
from pipeline.ports.builder import Emit
from pipeline.ports.clock import Watch


class Processes(Protocol):
    """Processes belong to the slot that takes the traffic. At a switch the old slot's end before the new one's start:

        stop_processes (old) · start_processes (new) · processes_ready (new)

    ``Slots.stop`` removes a slot's processes with the slot, ``Slots.stop_and_keep`` stops them as well.
    """

    def start_processes(self, spec: SlotSpec, watch: Watch) -> None:
        """Starts the spec's processes in its slot; what else there was of the slot's processes is removed. Idempotent:
        those that run already as they should are kept. Raises RequestError while processes of the other slot run."""

    def processes_ready(self, spec: SlotSpec, emit: Emit, watch: Watch) -> None:
        """Returns once each has run for its ``settle``, or its ``ready`` command has exited with 0. From then on the
        engine starts one that exits again by itself. Raises AppFailed if one exits before (exit code, last lines as
        evidence), and if ``ready`` takes longer than the service's."""

    def stop_processes(self, ref: SlotRef) -> None:
        """Ends the processes of that slot, each within its ``stop``. Their output stays until ``Slots.stop``, if the
        kind of engine keeps what is stopped. Idempotent."""

    def processes(self, ref: SlotRef) -> tuple[ProcessReplica, ...]:
        """What there is of processes in the environment, in both slots (``ref.slot`` is ignored)."""

    def process_logs(self, ref: SlotRef, process: str, lines: int) -> tuple[str, ...]:
        """The last output lines of a process in that slot, oldest first, prefixed with the replica if there are
        several."""

    def missing_processes(self, spec: SlotSpec) -> tuple[str, ...]:
        """Why the spec's processes do not run as they should, one sentence each; () if nothing is missing that
        ``restore_processes`` could bring back. Read-only."""

    def restore_processes(self, spec: SlotSpec) -> None:
        """Starts or creates again what is missing; from then on the engine keeps it running. It ends the other slot's
        processes first. Idempotent."""
