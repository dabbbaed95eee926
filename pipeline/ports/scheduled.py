"""Runs of processes by a schedule: each in a container of its own that outlives a switch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from pipeline.domain.engine_types import SlotRef, SlotSpec
from pipeline.ports.clock import Watch


@dataclass(frozen=True)
class Job:
    """``at``: the time of the schedule, whole seconds since the epoch. Both together name the container."""

    process: str
    at: int


@dataclass(frozen=True)
class JobState:
    """``started``, ``ended``: seconds since the epoch, 0.0 if not yet; ``exit_code``: None while it runs."""

    job: Job
    release: int
    started: float
    ended: float = 0.0
    exit_code: int | None = None


class Scheduled(Protocol):
    """Starts jobs, finds them again, and removes what has ended."""

    def start_job(self, spec: SlotSpec, job: Job, argv: tuple[str, ...], watch: Watch) -> None:
        """Starts a container of the release for that job. Idempotent for one job as long as its container is there: it
        is never started a second time. Raises AppFailed if the command cannot be executed, EngineFailed."""

    def jobs(self, ref: SlotRef) -> tuple[JobState, ...]:
        """Every job whose container is in the environment (``ref.slot`` is ignored), and was started."""

    def job_output(self, ref: SlotRef, job: Job, lines: int) -> tuple[str, ...]:
        """Its last lines; () if there is no container."""

    def end_job(self, ref: SlotRef, job: Job) -> None:
        """Ends it (SIGTERM, then SIGKILL). It stays until ``forget_job``. Idempotent."""

    def forget_job(self, ref: SlotRef, job: Job) -> None:
        """Removes its container. Idempotent."""
