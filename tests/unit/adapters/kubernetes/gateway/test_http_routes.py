"""What is said of routes that are not there, or that others change, on a stub of the API server."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.adapters.kubernetes.api.client import connect
from pipeline.adapters.kubernetes.api.kube_api import KubeApi
from pipeline.adapters.kubernetes.gateway.http_routes import TRIES, HttpRoutes
from pipeline.adapters.kubernetes.gateway.weights import backends_of
from pipeline.domain.engine_types import Share
from pipeline.errors import ConfigError, EngineFailed
from pipeline.ports.clock import SystemClock
from tests.support import apiserver
from tests.support.apiserver import Answer, ApiServer

OURS = backends_of("shop", "shop-live")
GROUP = "/apis/gateway.networking.k8s.io/v1"
ROUTE: dict[str, Any] = {
    "metadata": {"name": "shop", "generation": 1},
    "spec": {"rules": [{"backendRefs": [{"name": "shop-live", "port": 80, "weight": 1}]}]},
    "status": {
        "parents": [{"conditions": [{"type": "Accepted", "status": "True", "observedGeneration": 1}]}]
    },
}
SHARE = Share("green", 5.0)


class Cluster:
    """``route``: None if there is none; ``installed``: the cluster has such objects; ``refusals``: what the next
    patches are answered."""

    def __init__(self) -> None:
        self.route: dict[str, Any] | None = copy.deepcopy(ROUTE)
        self.installed = True
        self.refusals: list[Answer] = []
        self.changed_meanwhile = False
        self.dry: list[bool] = []

    def __call__(self, method: str, path: str) -> Answer:
        if not self.installed:
            return 404, "404 page not found"
        if path == GROUP:
            return 200, {"kind": "APIResourceList", "resources": []}
        if self.route is None:
            return apiserver.status(404, "NotFound", 'httproutes "shop" not found')
        if method == "PATCH":
            self.dry.append("dryRun=All" in path)
            if self.changed_meanwhile:
                self.route["metadata"]["generation"] += 1
            if self.refusals:
                return self.refusals.pop()
        return 200, self.route


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def api(tmp_path: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiServer]:
    with apiserver.serving(tmp_path, cluster) as one:
        monkeypatch.setenv("KUBECONFIG", str(one.kubeconfig))
        yield one


@pytest.fixture
def routes(api: ApiServer) -> HttpRoutes:
    return HttpRoutes(KubeApi(lambda: connect("", "shop")), SystemClock())


def test_a_check_sends_a_dry_run_of_the_change_and_nothing_else(cluster: Cluster, routes: HttpRoutes) -> None:
    routes.check("shop", OURS, SHARE)
    assert cluster.dry == [True]
    assert cluster.route == ROUTE


def test_one_that_is_missing_is_told_from_a_cluster_without_such_objects(
    cluster: Cluster, routes: HttpRoutes
) -> None:
    cluster.route = None
    with pytest.raises(ConfigError, match="There is no HTTPRoute shop in the namespace shop"):
        routes.check("shop", OURS, SHARE)
    cluster.installed = False
    with pytest.raises(ConfigError, match="the Gateway API is not installed on it, so there is no shop"):
        routes.divide("shop", OURS, SHARE)
    assert routes.shared("shop", OURS) is None
    routes.restore("shop", OURS)


def test_a_permission_that_is_missing_is_named(cluster: Cluster, routes: HttpRoutes) -> None:
    cluster.refusals = [apiserver.status(403, "Forbidden", "cannot patch resource httproutes")]
    with pytest.raises(EngineFailed, match="cannot patch resource httproutes") as found:
        routes.check("shop", OURS, SHARE)
    assert "docs/kubernetes.md" in found.value.advice


@pytest.mark.parametrize("times", [TRIES - 1, TRIES])
def test_what_others_change_meanwhile_is_read_again(cluster: Cluster, routes: HttpRoutes, times: int) -> None:
    cluster.changed_meanwhile = True
    cluster.refusals = [apiserver.status(422, "Invalid", "the test failed")] * times
    if times < TRIES:
        routes.check("shop", OURS, SHARE)
    else:
        with pytest.raises(EngineFailed, match="the test failed"):
            routes.check("shop", OURS, SHARE)
    assert cluster.dry == [True] * TRIES


def test_a_refusal_for_another_reason_is_not_tried_again(cluster: Cluster, routes: HttpRoutes) -> None:
    cluster.refusals = [apiserver.status(422, "Invalid", "a policy says no")]
    with pytest.raises(EngineFailed, match="a policy says no"):
        routes.divide("shop", OURS, SHARE)
    assert cluster.dry == [False]
