"""Which refusals to create a command's pod are explained as a problem, and which are passed on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.adapters.fake import FakeClock
from pipeline.adapters.kubernetes import command_pod
from pipeline.adapters.kubernetes.api.client import Refused, connect
from pipeline.adapters.kubernetes.api.kube_api import KubeApi
from pipeline.errors import DoesNotFit
from pipeline.ports.clock import Deadline
from tests.support.apiserver import Answer, serving, status

NAME = "hello-live-r1-release-1"
POD = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": NAME}}


def run(
    message: str, details: dict[str, Any], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> pytest.ExceptionInfo[Exception]:
    """The error if the API server refuses to create the pod with that message and these details."""

    def answers(method: str, path: str) -> Answer:
        if method != "POST":
            return status(404, "NotFound", f'pods "{NAME}" not found')
        code, document = status(403, "Forbidden", message)
        return code, document | {"details": details}

    with serving(folder, answers) as server:
        monkeypatch.setenv("KUBECONFIG", str(server.kubeconfig))
        clock = FakeClock()
        with pytest.raises(Exception) as raised:  # noqa: PT011 - the tests look at it
            command_pod.run(
                KubeApi(lambda: connect("", "")), clock, NAME, lambda: POD, print, Deadline(clock, 1)
            )
    return raised


def test_an_admission_rule_that_refuses_the_pod_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = (
        f'pods "{NAME}" is forbidden: exceeded quota: small, requested: pods=1, used: pods=1, limited: pods=1'
    )
    error = run(message, {"name": NAME, "kind": "pods"}, tmp_path, monkeypatch).value
    assert type(error) is DoesNotFit
    assert error.message == f"{NAME}: no pod can be created: {message}."
    assert "Raise the namespace's quota" in error.advice


def test_a_missing_permission_to_create_pods_is_passed_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = (
        'pods is forbidden: User "ann" cannot create resource "pods" in API group "" in the namespace "shop"'
    )
    error = run(message, {"kind": "pods"}, tmp_path, monkeypatch).value
    assert isinstance(error, Refused)
    assert (error.status, error.said, error.object_name) == (403, message, "")
    assert "docs/kubernetes.md" in error.advice
