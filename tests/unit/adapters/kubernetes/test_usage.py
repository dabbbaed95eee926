"""What pods use, as the metrics API says it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.adapters.fake import FakeClock
from pipeline.adapters.kubernetes.api.client import connect
from pipeline.adapters.kubernetes.api.kube_api import KubeApi
from pipeline.adapters.kubernetes.engine import KubeEngine
from pipeline.domain.engine_types import SlotRef
from pipeline.errors import RequestError
from pipeline.ports.outputs import Usage
from tests.support.apiserver import Answer, serving, status

REF = SlotRef("hello", "live", 0, "blue", "kubernetes")
METRICS = "/apis/metrics.k8s.io/"


def pod(name: str, limit: str) -> dict[str, Any]:
    limits = {"limits": {"memory": limit}} if limit else {}
    return {"metadata": {"name": name, "labels": {}}, "spec": {"containers": [{"resources": limits}]}}


def measured(name: str) -> dict[str, Any]:
    return {"metadata": {"name": name}, "containers": [{"usage": {"cpu": "12500000n", "memory": "2048Ki"}}]}


def usage(folder: Path, monkeypatch: pytest.MonkeyPatch, metrics: Answer) -> tuple[Usage, ...]:
    def answers(_: str, path: str) -> Answer:
        if path.startswith(METRICS):
            return metrics
        items = [pod("worker", "")] if "blue-process" in path else [pod("web", "128Mi")]
        return 200, {"items": items, "metadata": {"resourceVersion": "7"}}

    with serving(folder, answers) as api:
        monkeypatch.setenv("KUBECONFIG", str(api.kubeconfig))
        return KubeEngine(KubeApi(lambda: connect("", "")), "pushlive", "kubernetes", FakeClock()).usage(REF)


def test_it_is_that_of_the_slot_with_its_processes_and_their_limits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = [measured(name) for name in ("worker", "web", "web-of-the-other-slot")]
    found = usage(tmp_path, monkeypatch, (200, {"items": items}))
    assert found == (Usage("web", 0.0125, 2 << 20, 128 << 20), Usage("worker", 0.0125, 2 << 20))


@pytest.mark.parametrize("code", [403, 404])
def test_without_the_metrics_api_it_is_said_what_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    with pytest.raises(RequestError) as refused:
        usage(tmp_path, monkeypatch, status(code, "No", "no"))
    assert "pods.metrics.k8s.io" in refused.value.advice
