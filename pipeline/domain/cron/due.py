"""Which run is due. Pure rules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pipeline.config.workload.processes import Process
from pipeline.domain.cron.records import CronEntry, CronOutcome, CronRun, CronState

GRACE = 90.0  # seconds after which a time that nothing ran at was missed: a keeper's round may take long


@dataclass(frozen=True)
class Decision:
    """``state``: what to record; its ``running`` is to be started if that differs. ``ends``: the run that gives way.
    ``entries``: what did not take place."""

    state: CronState
    ends: CronRun | None = None
    entries: tuple[CronEntry, ...] = ()


def decide(state: CronState, process: Process, times: Sequence[float], now: float) -> Decision:
    """``times``: those of the schedule since ``state.since``, up to now."""
    if not times:
        if state.running is None and state.waiting:
            return Decision(replace(state, running=_run(state.waiting, process), waiting=0.0))
        return Decision(state)
    last = times[-1]
    on_time = now - last <= GRACE
    missed = times[:-1] if on_time else times
    entries = []
    if missed:
        said = "nothing ran at that time" if on_time else "the service did not run at that time"
        entries.append(CronEntry(missed[-1], CronOutcome.MISSED, ended=now, said=said, count=len(missed)))
    after = replace(state, since=last)
    if not on_time and process.missed == "skip":
        return Decision(after, entries=tuple(entries))
    return _start(after, process, last, now, tuple(entries))


def _start(
    state: CronState, process: Process, at: float, now: float, entries: tuple[CronEntry, ...]
) -> Decision:
    wanted = _run(at, process)
    if state.running is None:
        return Decision(replace(state, running=wanted), entries=entries)
    if process.overlap == "replace":
        return Decision(replace(state, running=wanted, waiting=0.0), state.running, entries)
    if process.overlap == "queue" and not state.waiting:
        return Decision(replace(state, waiting=at), entries=entries)
    said = "the run before it was still at work" + (", and another one waits" if state.waiting else "")
    skipped = CronEntry(at, CronOutcome.SKIPPED, ended=now, said=said)
    return Decision(state, entries=(*entries, skipped))


def _run(at: float, process: Process) -> CronRun:
    return CronRun(at, process.timeout)
