"""Who may go where: slots, gates, holds, quarantine and the order of runs. Pure rules."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from pipeline.config.models import Pipeline
from pipeline.errors import Superseded
from pipeline.model import (
    Environment,
    Hold,
    Kind,
    Place,
    Quarantined,
    Release,
    Run,
    Slot,
    SlotRecord,
    SlotSpec,
    SlotState,
    State,
    other,
)


def place_of(environment: Environment, slot: Slot) -> Place:
    return Place(environment.pipeline, environment.name, environment.index, slot, environment.engine)


def spec_of(place: Place, release: Release, run: int, secrets: dict[str, int] | None = None) -> SlotSpec:
    """That release in that slot, as the engine is told. ``secrets``: the versions, where the slot has others than
    the release's own."""
    config = release.environments[place.environment]
    versions = release.secrets.get(place.environment, {}) if secrets is None else secrets
    return SlotSpec(
        place, release.number, run, release.commit, release.image, config, versions, remote=release.remote
    )


def slot_for(environment: Environment, run: Run, release: int) -> Slot:
    """The slot this run uses: the one that serves the release already, the one it used before a crash, or the
    idle one (where the release may be warm)."""
    if environment.active and environment.serving == release:
        return environment.active
    for slot, record in environment.slots.items():
        if record.run == run.number and record.release == release and record.state != SlotState.FAILED:
            return slot
    return other(environment.active) if environment.active else "blue"


def mark_of(record: SlotRecord) -> str:
    """Names the switch that took the traffic away from that slot (``Engine.detach``)."""
    return f"{record.run}-{record.since:.3f}"


def switched(environment: Environment, run: Run, slot: Slot) -> bool:
    """True when this run's switch was recorded already (it is being taken up again after a crash)."""
    record = environment.slots.get(slot)
    return environment.active == slot and record is not None and record.run == run.number


def unfinished(environment: Environment, run: Run) -> bool:
    """True when this run began something here that was not verified: a slot taken, or traffic moved."""
    verified_here = any(s.stage == environment.name and s.step == "verify" and s.ok for s in run.steps)
    mine = [slot for slot, record in environment.slots.items() if record.run == run.number]
    begun = [slot for slot in mine if environment.slots[slot].state == SlotState.STARTING]
    return bool(begun) or (environment.active in mine and not verified_here)


def is_warm(
    environment: Environment, slot: Slot, release: int, secrets: dict[str, int] | None = None
) -> bool:
    """True where the slot holds that release, ready to serve; with those versions of its secrets, if given."""
    record = environment.slots.get(slot)
    same = record is not None and record.state == SlotState.WARM and record.release == release
    return same and (secrets is None or (record is not None and record.secrets == secrets))


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


def starting(environment: Environment, slot: Slot, run: Run, spec: SlotSpec, now: float) -> Environment:
    """The slot is taken by this run, for what the spec says."""
    record = SlotRecord(spec.release, run.number, SlotState.STARTING, now, secrets=spec.secrets)
    return replace(environment, slots={**environment.slots, slot: record})


def serving(environment: Environment, slot: Slot, run: Run, now: float, keep_warm: float) -> Environment:
    """The switch has happened: the slot serves, the other one is warm."""
    slots = dict(environment.slots)
    slots[slot] = replace(slots[slot], state=SlotState.SERVING, since=now, until=0.0, run=run.number)
    old = other(slot)
    if environment.active == old and old in slots:
        slots[old] = replace(slots[old], state=SlotState.WARM, since=now, until=now + keep_warm)
    return replace(environment, active=slot, slots=slots, switching=None)


def interrupted(environment: Environment, run: Run, open_runs: Iterable[Run]) -> bool:
    """True when another run, one that still goes on, is to revert this environment."""
    number = environment.interrupt
    return number not in (0, run.number) and any(other.number == number for other in open_runs)


def verified(environment: Environment, release: Release, run: Run) -> Environment:
    """The release is good here: what a later revert goes back to, and what nothing older follows."""
    good = (*(number for number in environment.good if number != release.number), release.number)[-50:]
    pairs = {number: pair for number, pair in environment.pairs.items() if number in good}
    pairs[release.number] = _pair(environment, release)
    newest = environment.newest_run if run.kind == Kind.REVERT else max(environment.newest_run, run.number)
    interrupt = _cleared(environment, run)
    return replace(environment, good=good, pairs=pairs, newest_run=newest, interrupt=interrupt)


def _pair(environment: Environment, release: Release) -> tuple[str, str]:
    return release.image, release.fingerprint(environment.name)


def switched_back(environment: Environment, slot: Slot, run: Run, now: float, keep: float) -> Environment:
    """The verification failed after the switch: the old slot serves again, or nothing does."""
    slots = dict(environment.slots)
    slots[slot] = replace(slots[slot], state=SlotState.FAILED, since=now, until=now + keep)
    old = other(slot)
    back = old if old in slots and slots[old].state == SlotState.WARM else None
    if back:
        slots[back] = replace(slots[back], state=SlotState.SERVING, since=now, until=0.0)
    interrupt = _cleared(environment, run)
    return replace(environment, active=back, slots=slots, switching=None, interrupt=interrupt)


def failed(environment: Environment, slot: Slot, run: Run, now: float, keep: float) -> Environment:
    """The slot is kept for inspection for ``keep`` seconds, unless it serves or belongs to somebody else."""
    record = environment.slots.get(slot)
    cleared = replace(environment, switching=None, interrupt=_cleared(environment, run))
    if record is None or record.run != run.number or environment.active == slot:
        return cleared
    kept = replace(record, state=SlotState.FAILED, since=now, until=now + keep)
    return replace(cleared, slots={**environment.slots, slot: kept})


def _cleared(environment: Environment, run: Run) -> int:
    return 0 if environment.interrupt == run.number else environment.interrupt


def revert_target(environment: Environment) -> int | None:
    """The newest release that was good here before the one that serves; never one with the image and configuration
    of that one, or of one in quarantine."""
    serving_now = environment.serving
    bad = {(entry.image, entry.fingerprint) for entry in environment.quarantine}
    if serving_now in environment.pairs:
        bad.add(environment.pairs[serving_now])
    before = environment.good
    if serving_now in before:
        before = before[: before.index(serving_now)]
    candidates = [number for number in before if environment.pairs.get(number) not in bad]
    return candidates[-1] if candidates else None


def hold(environment: Environment, reason: str, by: str, now: float) -> Environment:
    return replace(environment, hold=Hold(reason, by, now))


def waiting_at(runs: tuple[Run, ...], gate_name: str) -> tuple[Run, ...]:
    """Runs that wait before that environment, oldest first."""
    return tuple(run for run in runs if run.state == State.WAITING and run.gate == gate_name)
