"""Somebody sets the wall clock: what was promised for a time from now on is moved along with it.

Deadlines are measured on the monotonic clock and know nothing of it. What is kept in the store (until when a slot is
warm, since when a run waits) is wall clock time, and is moved by as much as the clock was.
"""

from __future__ import annotations

from dataclasses import replace

from pipeline.domain.environment import Environment
from pipeline.domain.run import Run
from pipeline.ports.clock import Clock
from pipeline.store import Transaction

JUMP = 5.0  # seconds between two looks; less is a clock that is being corrected

_OF_A_RUN = ("accepted", "started", "image_ready", "gate_since", "parked")


class JumpWatch:
    """Compares the wall clock with the monotonic one."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._offset: float | None = None

    def moved(self) -> float:
        """Seconds by which the wall clock was set since the last look; 0 for less than ``JUMP``."""
        offset = self._clock.now() - self._clock.monotonic()
        before, self._offset = self._offset, offset
        moved = 0.0 if before is None else offset - before
        return moved if abs(moved) > JUMP else 0.0


def moved_environment(environment: Environment, seconds: float) -> Environment:
    """Warm and failed slots are kept as long as was promised."""
    slots = {
        slot: replace(record, until=record.until + seconds) if record.until else record
        for slot, record in environment.slots.items()
    }
    return replace(environment, slots=slots)


def moved_run(run: Run, seconds: float) -> Run:
    """An open run's times in terms of the new clock: its budget and its waiting go on as before."""
    changed = {name: getattr(run, name) + seconds for name in _OF_A_RUN if getattr(run, name)}
    return replace(run, **changed)


def move(transaction: Transaction, environments: tuple[str, ...], seconds: float) -> None:
    """One pipeline's records, moved."""
    for name in environments:
        transaction.put_environment(moved_environment(transaction.environment(name), seconds))
    for run in transaction.open():
        transaction.put_run(moved_run(run, seconds))
