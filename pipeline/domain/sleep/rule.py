"""When an environment goes to sleep and wakes. Pure."""

from __future__ import annotations

from dataclasses import replace

from pipeline.domain.environment import Environment, Slot, SlotState
from pipeline.domain.sleep.records import Asleep, Idle

REQUEST = "a request"  # what has woken it, if no person and no run did


def obstacle(environment: Environment) -> str:
    """Why it cannot be put to sleep now; "" if it can. That a run is at work there is for its lease to say."""
    if environment.active is None or environment.serving is None:
        return "nothing serves there"
    if environment.asleep:
        return "it is being woken" if environment.asleep.waking else "it sleeps already"
    if environment.switching or environment.shift:
        return "its traffic is on the way to another release"
    if any(one.state == SlotState.STARTING for one in environment.slots.values()):
        return "a release starts there"
    if environment.bake:
        return f"r{environment.bake.release} is still watched after its switch (`bake`)"
    if environment.down:
        return f"r{environment.down.release} does not work, and people have to see that"
    return ""


def fallen(environment: Environment, now: float, why: str, by: str = "") -> Environment:
    """It sleeps from now on. What was only kept warm for a revert is not kept any longer."""
    release = environment.serving
    if release is None:
        return environment
    slots = {slot: one for slot, one in environment.slots.items() if one.state != SlotState.WARM}
    return replace(environment, slots=slots, asleep=Asleep(release, now, why, by), health={}, processes={})


def waking(environment: Environment, now: float, by: str) -> Environment:
    """It is being woken from now on; who began that first is kept."""
    asleep = environment.asleep
    if asleep is None or asleep.waking:
        return environment
    return replace(environment, asleep=replace(asleep, waking=now, woken=by))


def awake(environment: Environment) -> Environment:
    """Its release serves again."""
    return replace(environment, asleep=None)


def moved(environment: Environment, seconds: float) -> Environment:
    """Its times on a clock that was set."""
    asleep = environment.asleep
    if asleep is None:
        return environment
    waking = asleep.waking + seconds if asleep.waking else 0.0
    return replace(environment, asleep=replace(asleep, since=asleep.since + seconds, waking=waking))


def seen(before: Idle | None, mark: str, *, busy: bool, slot: Slot, run: int, now: float) -> Idle:
    """What is known once the engine was asked. ``busy``: a request or a connection is open. Whatever is not certain
    counts as a request: the first look, other counters, another release."""
    same = before is not None and (before.mark, before.slot, before.run) == (mark, slot, run)
    if before is None or not same or busy or before.since > now:
        return Idle(mark, now, slot, run)
    return before


def is_due(idle: Idle, environment: Environment, after: float, now: float) -> bool:
    """True if there was no request for ``after`` seconds, and its release has served at least as long."""
    record = environment.slots.get(environment.active or "")
    return record is not None and now - max(idle.since, record.since) >= after
