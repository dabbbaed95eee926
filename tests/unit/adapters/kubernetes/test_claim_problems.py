"""When the claims of a pod are looked at, and what is said once they are bound."""

from __future__ import annotations

from typing import Any

from pipeline.adapters.fake import FakeClock
from pipeline.adapters.kubernetes.pods.problems import Cause
from pipeline.adapters.kubernetes.workload.claim_problems import ASK_EVERY, ClaimProblems
from tests.unit.adapters.kubernetes.test_claims import NO_CLASS, UNBOUND, event, pending, unschedulable

NO_ROOM = "0/1 nodes are available: 1 Insufficient cpu."


class Api:
    namespace = "shop"

    def __init__(self, phase: str = "Pending") -> None:
        self.claim: dict[str, Any] | None = {**pending(), "status": {"phase": phase}}
        self.asked = 0

    def get(self, kind: str, name: str) -> dict[str, Any] | None:
        assert (kind, name) == ("PersistentVolumeClaim", "pl-hello-live-data")
        self.asked += 1
        return self.claim

    def events(self, kind: str, name: str) -> list[dict[str, Any]]:
        return [event("FailedBinding", NO_CLASS)]


def pod(message: str = "", **spec: Any) -> dict[str, Any]:
    volume = {"name": "volume-0", "persistentVolumeClaim": {"claimName": "pl-hello-live-data"}}
    one = unschedulable(message)
    return {**one, "spec": {"volumes": [volume], **spec}, "status": one["status"] if message else {}}


def of(api: Api, clock: FakeClock) -> ClaimProblems:
    return ClaimProblems(api, clock)  # type: ignore[arg-type]


def test_a_pod_that_only_waits_has_its_claims_looked_at_from_time_to_time() -> None:
    api, clock = Api(), FakeClock()
    problems = of(api, clock)
    assert (problems.of(pod()), api.asked) == (None, 0)  # it may just have been created
    clock.sleep(ASK_EVERY)
    for _ in range(3):
        problem = problems.of(pod())
        assert problem
        assert (problem.cause, api.asked) == (Cause.VOLUME, 1)
        assert NO_CLASS in problem.text
    clock.sleep(ASK_EVERY)
    problems.of(pod())
    assert api.asked == 2


def test_a_pod_that_says_so_has_its_claims_looked_at_at_once() -> None:
    problem = of(Api(), FakeClock()).of(pod(UNBOUND))
    assert problem
    assert NO_CLASS in problem.text


def test_once_its_claims_are_bound_a_pod_has_a_moment_to_notice() -> None:
    assert of(Api("Bound"), FakeClock()).of(pod(UNBOUND)) is None


def test_no_room_stays_no_room_if_the_claims_are_bound() -> None:
    problem = of(Api("Bound"), FakeClock()).of(pod(NO_ROOM))
    assert problem
    assert problem.cause is Cause.NO_NODE


def test_a_claim_that_is_gone_or_going_is_named() -> None:
    api = Api("Bound")
    assert api.claim
    api.claim["metadata"]["deletionTimestamp"] = "2026-11-28T07:00:00Z"
    for claim in (api.claim, None):
        api.claim = claim
        problem = of(api, FakeClock()).of(pod(UNBOUND))
        assert problem
        assert "the claim pl-hello-live-data in the namespace shop was deleted" in problem.text


def test_a_pod_on_a_node_or_without_claims_costs_no_request() -> None:
    api, clock = Api(), FakeClock()
    problems = of(api, clock)
    clock.sleep(ASK_EVERY)
    assert problems.of(pod(nodeName="node-1")) is None
    assert problems.of(unschedulable(NO_ROOM)) is not None
    assert api.asked == 0
