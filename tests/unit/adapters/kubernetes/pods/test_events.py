"""What the cluster's events say about a pod. The messages are real ones, of containerd."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.adapters.kubernetes.pods.events import (
    PodWarning,
    ProbeFailure,
    is_scaling_up,
    last_probe_failure,
    refused_connections,
    telling_probe_failure,
    warnings,
)

IMAGE = f"localhost:15000/hello@sha256:{'4010403a' * 8}"
MISSING = (
    f'rpc error: code = NotFound desc = failed to pull and unpack image "{IMAGE}": '
    f'failed to resolve reference "{IMAGE}": {IMAGE}: not found'
)


def texts(found: tuple[PodWarning, ...]) -> tuple[str, ...]:
    return tuple(one.text for one in found)


def event(reason: str, message: str, kind: str = "Warning", **more: Any) -> dict[str, Any]:
    return {"type": kind, "reason": reason, "message": message, **more}


def test_warnings_are_listed_once_and_without_those_that_say_nothing() -> None:
    events = [
        event("Scheduled", "Successfully assigned", "Normal"),
        event("Unhealthy", "Readiness probe failed: connection refused", count=3),
        event("Failed", f'Failed to pull image "{IMAGE}": {MISSING}'),
        event("Failed", "Error: ErrImagePull"),
        event("FailedScheduling", "0/1 nodes", series={"count": 2}),
    ]
    assert texts(warnings(events)) == (
        "Unhealthy: Readiness probe failed: connection refused (×3)",
        f"Failed: {IMAGE}: not found",
        "FailedScheduling: 0/1 nodes (×2)",
    )
    assert texts(warnings(events, without=("Unhealthy", "Failed"))) == ("FailedScheduling: 0/1 nodes (×2)",)


def test_the_last_probe_failure_is_found_and_the_last_answer_says_most() -> None:
    events = [
        event("Unhealthy", "Readiness probe failed: connection refused"),
        event("Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 500"),
        event("Pulled", "there"),
    ]
    answer = ProbeFailure("HTTP probe failed with statuscode: 500", refused=False, count=1)
    refused = ProbeFailure("connection refused", refused=True, count=1)
    assert last_probe_failure(events) == telling_probe_failure(events) == answer
    assert last_probe_failure([*events, events[0]]) == refused
    assert telling_probe_failure([*events, events[0]]) == answer
    assert telling_probe_failure(events[:1]) == refused
    assert last_probe_failure([]) is telling_probe_failure([]) is None


def test_refused_connections_are_counted_by_how_often_they_were_reported() -> None:
    refused = event("Unhealthy", "Readiness probe failed: connection refused", count=3)
    answered = event("Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 500", count=9)
    assert refused_connections([refused, answered, event("Failed", "connection refused")]) == 3


@pytest.mark.parametrize("reason", ["TriggeredScaleUp", "Nominated"])
def test_a_cluster_that_adds_a_node_is_scaling_up(reason: str) -> None:
    assert is_scaling_up([event(reason, "pod triggered scale-up", "Normal")])
    assert not is_scaling_up([event("FailedScheduling", "0/1 nodes")])
