"""Whether a run may enter an environment: gates, holds, quarantine and the order of runs. Pure rules."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from pipeline.config.models import Pipeline
from pipeline.domain.environment import Environment, Hold, Quarantined
from pipeline.domain.release import Release
from pipeline.domain.run import Kind, Run, State
from pipeline.domain.slots import _pair
from pipeline.errors import Superseded


def refuse_overtaken(environment: Environment, run: Run, open_runs: Iterable[Run] = ()) -> None:
    """Forward only: raises Superseded where a newer run serves here already. Of the open ones also one that began to
    switch and was not verified yet: its worker died, and another takes it up."""
    if run.kind == Kind.REVERT:
        return
    traffic = (environment.active, environment.switching)
    moved = {record.run for slot, record in environment.slots.items() if slot in traffic}
    at_it = (one.number for one in open_runs if one.kind != Kind.REVERT and one.number in moved)
    newer = next((number for number in (environment.newest_run, *at_it) if number > run.number), 0)
    if newer:
        raise Superseded(f"{run.pipeline}#{newer} is newer and serves {environment.name} already.")


@dataclass(frozen=True)
class Gate:
    """Why a run has to wait, and the command that lets it go on."""

    why: str
    command: str


def gate(pipeline: Pipeline, environment: Environment, run: Run) -> Gate | None:
    """What keeps the run out of this environment until a person acts, or None."""
    if run.kind == Kind.REVERT:
        return None
    if environment.hold:
        why = f"{environment.name} is held: {environment.hold.reason} (by {environment.hold.by})"
        return Gate(why, "resume")
    if environment.name in run.promoted or pipeline.environment(environment.name).promote == "auto":
        return None
    return Gate(f"{environment.name} is entered by hand", "promote")


def quarantined(environment: Environment, release: Release) -> Quarantined | None:
    """The entry that forbids this release here; a corrected configuration or a new image is another pair."""
    pair = _pair(environment, release)
    return next((q for q in environment.quarantine if (q.image, q.fingerprint) == pair), None)


def with_quarantine(environment: Environment, release: Release, reason: str, now: float) -> Environment:
    """The environment with that release's pair in quarantine (once)."""
    if quarantined(environment, release):
        return environment
    entry = Quarantined(*_pair(environment, release), release.number, reason, now)
    return replace(environment, quarantine=(*environment.quarantine, entry))


def interrupted(environment: Environment, run: Run, open_runs: Iterable[Run]) -> bool:
    """True when another run, one that still goes on, is to revert this environment."""
    number = environment.interrupt
    return number not in (0, run.number) and any(other.number == number for other in open_runs)


def hold(environment: Environment, reason: str, by: str, now: float) -> Environment:
    return replace(environment, hold=Hold(reason, by, now))


def waiting_at(runs: tuple[Run, ...], gate_name: str) -> tuple[Run, ...]:
    """Runs that wait before that environment, oldest first."""
    return tuple(run for run in runs if run.state == State.WAITING and run.gate == gate_name)
