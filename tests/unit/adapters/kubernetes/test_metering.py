"""What pods take of nodes: the larger of requests and use is for the ledger, so both are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.adapters.fake import FakeClock
from pipeline.adapters.kubernetes.api.client import connect
from pipeline.adapters.kubernetes.api.kube_api import KubeApi
from pipeline.adapters.kubernetes.engine import KubeEngine
from pipeline.domain.capacity.room import Room
from pipeline.domain.cost.taken import Nodes, Size, Taken
from pipeline.errors import EngineFailed
from tests.support.apiserver import Answer, serving, status

OWN = {"pushlive/pipeline": "shop", "pushlive/environment": "live"}
SLOT = {**OWN, "pushlive/slot": "blue"}
USED = {"metadata": {"name": "web"}, "containers": [{"usage": {"cpu": "500m", "memory": "1Mi"}}] * 2}


def pod(name: str, labels: dict[str, str], phase: str = "Running") -> dict[str, Any]:
    requests = {"resources": {"requests": {"cpu": "250m", "memory": "64Mi"}}}
    return {
        "metadata": {"name": name, "labels": labels},
        "spec": {"containers": [requests, {}], "nodeName": "n"},
        "status": {"phase": phase},
    }


PODS = [
    pod("web", SLOT),
    pod("ended", SLOT, "Succeeded"),
    pod("mail", {**SLOT, "pushlive/process": "mail"}),
    pod("migrate", {**SLOT, "pushlive/command": "release"}),
    pod("nightly", {**OWN, "pushlive/cron": "nightly"}),
    pod("db", {"pushlive/accessory": "shop-db", "pushlive/accessory-in": "live"}),
    pod("helper", {}),
    pod("waker", {**OWN, "pushlive/slot": "blue-activator"}),
]
LISTED = {"resourceVersion": "7"}
NODE = {
    "metadata": {"name": "n", "labels": {"pool": "a", "other": "b"}},
    "status": {"allocatable": {"cpu": "2", "memory": "1Gi"}},
}


@pytest.fixture
def engine_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def made(
        metrics: Answer,
        nodes: Answer = (
            200,
            {
                "items": [NODE, {**NODE, "metadata": {"name": "m"}}, {"metadata": {"name": "o"}}],
                "metadata": LISTED,
            },
        ),
        used: Answer = (200, {"items": []}),
    ):
        def answers(_: str, path: str) -> Answer:
            if path == "/apis/metrics.k8s.io/v1beta1/nodes":
                return used
            if path.startswith("/apis/metrics.k8s.io/"):
                return metrics
            return nodes if "/nodes" in path else (200, {"items": PODS, "metadata": LISTED})

        api = made.serving = serving(tmp_path, answers)
        monkeypatch.setenv("KUBECONFIG", str(api.__enter__().kubeconfig))
        return KubeEngine(KubeApi(lambda: connect("", "")), "pushlive", "kubernetes", FakeClock())

    yield made
    made.serving.__exit__(None, None, None)


def by_name(found: tuple[Taken, ...]) -> dict[str, Taken]:
    return {one.name: one for one in found}


def test_every_pod_that_runs_is_told_with_its_place_its_requests_and_its_use(engine_with) -> None:
    found = by_name(engine_with((200, {"items": [USED]})).taken())
    assert {
        name: (one.role, one.pipeline, one.environment, one.slot, one.process) for name, one in found.items()
    } == {
        "web": ("web", "shop", "live", "blue", ""),
        "mail": ("process", "shop", "live", "blue", "mail"),
        "migrate": ("command", "shop", "live", "", ""),
        "nightly": ("command", "shop", "live", "", ""),
        "db": ("accessory", "shop-db", "live", "", ""),
        "helper": ("system", "", "", "", ""),
        "waker": ("system", "shop", "live", "", ""),
    }
    assert (found["web"].cores, found["web"].memory) == (1.0, 2 << 20)
    assert (found["mail"].cores, found["mail"].memory) == (0.0, 0)
    assert all((one.reserved_cores, one.reserved_memory) == (0.25, 64 << 20) for one in found.values())


@pytest.mark.parametrize("code", [403, 404])
def test_without_the_metrics_api_the_requests_are_left(engine_with, code: int) -> None:
    found = by_name(engine_with(status(code, "No", "no")).taken())
    assert (found["web"].cores, found["web"].reserved_cores) == (0.0, 0.25)


def test_another_error_is_not_taken_for_no_use(engine_with) -> None:
    with pytest.raises(EngineFailed):
        engine_with(status(422, "Invalid", "no")).taken()


def test_the_size_is_that_of_all_nodes_by_the_labels_that_are_asked_for(engine_with) -> None:
    every = {"": Nodes(3, 4.0, 2 << 30)}
    assert engine_with((200, {})).machine_size() == Size(4.0, 2 << 30, every)
    found = engine_with((200, {})).machine_size(["pool", "zone"])
    assert found.nodes == {"pool=a": Nodes(1, 2.0, 1 << 30), "": Nodes(2, 2.0, 1 << 30)}


def test_without_the_right_to_list_nodes_the_size_is_not_known(engine_with) -> None:
    assert engine_with((200, {}), status(403, "Forbidden", "no")).machine_size() is None


def node(name: str, disk: str, short: str = "") -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": "True"}, {"type": "DiskPressure", "status": str(bool(short))}]
    allocatable = {"cpu": "2", "memory": "1Gi", "ephemeral-storage": disk}
    return {"metadata": {"name": name}, "status": {"allocatable": allocatable, "conditions": conditions}}


USES = {"items": [{"usage": {"cpu": "500m", "memory": "100Mi"}}, {"usage": {"cpu": "1", "memory": "28Mi"}}]}


def test_what_nodes_have_and_use_and_which_ones_are_short(engine_with) -> None:
    nodes = [node("a", "10Gi"), node("b", "47093746742", "disk"), {"metadata": {"name": "c"}}]
    room = engine_with((200, {}), (200, {"items": nodes, "metadata": LISTED}), (200, USES)).room(takers=True)
    assert room == Room(
        (10 << 30) + 47093746742, None, 128 << 20, 1.5, pressure=("the node b is short of disk",)
    )
    assert room.disk_used is None


@pytest.mark.parametrize("code", [403, 404, 503])
def test_without_the_metrics_of_nodes_their_sizes_are_left(engine_with, code: int) -> None:
    nodes = (200, {"items": [node("a", "10Gi")], "metadata": LISTED})
    assert engine_with((200, {}), nodes, status(code, "No", "no")).room() == Room(10 << 30)


def test_without_the_right_to_list_nodes_nothing_is_known(engine_with) -> None:
    assert engine_with((200, {}), status(403, "Forbidden", "no")).room() == Room()
