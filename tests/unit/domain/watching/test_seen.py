"""What a look at a container says in words."""

from __future__ import annotations

from dataclasses import replace

from pipeline.domain.engine_types import Replica, ReplicaHealth
from pipeline.domain.watching.seen import of_replica

ONE = Replica("live-1", "10.0.0.2", 8080, 1, "running")


def said(replica: Replica) -> str:
    checked = ReplicaHealth("live-1", replica.state == "running", 0.0, "it does not answer")
    return of_replica(replica, checked, str).said


def test_a_paused_container_is_not_said_to_have_exited() -> None:
    assert said(ONE) == ""
    assert said(replace(ONE, state="exited", exit_code=0)) == "live-1 exited with code 0"
    assert said(replace(ONE, state="starting", paused=True)) == "live-1 is paused"
    assert said(replace(ONE, state="starting", exit_code=1, restarts=2, paused=True)) == "live-1 is paused"
