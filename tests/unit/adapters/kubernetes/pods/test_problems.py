"""Why a pod does not start. The messages are real ones, of containerd and cri-o."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.adapters.kubernetes.pods.problems import (
    GRACE,
    PULL_GRACE,
    Cause,
    Problem,
    deployment_problem,
    pod_problem,
)
from pipeline.adapters.kubernetes.pods.state import app_spec, has_started, is_finished, unready_added
from pipeline.errors import AppFailed, DoesNotFit, EngineFailed

DIGEST = "sha256:" + "4010403a" * 8  # digits that look like an HTTP status
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


def found(one: dict[str, Any]) -> Problem:
    said = pod_problem(one)
    assert said is not None
    return said


# ── images ───────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("message", "advice"),
    [
        (MISSING, "deploy the commit again"),
        (
            f"{AROUND}unexpected status from HEAD request to https://r/v2/x: 403 Forbidden",
            "registry denies access",
        ),
        (LOCKED, "registry denies access"),
        (
            "pull access denied, repository does not exist or may require authorization: server message: "
            "insufficient_scope: authorization failed",
            "registry denies access",
        ),
        (f"reading manifest {DIGEST} in r.example.com/x: manifest unknown", "deploy the commit again"),
        ("http: server gave HTTP response to HTTPS client", "to trust this registry"),
        (
            "tls: failed to verify certificate: x509: certificate signed by unknown authority",
            "to trust this registry",
        ),
    ],
)
def test_an_image_that_cannot_be_pulled_is_reported_at_once(message: str, advice: str) -> None:
    said = found(pod(waiting("ErrImagePull", message)))
    assert (said.kind, said.grace) == (EngineFailed, 0.0)
    assert advice in said.advice


@pytest.mark.parametrize("reason", ["ErrImagePull", "ImagePullBackOff"])
@pytest.mark.parametrize("message", [SILENT, BACK_OFF, f"Back-off pulling image {IMAGE!r}", "i/o timeout"])
def test_a_registry_that_does_not_answer_gets_time(reason: str, message: str) -> None:
    said = found(pod(waiting(reason, message)))
    assert (said.kind, said.grace) == (EngineFailed, PULL_GRACE)
    assert "nodes can reach the registry" in said.advice


def test_a_problem_keeps_its_cause_when_its_message_changes() -> None:
    first, second = (
        found(pod(waiting(r, m))) for r, m in (("ErrImagePull", SILENT), ("ImagePullBackOff", BACK_OFF))
    )
    assert first.cause == second.cause
    assert first.text == second.text


def test_a_runtimes_message_is_shown_without_its_prefixes() -> None:
    assert (
        found(pod(waiting("ErrImagePull", MISSING))).text == f"its image cannot be pulled: {IMAGE}: not found"
    )
    assert found(pod(waiting("ErrImagePull", SILENT))).text.endswith(
        "127.0.0.1:15000: connect: connection refused"
    )
    assert "OCI runtime" not in found(pod(waiting("RunContainerError", NO_COMMAND))).text


def test_an_invalid_image_name_is_reported_at_once() -> None:
    said = found(pod(waiting("InvalidImageName", f'Failed to apply default image tag "{IMAGE}x": bad')))
    assert said.grace == 0.0


# ── containers ───────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "state", [waiting("RunContainerError", NO_COMMAND), ended(128, "StartError", NO_COMMAND)]
)
def test_a_command_that_cannot_be_executed_is_an_application_error(state: dict[str, Any]) -> None:
    said = found(pod(state))
    assert (said.kind, said.grace) == (AppFailed, 0.0)
    assert (
        said.text
        == 'its command cannot be executed: exec: "/no/such": stat /no/such: no such file or directory'
    )
    assert "ENTRYPOINT" in said.advice
    assert not has_started(pod(state))


@pytest.mark.parametrize(
    "message", [ROOT, ROOT.replace("will run as root", "has non-numeric user (app), cannot")]
)
def test_strict_with_a_root_image_is_an_application_error_at_once(message: str) -> None:
    said = found(pod(waiting("CreateContainerConfigError", message)))
    assert (said.kind, said.grace) == (AppFailed, 0.0)
    assert "`USER 10001`" in said.advice
    assert "28fd106b" not in said.text


def test_too_little_memory_to_start_is_an_application_error() -> None:
    said = found(
        pod(waiting("RunContainerError", "container init was OOM-killed (memory limit too low?): unknown"))
    )
    assert said.kind is AppFailed
    assert "`memory`" in said.advice


@pytest.mark.parametrize(
    "message", ['secret "x" not found', "failed to sync configmap cache: timed out waiting for the condition"]
)
def test_a_failure_of_the_node_is_an_engine_error_and_gets_time(message: str) -> None:
    said = found(pod(waiting("CreateContainerConfigError", message)))
    assert said.kind is EngineFailed
    assert said.grace >= GRACE


@pytest.mark.parametrize(
    ("one", "wait", "previous"),
    [
        (pod(ended(3)), 0.0, False),
        (pod(waiting("CrashLoopBackOff", "back-off 10s restarting failed container"), ended(3)), 0.0, True),
        (pod({"running": {}}, ended(3)), GRACE, True),
    ],
)
def test_an_exit_is_explained_by_the_output_of_the_container_that_ended(
    one: dict[str, Any], wait: float, previous: bool
) -> None:
    said = found(one)
    assert said.text == "it exited with code 3"
    assert (said.kind, said.grace, said.previous) == (AppFailed, wait, previous)
    assert has_started(one)


def test_exit_code_0_and_running_out_of_memory_have_their_own_advice() -> None:
    assert "foreground" in found(pod(ended(0, "Completed"))).advice
    said = found(pod(ended(137, "OOMKilled")))
    assert "ran out of memory (exit code 137)" in said.text
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
def test_a_pod_that_may_still_come_up_has_no_problem(one: dict[str, Any]) -> None:
    assert pod_problem(one) is None


# ── pods ─────────────────────────────────────────────────────────────────────


def test_a_pod_without_a_node_is_explained_by_the_schedulers_message() -> None:
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": NO_ROOM}
    said = found({"metadata": {"name": "p"}, "status": {"phase": "Pending", "conditions": [condition]}})
    assert said.text == "no node has room for it: 0/1 nodes are available: 1 Insufficient cpu"
    assert said.kind is DoesNotFit


def test_an_evicted_pod_is_an_engine_error_and_is_finished() -> None:
    one = pod(ended(137), phase="Failed", reason="Evicted", message="The node was low on resource: memory. ")
    said = found(one)
    assert (said.kind, said.text) == (
        EngineFailed,
        "the cluster ended it (Evicted): The node was low on resource: memory",
    )
    assert is_finished(one)


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
        ("admission webhook said no", EngineFailed, "A rule of the cluster"),
    ],
)
def test_each_reason_why_no_pod_can_be_created_has_its_own_error(
    message: str, kind: type[Exception], advice: str
) -> None:
    whole = f'pods "hello-live-blue-859697b7bb-h8jwd" is forbidden: {message}'
    condition = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": whole}
    said = deployment_problem({"metadata": {"name": "d"}, "status": {"conditions": [condition]}})
    assert said is not None
    assert (said.kind, said.cause) == (kind, Cause.NOT_CREATED)
    assert message.rstrip(".") in said.text
    assert advice in said.advice


def test_a_deployment_that_progresses_has_no_problem() -> None:
    conditions = [{"type": "Progressing", "status": "True"}, {"type": "ReplicaFailure", "status": "False"}]
    assert deployment_problem({"metadata": {"name": "d"}, "status": {"conditions": conditions}}) is None
    assert deployment_problem({"metadata": {"name": "d"}}) is None


def test_a_problem_becomes_an_error_of_its_kind_with_evidence() -> None:
    for one in (pod(ended(3)), pod(waiting("ErrImagePull", MISSING))):
        said = found(one)
        error = said.error(("last words",))
        assert type(error) is said.kind
        assert str(error).startswith(f"p: {said.text}. ")
        assert error.evidence == ("last words",)  # type: ignore[attr-defined]


# ── containers that the cluster added ────────────────────────────────────────


def with_added(added: dict[str, Any], app: dict[str, Any], key: str = "containerStatuses") -> dict[str, Any]:
    statuses = {"containerStatuses": [{"name": "app", **app}]}
    statuses[key] = [{"name": "proxy", **added}, *statuses.get(key, [])]
    return {"metadata": {"name": "hello-live-blue-1"}, "status": {"phase": "Pending", **statuses}}


RUNNING = {"state": {"running": {}}, "ready": True}
ENDED = {"terminated": {"exitCode": 3, "reason": "Error"}}


@pytest.mark.parametrize("key", ["containerStatuses", "initContainerStatuses"])
@pytest.mark.parametrize(
    ("added", "said"),
    [
        ({"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": ENDED}, "it exited with code 3"),
        (
            {"state": {"waiting": {"reason": "ErrImagePull", "message": MISSING}}},
            "its image cannot be pulled",
        ),
    ],
)
def test_a_container_that_the_cluster_added_is_named_and_the_application_is_not_blamed(
    key: str, added: dict[str, Any], said: str
) -> None:
    problem = pod_problem(with_added(added, RUNNING, key))
    assert problem is not None
    assert problem.text.startswith(f"the container proxy, which the cluster added: {said}")
    assert problem.kind is EngineFailed
    assert problem.grace >= GRACE
    assert "kubectl logs hello-live-blue-1 -c proxy" in problem.advice


def test_the_applications_own_problem_comes_first() -> None:
    problem = pod_problem(with_added({"state": ENDED}, {"state": ENDED}))
    assert problem is not None
    assert problem.kind is AppFailed


def test_an_added_container_that_has_done_its_work_is_no_problem() -> None:
    done = {"state": {"terminated": {"exitCode": 0, "reason": "Completed"}}, "ready": True}
    assert pod_problem(with_added(done, RUNNING, "initContainerStatuses")) is None


def test_a_ready_application_beside_a_container_that_is_not_is_told_apart() -> None:
    waits = {"state": {"running": {}}, "ready": False}
    assert unready_added(with_added(waits, RUNNING)) == "proxy"
    assert unready_added(with_added(waits, waits)) == ""
    assert unready_added(with_added(RUNNING, RUNNING)) == ""


def test_the_applications_container_is_found_wherever_it_is_in_the_list() -> None:
    assert app_spec({"containers": [{"name": "proxy"}, {"name": "app", "image": "x"}]})["image"] == "x"
    assert app_spec({"containers": [{"image": "y"}]})["image"] == "y"
