"""On a real cluster: objects that an earlier version made are as this one wants them, so that nothing is made again."""

from __future__ import annotations

import base64
import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import docker
from pipeline.adapters.kubernetes.api.client import connect
from pipeline.adapters.kubernetes.api.kube_api import APPLY, MERGE, KubeApi
from pipeline.adapters.kubernetes.engine import KubeEngine
from pipeline.domain import slots
from pipeline.ports.clock import Deadline, SystemClock
from tests.support import clusterbench
from tests.support.waiting import until
from tests.upgrade.fixtures import ALL, VERSIONS
from tests.upgrade.installation import at_the_fixed_place
from tests.upgrade.record_cluster import MANIFEST, REPOSITORY
from tests.upgrade.recorded_cluster import RecordedCluster


class OnCluster:
    """The recorded objects, made by the recorded requests."""

    def __init__(self, recorded: RecordedCluster) -> None:
        self.recorded = recorded
        self.api = KubeApi(lambda: connect("", recorded.namespace))
        self.engine = KubeEngine(self.api, recorded.instance, recorded.key, SystemClock())
        self.specs = list(recorded.specs())

    def pods(self) -> dict[str, Any]:
        """What tells that a pod was not restarted."""
        found = self.api.find("Pod", {"pushlive/instance": self.recorded.instance})
        return {
            one["metadata"]["name"]: (
                one["metadata"]["uid"],
                one["status"]["containerStatuses"][0]["restartCount"],
            )
            for one in found
        }


@pytest.fixture(scope="module", params=ALL, ids=VERSIONS)
def on_cluster(
    request: pytest.FixtureRequest, docker_client: docker.DockerClient, kubeconfig: Path, registry: str
) -> Iterator[OnCluster]:
    recorded = RecordedCluster(request.param)
    if registry != recorded.data["registry"]:
        pytest.skip(f"pods were recorded with images of {recorded.data['registry']}")
    administrator = KubeApi(lambda: connect("", "default"))
    with at_the_fixed_place(docker_client):
        try:
            for image in recorded.data["images"]:
                provide(registry, image)
            one = OnCluster(recorded)
            until(lambda: makes_namespace(administrator, recorded.namespace), 30)
            for asked in recorded.data["requests"]:
                if "/pods" not in asked["path"]:
                    repeat(one.api, asked)
            yield one
        finally:
            clusterbench.end_namespace(administrator, recorded.namespace)


def makes_namespace(administrator: KubeApi, name: str) -> bool:
    """False while one of that name is still going."""
    clusterbench.make_namespace(administrator, name)
    return "default" in clusterbench.kubectl(
        name, "get", "serviceaccounts"
    ) and "Active" in clusterbench.kubectl(name, "get", "namespace", name)


def repeat(api: KubeApi, asked: dict[str, Any]) -> None:
    patch = APPLY if "kind" in asked["body"] else MERGE
    kind = patch if asked["method"] == "PATCH" else "application/json"
    path, body = f"{asked['path']}?{asked['query']}", json.dumps(asked["body"]).encode()
    answer = api.raw(asked["method"], path, "repeating", headers={"Content-Type": kind}, body=body)
    assert answer.status in (200, 201, 409), answer.data


def provide(registry: str, image: dict[str, Any]) -> None:
    """Puts the image's parts into the registry, byte for byte."""
    base = f"http://{registry}/v2/{REPOSITORY}"
    for digest, text in image["blobs"].items():
        where = asked("POST", f"{base}/blobs/uploads/", b"").headers["Location"]
        where = where if where.startswith("http") else f"http://{registry}{where}"
        asked("PUT", f"{where}{'&' if '?' in where else '?'}digest={digest}", base64.b64decode(text))
    asked("PUT", f"{base}/manifests/{image['digest']}", base64.b64decode(image["manifest"]), MANIFEST)


def asked(method: str, url: str, body: bytes, kind: str = "application/octet-stream") -> Any:
    request = urllib.request.Request(url, body, {"Content-Type": kind}, method=method)
    with urllib.request.urlopen(request, timeout=20) as answer:
        return answer


def only_a_budget(missing: tuple[str, ...]) -> bool:
    """One of an earlier version keeps nodes from being drained of pods that are not ready, and is replaced."""
    return all("PodDisruptionBudget" in text for text in missing)


def test_nothing_is_missing_and_nothing_differs(on_cluster: OnCluster) -> None:
    for spec in on_cluster.specs:
        until(lambda spec=spec: only_a_budget(on_cluster.engine.missing(spec)), 60)
        on_cluster.engine.ready(spec, lambda _: None, Deadline(SystemClock(), 60))
    before = on_cluster.pods()
    assert len(before) == 6
    for spec in on_cluster.specs:
        on_cluster.engine.restore(spec)
    for spec in on_cluster.specs:
        assert on_cluster.engine.missing(spec) == ()
        assert on_cluster.engine.drift(spec) == ()
        assert not on_cluster.engine.restore(spec)
        assert on_cluster.engine.serving(spec.ref) == "green"
        if spec.ref.slot == "blue":
            record = on_cluster.recorded.environment(spec.ref.environment).slots["blue"]
            assert on_cluster.engine.detach(spec.ref, slots.mark_of(record)) == 0
    assert on_cluster.pods() == before


def test_a_revert_to_the_warm_slot_makes_no_pod(on_cluster: OnCluster) -> None:
    before = on_cluster.pods()
    engine, watch = on_cluster.engine, Deadline(SystemClock(), 60)
    for spec in on_cluster.specs:
        if spec.ref.slot == "blue":
            engine.start(spec, watch)
            engine.ready(spec, lambda _: None, watch)
            engine.expose(spec)
            engine.switch(spec)
            assert engine.serving(spec.ref) == "blue"
    assert on_cluster.pods() == before
