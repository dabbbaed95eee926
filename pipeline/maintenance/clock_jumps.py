"""The wall clock was set: times in the store that are promised for later are moved along with it.

Deadlines are measured on the monotonic clock and are not affected. What is kept in the store (until when a slot is
warm, since when a run waits) is wall clock time, and is moved by as much as the clock was.
"""

from __future__ import annotations

from dataclasses import replace

from pipeline.domain.environment import Environment
from pipeline.domain.health import moved
from pipeline.domain.run import Run
from pipeline.domain.shifting import rule as shifting
from pipeline.domain.sleep import rule as sleeping
from pipeline.domain.watching import bake, liveness, trials
from pipeline.maintenance.damage import Damage
from pipeline.maintenance.job import Job
from pipeline.ports.clock import Clock
from pipeline.store import Store, Transaction

JUMP = 5.0  # seconds between two looks; a smaller difference is a clock that is being adjusted

_OF_A_RUN = (
    "accepted",
    "started",
    "image_ready",
    "gate_since",
    "parked",
    "after_shift_since",
    "busy_until",
    "again",
    "awaited",
)


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


class ClockJumps(Job):
    """Every keeper sees a jump (``look``); only the one that acts moves the records (``run``), the others forget it."""

    def __init__(self, store: Store, clock: Clock, damage: Damage) -> None:
        self._store, self._damage = store, damage
        self._watch = JumpWatch(clock)
        self._unmoved = 0.0  # seconds of a jump that are not in the records yet

    def look(self) -> None:
        self._unmoved += self._watch.moved()

    def forget(self) -> None:
        """Another keeper moves the records."""
        self._unmoved = 0.0

    def run(self) -> list[str]:
        moved = self._unmoved
        if not moved:
            return []

        def move_records(pipeline: str) -> tuple[str, ...]:
            names = tuple(self._store.environments(pipeline))
            self._store.transact(pipeline, lambda tx: move(tx, names, moved))
            return ()

        self._damage.each(move_records)
        self._unmoved = 0.0
        way = "forward" if moved > 0 else "back"
        return [
            f"the clock was set {way} by {abs(moved):.0f} s; slots are kept and runs wait as long as before"
        ]


def moved_environment(environment: Environment, seconds: float) -> Environment:
    """Warm and failed slots are kept as long as was promised."""
    slots = {
        slot: replace(record, until=record.until + seconds) if record.until else record
        for slot, record in environment.slots.items()
    }
    health = {slot: moved(one, seconds) for slot, one in environment.health.items()}
    down, degraded = (
        one and replace(one, since=one.since + seconds) for one in (environment.down, environment.degraded)
    )
    processes = {name: moved(one, seconds) for name, one in environment.processes.items()}
    failing = {name: replace(one, since=one.since + seconds) for name, one in environment.failing.items()}
    changed = replace(environment, slots=slots, health=health, down=down, degraded=degraded)
    failed = {number: replace(one, since=one.since + seconds) for number, one in environment.failed.items()}
    changed = replace(changed, processes=processes, failing=failing, failed=failed)
    changed = trials.moved(liveness.moved(bake.moved(changed, seconds), seconds), seconds)
    changed = shifting.moved(changed, seconds)
    return sleeping.moved(changed, seconds)


def moved_run(run: Run, seconds: float) -> Run:
    """An open run's times on the new clock: its budget, its waiting time and the age of approvals stay as they
    were."""
    changed = {name: getattr(run, name) + seconds for name in _OF_A_RUN if getattr(run, name)}
    approvals = tuple(replace(one, at=one.at + seconds) for one in run.approvals)
    return replace(run, approvals=approvals, **changed)


def move(transaction: Transaction, environments: tuple[str, ...], seconds: float) -> None:
    """Moves one pipeline's records."""
    for name in environments:
        transaction.put_environment(moved_environment(transaction.environment(name), seconds))
    for run in transaction.open():
        transaction.put_run(moved_run(run, seconds))
