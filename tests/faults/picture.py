"""What a person would call the state of a world of fakes: the records, what the Engine has, and what must agree."""

from __future__ import annotations

from typing import Any

from pipeline.domain.environment import SLOTS, Environment, SlotState
from pipeline.domain.slots import slot_ref
from tests.story.conftest import World


def picture(world: World, pipeline: str = "hello") -> dict[str, Any]:
    """Everything that two histories with the same outcome have in common: no times, no attempts."""
    runs = sorted(world.store.recent(pipeline, 1000), key=lambda run: run.number)
    places = world.store.environments(pipeline)
    return {
        "runs": [(r.id, r.kind.value, r.state.value, r.outcome, r.release, r.gate, r.promoted) for r in runs],
        "ends": {run.id: len(world.events(run, "end")) for run in runs},
        "steps": {run.id: [(s.stage, s.step, s.ok) for s in run.steps] for run in runs},
        "places": {name: _place(place) for name, place in places.items()},
        "releases": [(r.number, r.commit, r.image) for r in world.store.releases(pipeline)],
        "active": {key: slot for key, slot in world.engine.active.items() if key[0] == pipeline},
        "held": {
            (p.environment, p.slot): one.spec.release
            for p, one in sorted(world.engine.contents.items(), key=str)
            if p.pipeline == pipeline
        },
        "due": world.store.due(pipeline),
    }


def _place(place: Environment) -> dict[str, Any]:
    return {
        "active": place.active,
        "slots": {slot: (r.release, r.run, r.state.value) for slot, r in sorted(place.slots.items())},
        "switching": place.switching,
        "hold": bool(place.hold),
        "quarantine": [entry.release for entry in place.quarantine],
        "good": place.good,
        "newest": place.newest_run,
        "interrupt": place.interrupt,
    }


def still_serves(world: World, pipeline: str = "hello") -> list[str]:
    """What is wrong with the traffic at this very moment: an environment that has served serves something live, or
    lets requests wait while it is exchanged for what must not run beside it."""
    wrong = []
    for place in world.store.environments(pipeline).values():
        slot = world.engine.active.get((place.pipeline, place.name))
        held = world.engine.contents.get(slot_ref(place, slot)) if slot else None
        waits = (place.pipeline, place.name) in world.engine.paused
        if place.good and not waits and (held is None or not held.alive or not held.exposed):
            wrong.append(f"{place.id} serves nothing ({slot})")
        if slot and slot not in (place.active, place.switching) and not _goes_back(place, slot):
            wrong.append(f"{place.id}: traffic on {slot}, recorded {place.active}, meant {place.switching}")
    return wrong


def _goes_back(place: Environment, slot: str) -> bool:
    """The record comes first where traffic leaves a failed slot; the proxy follows."""
    record = place.slots.get(slot)
    return record is not None and record.state == SlotState.FAILED


def at_rest(world: World, pipeline: str = "hello") -> list[str]:
    """What is wrong with a world in which nobody works: records, Engine and proxy must agree in everything."""
    wrong = still_serves(world, pipeline)
    for place in world.store.environments(pipeline).values():
        if (pipeline, place.name) in world.engine.paused:
            wrong.append(f"{place.id}: requests still wait")
        if world.engine.active.get((pipeline, place.name)) != place.active:
            wrong.append(f"{place.id}: the proxy serves another slot than {place.active}")
        if place.switching:
            wrong.append(f"{place.id}: still means to switch to {place.switching}")
        for slot in SLOTS:
            held, record = world.engine.contents.get(slot_ref(place, slot)), place.slots.get(slot)
            taken_away = (
                held is None and record and record.state == SlotState.FAILED
            )  # kept to look at, no more
            if not taken_away and (held.spec.release if held else None) != (
                record.release if record else None
            ):
                wrong.append(f"{place.id} {slot}: holds {held}, recorded {record}")
            if record and (record.state == SlotState.SERVING) != (slot == place.active):
                wrong.append(f"{place.id} {slot}: is {record.state}, and {place.active} is active")
            if record and record.state == SlotState.STARTING:
                wrong.append(f"{place.id} {slot}: is starting, and nobody starts it")
    if left := list(world.store.client.scan_iter(f"{world.settings.instance}:lease:*")):
        wrong.append(f"leases are left: {left}")
    return wrong
