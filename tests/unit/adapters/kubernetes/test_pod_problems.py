"""What a cluster says of pods that do not start, told apart: the messages are real ones, of containerd and cri-o."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.adapters.kubernetes import pod_problems as trouble
from pipeline.errors import AppFailed, DoesNotFit, EngineFailed

DIGEST = "sha256:" + "4010403a" * 8  # figures that look like a status
IMAGE = f"localhost:15000/hello@{DIGEST}"
AROUND = f'failed to pull and unpack image "{IMAGE}": failed to resolve reference "{IMAGE}": '
MISSING = f"rpc error: code = NotFound desc = {AROUND}{IMAGE}: not found"
LOCKED = f"{AROUND}pulling from host localhost:15000 failed with status code [manifests {DIGEST}]: 401 Unauthorized"
SILENT = (
    f'{AROUND}failed to do request: Head "http://localhost:15000/v2/hello/manifests/{DIGEST}": '
    "dial tcp 127.0.0.1:15000: connect: connection refused"
)
BACK_OFF = f'Back-off pulling image "{IMAGE}": ErrImagePull: {SILENT}'
NO_COMMAND = (
    "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: "
    'unable to start container process: exec: "/no/such": stat /no/such: no such file or directory: unknown'
)
ROOT = (
    "container has runAsNonRoot and image will run as root "
    '(pod: "hello-live-blue-7d75ff9f6c-66mn7_shop(28fd106b-6b02-4636-a793-c6e180bc8f7a)", container: app)'
)
NO_ROOM = (
    "0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, preemption: 0/1 nodes are available: "
    "1 Preemption is not helpful for scheduling."
)


def pod(
    state: dict[str, Any] | None = None, last: dict[str, Any] | None = None, **status: Any
) -> dict[str, Any]:
    container = {"name": "app", "state": state or {}, "lastState": last or {}, "image": IMAGE}
    return {"metadata": {"name": "p"}, "status": {"containerStatuses": [container], **status}}


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    return {"waiting": {"reason": reason, "message": message}}


def ended(code: int, reason: str = "Error", message: str = "") -> dict[str, Any]:
    return {"terminated": {"exitCode": code, "reason": reason, "message": message}}


def found(one: dict[str, Any]) -> trouble.Trouble:
    said = trouble.of_pod(one)
    assert said is not None
    return said


# ── images ───────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("message", "advice"),
    [
        (MISSING, "deploy the commit again"),
        (
            f"{AROUND}unexpected status from HEAD request to https://r/v2/x: 403 Forbidden",
            "registry refuses it",
        ),
        (LOCKED, "registry refuses it"),
        (
            "pull access denied, repository does not exist or may require authorization: server message: "
            "insufficient_scope: authorization failed",
            "registry refuses it",
        ),
        (f"reading manifest {DIGEST} in r.example.com/x: manifest unknown", "deploy the commit again"),
        ("http: server gave HTTP response to HTTPS client", "has to know this registry"),
        ("tls: failed to verify certificate: x509: certificate signed by unknown authority", "trust it"),
    ],
)
def test_an_image_that_will_not_come_is_said_at_once(message: str, advice: str) -> None:
    said = found(pod(waiting("ErrImagePull", message)))
    assert (said.kind, said.wait) == (EngineFailed, 0.0)
    assert advice in said.advice


@pytest.mark.parametrize("reason", ["ErrImagePull", "ImagePullBackOff"])
@pytest.mark.parametrize("message", [SILENT, BACK_OFF, f"Back-off pulling image {IMAGE!r}", "i/o timeout"])
def test_a_registry_that_does_not_answer_may_yet(reason: str, message: str) -> None:
    said = found(pod(waiting(reason, message)))
    assert (said.kind, said.wait) == (EngineFailed, trouble.PULL)
    assert "answers from the cluster's nodes" in said.advice


def test_it_is_one_trouble_however_its_text_changes() -> None:
    first, second = (
        found(pod(waiting(r, m))) for r, m in (("ErrImagePull", SILENT), ("ImagePullBackOff", BACK_OFF))
    )
    assert first.cause == second.cause
    assert first.text == second.text


def test_a_message_is_what_the_runtime_means_without_what_it_is_wrapped_in() -> None:
    assert (
        found(pod(waiting("ErrImagePull", MISSING))).text == f"its image cannot be pulled: {IMAGE}: not found"
    )
    assert found(pod(waiting("ErrImagePull", SILENT))).text.endswith(
        "127.0.0.1:15000: connect: connection refused"
    )
    assert "OCI runtime" not in found(pod(waiting("RunContainerError", NO_COMMAND))).text


def test_a_name_that_is_none_is_said_at_once() -> None:
    said = found(pod(waiting("InvalidImageName", f'Failed to apply default image tag "{IMAGE}x": bad')))
    assert said.wait == 0.0


# ── containers ───────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "state", [waiting("RunContainerError", NO_COMMAND), ended(128, "StartError", NO_COMMAND)]
)
def test_a_command_that_cannot_be_executed_is_the_applications(state: dict[str, Any]) -> None:
    said = found(pod(state))
    assert (said.kind, said.wait) == (AppFailed, 0.0)
    assert (
        said.text
        == 'its command cannot be executed: exec: "/no/such": stat /no/such: no such file or directory'
    )
    assert "ENTRYPOINT" in said.advice
    assert not trouble.has_begun(pod(state))


@pytest.mark.parametrize(
    "message", [ROOT, ROOT.replace("will run as root", "has non-numeric user (app), cannot")]
)
def test_strict_and_root_are_the_applications_and_said_at_once(message: str) -> None:
    said = found(pod(waiting("CreateContainerConfigError", message)))
    assert (said.kind, said.wait) == (AppFailed, 0.0)
    assert "`USER 10001`" in said.advice
    assert "28fd106b" not in said.text


def test_too_little_memory_to_begin_with_is_the_applications() -> None:
    said = found(
        pod(waiting("RunContainerError", "container init was OOM-killed (memory limit too low?): unknown"))
    )
    assert said.kind is AppFailed
    assert "`memory`" in said.advice


@pytest.mark.parametrize(
    "message", ['secret "x" not found', "failed to sync configmap cache: timed out waiting for the condition"]
)
def test_what_the_node_does_not_get_done_is_ours_and_may_pass(message: str) -> None:
    said = found(pod(waiting("CreateContainerConfigError", message)))
    assert said.kind is EngineFailed
    assert said.wait >= trouble.SOON


@pytest.mark.parametrize(
    ("one", "wait", "previous"),
    [
        (pod(ended(3)), 0.0, False),
        (pod(waiting("CrashLoopBackOff", "back-off 10s restarting failed container"), ended(3)), 0.0, True),
        (pod({"running": {}}, ended(3)), trouble.SOON, True),
    ],
)
def test_an_exit_is_said_with_the_output_of_the_container_that_ended(
    one: dict[str, Any], wait: float, previous: bool
) -> None:
    said = found(one)
    assert said.text == "it exited with code 3"
    assert (said.kind, said.wait, said.previous) == (AppFailed, wait, previous)
    assert trouble.has_begun(one)


def test_an_exit_in_peace_and_one_for_want_of_memory_have_their_own_advice() -> None:
    assert "foreground" in found(pod(ended(0, "Completed"))).advice
    said = found(pod(ended(137, "OOMKilled")))
    assert "want of memory (exit code 137)" in said.text
    assert "`memory`" in said.advice


@pytest.mark.parametrize(
    "one",
    [
        pod(),
        pod(waiting("ContainerCreating")),
        pod(waiting("PodInitializing")),
        pod({"running": {"startedAt": "2026-11-25T16:15:24Z"}}),
        {"metadata": {"name": "p"}},
    ],
)
def test_what_may_yet_come_up_is_no_trouble(one: dict[str, Any]) -> None:
    assert trouble.of_pod(one) is None


# ── pods ─────────────────────────────────────────────────────────────────────


def test_want_of_room_is_said_in_the_schedulers_words() -> None:
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": NO_ROOM}
    said = found({"metadata": {"name": "p"}, "status": {"phase": "Pending", "conditions": [condition]}})
    assert said.text == "no node has room for it: 0/1 nodes are available: 1 Insufficient cpu"
    assert said.kind is DoesNotFit


def test_an_evicted_pod_is_the_clusters_and_another_is_made_in_its_place() -> None:
    one = pod(ended(137), phase="Failed", reason="Evicted", message="The node was low on resource: memory. ")
    said = found(one)
    assert (said.kind, said.text) == (
        EngineFailed,
        "the cluster ended it (Evicted): The node was low on resource: memory",
    )
    assert trouble.is_over(one)


@pytest.mark.parametrize(
    ("message", "kind", "advice"),
    [
        (
            "exceeded quota: small, requested: limits.memory=33554432, used: limits.memory=0, limited: …",
            DoesNotFit,
            "quota",
        ),
        ("failed quota: small: must specify limits.ephemeral-storage for: app", DoesNotFit, "quota"),
        ("maximum memory usage per Container is 16Mi, but limit is 33554432", DoesNotFit, "LimitRange"),
        ("minimum memory usage per Container is 64Mi, but request is 33554432", DoesNotFit, "LimitRange"),
        (
            'violates PodSecurity "restricted:latest": runAsNonRoot != true (pod or container "app" must set …)',
            EngineFailed,
            "`security: strict`",
        ),
        ("admission webhook said no", EngineFailed, "the cluster's own rules".capitalize()),
    ],
)
def test_pods_that_may_not_be_made_are_told_apart(message: str, kind: type[Exception], advice: str) -> None:
    whole = f'pods "hello-live-blue-859697b7bb-h8jwd" is forbidden: {message}'
    condition = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": whole}
    said = trouble.of_deployment({"metadata": {"name": "d"}, "status": {"conditions": [condition]}})
    assert said is not None
    assert (said.kind, said.cause) == (kind, trouble.REFUSED)
    assert message.rstrip(".") in said.text
    assert advice in said.advice


def test_a_deployment_that_goes_its_way_is_no_trouble() -> None:
    conditions = [{"type": "Progressing", "status": "True"}, {"type": "ReplicaFailure", "status": "False"}]
    assert trouble.of_deployment({"metadata": {"name": "d"}, "status": {"conditions": conditions}}) is None
    assert trouble.of_deployment({"metadata": {"name": "d"}}) is None


# ── events ───────────────────────────────────────────────────────────────────


def event(reason: str, message: str, kind: str = "Warning", **more: Any) -> dict[str, Any]:
    return {"type": kind, "reason": reason, "message": message, **more}


def test_events_are_told_as_lines_once_and_without_what_says_nothing() -> None:
    events = [
        event("Scheduled", "Successfully assigned", "Normal"),
        event("Unhealthy", "Readiness probe failed: connection refused", count=3),
        event("Failed", f'Failed to pull image "{IMAGE}": {MISSING}'),
        event("Failed", "Error: ErrImagePull"),
        event("FailedScheduling", "0/1 nodes", series={"count": 2}),
    ]
    assert trouble.told(events) == (
        "Unhealthy: Readiness probe failed: connection refused (×3)",
        f"Failed: {IMAGE}: not found",
        "FailedScheduling: 0/1 nodes (×2)",
    )
    assert trouble.told(events, without=("Unhealthy", "Failed")) == ("FailedScheduling: 0/1 nodes (×2)",)


def test_the_last_word_of_the_readiness_probe_counts() -> None:
    events = [
        event("Unhealthy", "Readiness probe failed: connection refused"),
        event("Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 500"),
        event("Pulled", "there"),
    ]
    assert trouble.unready(events) == "HTTP probe failed with statuscode: 500"
    assert trouble.unready([]) == ""


@pytest.mark.parametrize("reason", ["TriggeredScaleUp", "Nominated"])
def test_a_cluster_that_adds_a_node_is_waited_for(reason: str) -> None:
    assert trouble.makes_room([event(reason, "pod triggered scale-up", "Normal")])
    assert not trouble.makes_room([event("FailedScheduling", "0/1 nodes")])


def test_an_error_is_of_its_kind_and_carries_its_evidence() -> None:
    for one in (pod(ended(3)), pod(waiting("ErrImagePull", MISSING))):
        said = found(one)
        error = said.error(("last words",))
        assert type(error) is said.kind
        assert str(error).startswith(f"p: {said.text}. ")
        assert error.evidence == ("last words",)  # type: ignore[attr-defined]
