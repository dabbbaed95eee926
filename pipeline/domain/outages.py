"""When an environment is down, or a process beside the web one does not stay up, and when that is over. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from pipeline.domain.environment import Down, Environment, Slot, SlotRecord, SlotState, other
from pipeline.domain.health import DEGRADED_AFTER, LOOPS, UP_AFTER, WHOLE_AFTER, Health, Seen, looked
from pipeline.domain.slots import is_warm, revert_target, target_before

WATCHED = (SlotState.SERVING, SlotState.WARM)


def observed(environment: Environment, seen: Mapping[Slot, Iterable[Seen]], now: float) -> Environment:
    """The environment after one look at its slots. Of slots that were not looked at, what was known stays; of those
    that are neither serving nor warm, nothing."""
    kept = {slot: one for slot, one in environment.health.items() if _is_about(environment, slot, one)}
    for slot, found in seen.items():
        record = environment.slots[slot]
        kept[slot] = looked(
            environment.health.get(slot), record.release, record.run, record.since, found, now
        )
    return _degraded(_judged(_marked(replace(environment, health=kept), now)), now)


def _marked(environment: Environment, now: float) -> Environment:
    """A good release that is down, while it serves or is warm, is one that no revert goes to by itself, until it was
    seen to work for a while."""
    failed = dict(environment.failed)
    for health in environment.health.values():
        release, mark = health.release, failed.get(health.release)
        if health.down and mark is None and release in environment.good:
            failed[release] = Down(release, health.down_since, health.reason)
        elif mark and _works(health) and now - max(mark.since, health.whole_since) >= UP_AFTER:
            del failed[release]
    return replace(environment, failed=failed)


def _works(health: Health) -> bool:
    return not health.down and health.whole_since > 0


def _is_about(environment: Environment, slot: Slot, health: Health) -> bool:
    record = environment.slots.get(slot)
    return (
        record is not None
        and record.state in WATCHED
        and (record.release, record.run) == (health.release, health.run)
    )


def _judged(environment: Environment) -> Environment:
    """``down`` is set while the slot that serves is down, and stays until another one, or the same, serves well."""
    health = serving_health(environment)
    if health is None:
        return environment
    if health.down and environment.down is None:
        return replace(environment, down=Down(health.release, health.down_since, health.reason))
    if environment.down and not health.down and health.serving:
        return replace(environment, down=None)
    return environment


def _degraded(environment: Environment, now: float) -> Environment:
    """``degraded`` is set once a replica has not served for a while, and stays until all have served for a while, or
    another release serves with all of its own. *Down* takes its place."""
    health, before = serving_health(environment), environment.degraded
    if health is None:
        return environment
    since = health.degraded_since
    if environment.down:
        return replace(environment, degraded=None)
    if before is None and since and now - since >= DEGRADED_AFTER:
        return replace(environment, degraded=Down(health.release, since, health.wrong))
    if before is None or not health.whole_since:
        return environment
    other = before.release != health.release
    return (
        replace(environment, degraded=None)
        if other or now - health.whole_since >= WHOLE_AFTER
        else environment
    )


def serving_health(environment: Environment) -> Health | None:
    """That of the slot that serves; None if nothing is known of it yet."""
    active = environment.active
    health = environment.health.get(active) if active else None
    return health if active and health and _is_about(environment, active, health) else None


def serving_down(environment: Environment) -> Down | None:
    """That what serves is down. ``environment.down`` may still tell of a release that it replaced, as nobody has seen
    it serve yet."""
    down, health = environment.down, serving_health(environment)
    if down and down.release == environment.serving:
        return down
    return Down(health.release, health.down_since, health.reason) if health and health.down else None


def serving_unwell(environment: Environment, now: float) -> bool:
    """Whether what serves may be about to be down: no replica serves, or one was started again just now."""
    health = serving_health(environment)
    if health is None:
        return False
    return not health.serving or any(
        one.count and now - one.last < UP_AFTER for one in health.series.values()
    )


def failing(environment: Environment, slot: Slot) -> str:
    """Why a revert to that slot would not work; "" if nothing says so."""
    health = environment.health.get(slot)
    if health is None or not _is_about(environment, slot, health):
        return ""
    return health.reason if health.down or not health.serving else ""


def what_next(environment: Environment) -> str:
    """What a person can do about a release that does not work, in commands."""
    name = f"{environment.pipeline} --app --env {environment.name}"
    target = revert_target(environment)
    slot = other(environment.active) if environment.active else ""
    if target is not None and is_warm(environment, slot, target) and failing(environment, slot):
        target = target_before(environment, target)
    back = f"`pushlive revert {environment.pipeline} --env {environment.name} --to r{target}`"
    more = f" {back} goes back." if target is not None else ""
    return f"`pushlive logs {name}` prints its output.{more}"


# ── processes beside the web one ─────────────────────────────────────────────


def processes_observed(
    environment: Environment, seen: Mapping[str, Iterable[Seen]], now: float
) -> Environment:
    """The environment after one look at the processes of what serves, by name; of those not in ``seen`` nothing is
    known any more."""
    slot = environment.slots[environment.active or ""]
    found = {name: _process_looked(environment, slot, name, one, now) for name, one in seen.items()}
    failing = dict(environment.failing)
    for name in [*failing]:
        if name not in found or _is_well(found[name], failing[name], now):
            del failing[name]
    for name, health in found.items():
        if name not in failing and (since := _failing_since(health, now)):
            failing[name] = Down(health.release, since, process_reason(health))
    return replace(environment, processes=found, failing=failing)


def _process_looked(
    environment: Environment, slot: SlotRecord, name: str, seen: Iterable[Seen], now: float
) -> Health:
    return looked(environment.processes.get(name), slot.release, slot.run, slot.since, seen, now)


def _failing_since(health: Health, now: float) -> float:
    """0 if there is nothing to tell."""
    if health.down:
        return health.down_since
    since = health.degraded_since
    return since if since and now - since >= DEGRADED_AFTER else 0.0


def _is_well(health: Health, told: Down, now: float) -> bool:
    """Another release's is well as soon as it runs; the same one's has to run for a while."""
    if health.down or not health.whole_since:
        return False
    return told.release != health.release or now - health.whole_since >= UP_AFTER


def process_known(environment: Environment, name: str) -> Health | None:
    """What is known of that process in the slot that serves."""
    slot = environment.slots.get(environment.active or "")
    health = environment.processes.get(name)
    if slot is None or health is None or (health.release, health.run) != (slot.release, slot.run):
        return None
    return health


def process_reason(health: Health) -> str:
    """What is wrong, without times; "" if nothing is."""
    said = []
    if health.serving < health.replicas:
        said.append(
            f"only {health.serving} of {health.replicas} replicas run"
            if health.serving
            else "it does not run"
        )
    if health.said:
        said.append(health.said)
    if health.restarts >= LOOPS:
        said.append(health.restarted)
    return "; ".join(said)
