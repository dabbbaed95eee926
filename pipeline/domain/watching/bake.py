"""A release is watched for a while after its switch: what ends that, and what a fault in it leads to. Pure rules.

Only what was seen counts. While nobody looks, as while the service is down, the time does not run, and what happened
before the first look after that is not held against the release. Neither is what was wrong before the switch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from pipeline.domain.environment import Bake, BakeOutcome, Environment
from pipeline.domain.health import DOWN_AFTER, LOOPS, Health
from pipeline.domain.outages import serving_down
from pipeline.domain.run import Kind, Run
from pipeline.lib.units import show_age, show_time

BY = "bake"  # who takes a release back, and who sets a hold
GAP = 30.0  # seconds between two looks, above which the time between them was not watched
GRACE = 60.0  # seconds after such a gap in which nothing is held against the release
KEPT = 50  # bakes that an environment remembers
RECENT = 3600.0  # seconds for which a kill for memory before the switch counts


@dataclass(frozen=True)
class Judgement:
    """How a bake ends. ``act``: revert, hold, tell, or "" if there is nothing to do; ``reason``: for people, without a
    full stop."""

    bake: Bake
    outcome: BakeOutcome
    act: str = ""
    reason: str = ""

    @property
    def release(self) -> int:
        return self.bake.release

    @property
    def by(self) -> str:
        return BY

    def again(self, environment: Environment) -> Judgement | None:
        """The same, by the record as it is now; None if it is over."""
        found = judged(environment)
        same = found is not None and (found.act, found.bake.since) == (self.act, self.bake.since)
        return found if same else None


# ── the record ───────────────────────────────────────────────────────────────


def switched(
    before: Environment, after: Environment, run: Run, lasts: float, on_failure: str, now: float
) -> Environment:
    """``after``, with the bake of what serves there now. A release that a revert brought is not watched: what is taken
    back by itself is taken back once."""
    changed = superseded(after, f"{run.id} came to serve", now)
    if run.kind == Kind.REVERT or lasts <= 0 or after.serving is None:
        return changed
    new = Bake(after.serving, run.number, now, lasts, on_failure, dict(_wrong_before(before, now)))
    return replace(changed, bakes=(*changed.bakes, new)[-KEPT:])


def verified(environment: Environment, run: Run, now: float) -> Environment:
    """From now on what that run brought is watched."""
    bake = environment.bake
    if bake is None or bake.run != run.number or bake.looked:
        return environment
    return _with(environment, replace(bake, looked=now))


def dropped(environment: Environment, run: Run) -> Environment:
    """The run went back after its switch, by itself: there is nothing to watch."""
    bake = environment.bake
    return (
        replace(environment, bakes=environment.bakes[:-1]) if bake and bake.run == run.number else environment
    )


def looked(environment: Environment, now: float, *, busy: bool = False, spared: float = 0.0) -> Environment:
    """Someone has just looked at what serves. ``busy``: a run, a restart or a restore is at work there, and what it
    stops is no fault of the release. ``spared``: until then nothing is held against it, since a person has taken what
    it needs out of service."""
    bake = environment.bake
    if bake is None or not bake.looked or not _serves(environment, bake):
        return environment
    passed, since = now - bake.looked, bake.from_
    gap = not 0 <= passed <= GAP
    if gap and bake.from_:  # the machine may be starting, and everything on it
        since = now + GRACE
    elif busy or not bake.from_:
        since = max(now, since)
    watched = bake.watched + (0.0 if gap or busy or spared > now else passed)
    return _with(environment, replace(bake, looked=now, from_=max(since, spared), watched=watched))


def missed(environment: Environment, now: float) -> Environment:
    """Its engine does not answer: what runs there may be starting once it does."""
    bake = environment.bake
    if bake is None or not bake.looked:
        return environment
    return _with(environment, replace(bake, looked=now, from_=now + GRACE))


def ended(
    environment: Environment, outcome: BakeOutcome, reason: str, now: float, revert: int = 0
) -> Environment:
    """The bake, if there is one, has ended."""
    bake = environment.bake
    if bake is None:
        return environment
    return _with(environment, replace(bake, outcome=outcome, reason=reason, ended=now, revert=revert))


def superseded(environment: Environment, why: str, now: float) -> Environment:
    return ended(environment, BakeOutcome.SUPERSEDED, why, now)


def moved(environment: Environment, seconds: float) -> Environment:
    """The same on a clock that was set by so much."""
    bake = environment.bake
    if bake is None:
        return environment
    changed = {
        name: getattr(bake, name) + seconds for name in ("since", "looked", "from_") if getattr(bake, name)
    }
    return _with(environment, replace(bake, **changed))


def _with(environment: Environment, bake: Bake) -> Environment:
    return replace(environment, bakes=(*environment.bakes[:-1], bake))


def _serves(environment: Environment, bake: Bake) -> bool:
    record = environment.slots.get(environment.active or "")
    return record is not None and (record.release, record.run) == (bake.release, bake.run)


# ── the judgement ────────────────────────────────────────────────────────────


def judged(environment: Environment) -> Judgement | None:
    """None while it is still watched."""
    bake = environment.bake
    if bake is None or not bake.looked:
        return None
    if not _serves(environment, bake):
        serving = environment.serving
        what = f"r{serving} serves in its place" if serving else "nothing serves there any more"
        return Judgement(bake, BakeOutcome.SUPERSEDED, "", what)
    faults = tuple(_faults(environment, bake))
    if not faults:
        over = bake.watched >= bake.lasts and _is_well(environment, bake)
        return Judgement(bake, BakeOutcome.BAKED) if over else None
    new = [text for key, text in faults if not _excuse(bake, key)]
    after = show_age(bake.looked - bake.since)
    said = f"r{bake.release} failed {after} after its switch: " + "; ".join(
        dict.fromkeys(new or [text for _, text in faults])
    )
    if new:
        return Judgement(bake, BakeOutcome.FAILED, bake.on_failure, said)
    excuse = next(filter(None, (_excuse(bake, key) for key, _ in faults)))
    return Judgement(bake, BakeOutcome.FAILED, "tell", f"{said}. It began before the switch: {excuse}")


def _faults(environment: Environment, bake: Bake) -> Iterator[tuple[str, str]]:
    """What was seen of it that is wrong: what it is wrong with (``/down``, ``worker/memory``), and in words."""
    for name, health in _known(environment, bake):
        of = f"{name}: " if name else ""
        if health.down and _was_seen(health, bake):
            yield f"{name}/down", of + health.reason
        for replica, at in health.killed.items():
            if at > bake.from_:
                yield f"{name}/memory", f"{of}{replica} ran out of memory and was killed"


def _was_seen(health: Health, bake: Bake) -> bool:
    """It has not served for a while in which someone looked, or a container was started again meanwhile."""
    again = any(one.count and one.last > bake.from_ for one in health.series.values())
    return again or bool(health.bad_since and bake.looked - max(health.bad_since, bake.from_) >= DOWN_AFTER)


def _is_well(environment: Environment, bake: Bake) -> bool:
    """A fault that has just begun is waited for."""
    known = list(_known(environment, bake))
    return bool(known) and all(one.serving and not one.down for _, one in known)


def _known(environment: Environment, bake: Bake) -> Iterator[tuple[str, Health]]:
    """What is known of the web process (its name is "") and of those beside it."""
    found = {"": environment.health.get(environment.active or ""), **environment.processes}
    for name, health in found.items():
        if health and (health.release, health.run) == (bake.release, bake.run):
            yield name, health


def _wrong_before(environment: Environment, now: float) -> Iterator[tuple[str, str]]:
    """What is wrong with what serves, before another release takes its place."""
    record = environment.slots.get(environment.active or "")
    if record is None:
        return
    down = serving_down(environment)
    if down:
        yield "/down", f"r{down.release} was down as well, since {show_time(down.since)}"
    own = (record.release, record.run)
    found = {"": environment.health.get(environment.active or ""), **environment.processes}
    for name, health in found.items():
        if health is None or (health.release, health.run) != own:
            continue
        whose = f"{name} of r{health.release}" if name else f"r{health.release}"
        told = environment.failing.get(name)
        failing = told if told and told.release == health.release else None
        if health.down or health.bad_since or health.restarts >= LOOPS or failing:
            began = [failing.since if failing else 0.0, health.down_since, health.bad_since]
            began.append(health.restarts_since)
            since = min((one for one in began if one), default=now)
            yield f"{name}/down", f"{whose} was down as well, since {show_time(since)}"
        for at in health.killed.values():
            if now - at < RECENT:
                yield f"{name}/memory", f"{whose} ran out of memory as well, at {show_time(at)}"


def _excuse(bake: Bake, key: str) -> str:
    """What was wrong before the switch already, so that going back would not help; "" if nothing was."""
    process = key.rpartition("/")[0]
    for one in ("/down", f"{process}/down", key):
        if one in bake.before:
            return bake.before[one]
    return ""
