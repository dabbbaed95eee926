"""What the engine and the proxy's checks say of one container, in words. Pure."""

from __future__ import annotations

from collections.abc import Callable

from pipeline.domain.engine_types import ProcessReplica, Replica, ReplicaHealth
from pipeline.domain.health import Seen

KILLED = 137  # the exit code of a process that SIGKILL ended
Mask = Callable[[str], str]


def of_replica(replica: Replica, checked: ReplicaHealth | None, mask: Mask) -> Seen:
    """``checked``: what the proxy's checks found, None if they know nothing of it."""
    serves = replica.state == "running" and (checked is None or checked.healthy)
    tried = bool(checked and checked.tried and replica.state == "running")
    why = _why(replica, checked, serves, mask)
    return Seen(replica.name, serves, why, replica.restarts, tried, replica.out_of_memory)


def how_it_ended(one: Replica | ProcessReplica) -> str:
    """How it ended last, or that it is paused, for people; "" if neither."""
    if one.paused:
        return f"{one.name} is paused"
    if one.out_of_memory:
        return f"{one.name} ran out of memory and was killed"
    if one.exit_code == KILLED:  # an engine may not have heard of the reason
        return f"{one.name} was killed (exit code {KILLED}), by a person or by its memory limit"
    return f"{one.name} exited with code {one.exit_code}" if one.exit_code is not None else ""


def _why(replica: Replica, checked: ReplicaHealth | None, serves: bool, mask: Mask) -> str:
    name = replica.name
    if ended := how_it_ended(replica):
        return ended
    if serves:
        return ""
    if checked and checked.said:
        return f"{name}: {mask(checked.said)}"
    return f"{name} is {replica.state}"
