"""A release that was taken back without a person, and whose processes end again and again in their warm slot. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from pipeline.domain.environment import Bake, BakeOutcome, Environment, Slot, SlotState, Trial, WorseOutcome
from pipeline.domain.outages import failing


def taken_back(environment: Environment) -> Iterator[tuple[Slot, int]]:
    """Each such slot, with the number of the revert. No revert goes back to it: it is in quarantine."""
    for slot, record in environment.slots.items():
        health = environment.health.get(slot)
        crashes = health is not None and health.restarts > 0 and bool(failing(environment, slot))
        revert = _revert(environment, record.release, record.run)
        if record.state == SlotState.WARM and crashes and revert:
            yield slot, revert


def _revert(environment: Environment, release: int, run: int) -> int:
    """The run that took back what that run brought there, because of a bake or a verdict; 0 if none did."""
    bakes = [(one, one.outcome == BakeOutcome.TAKEN_BACK) for one in environment.bakes]
    trials = [(one, one.outcome == WorseOutcome.TAKEN_BACK) for one in environment.trials]
    found: list[tuple[Bake | Trial, bool]] = [*bakes, *trials]
    return next((one.revert for one, back in found if back and (one.release, one.run) == (release, run)), 0)


def given_up(environment: Environment, slot: Slot, until: float) -> Environment:
    """Its slot is that of a failed release, kept for inspection until then."""
    record = replace(environment.slots[slot], state=SlotState.FAILED, until=until)
    return replace(environment, slots={**environment.slots, slot: record})
