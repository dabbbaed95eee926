"""Pushes that were answered against ends that were recorded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Accepted:
    """One push that was answered 2xx (by git: exit code 0). ``runs``: the runs that the answer named, if it did."""

    pipeline: str
    commit: str
    runs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ended:
    """One run as it is recorded. ``ends``: how many ends it was told to have; "" as outcome: it has none."""

    id: str
    commit: str
    outcome: str
    ends: int


def judge(
    accepted: Iterable[Accepted], recorded: Mapping[str, Iterable[Ended]], again: Mapping[str, int]
) -> tuple[list[str], list[str]]:
    """What was lost and what was doubled, each as a sentence. ``recorded``: the push runs of each pipeline;
    ``again``: how often each command was started."""
    runs = {name: tuple(found) for name, found in recorded.items()}
    lost = [text for one in accepted if (text := _lost(one, runs.get(one.pipeline, ())))]
    doubled = []
    for found in runs.values():
        doubled += [f"{run.id} ended {run.ends} times" for run in found if run.outcome and run.ends != 1]
    doubled += [f"{name} was started {times} times" for name, times in again.items() if times > 1]
    return lost, doubled


def twice_live(runs: Iterable[Ended]) -> list[str]:
    """Runs of the same commit that both went live, where every commit was pushed once."""
    seen: dict[str, str] = {}
    found = []
    for run in runs:
        if run.outcome == "live" and run.commit in seen:
            found.append(f"{run.commit[:7]} went live twice, by {seen[run.commit]} and {run.id}")
        if run.outcome == "live":
            seen[run.commit] = run.id
    return found


def _lost(one: Accepted, runs: tuple[Ended, ...]) -> str:
    mine = [run for run in runs if run.id in one.runs or (not one.runs and run.commit == one.commit)]
    if not mine:
        return f"{one.pipeline}: {one.commit[:7]} was accepted and no run is recorded"
    missing = set(one.runs) - {run.id for run in mine}
    if missing:
        return f"{min(missing)} was answered and is not recorded"
    return next((f"{run.id} has no end" for run in mine if not run.outcome), "")
