"""Quotas and quantities."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from pipeline.adapters.fake import FakeClock
from pipeline.adapters.kubernetes.capacity import demand_of, exceeded, parse_quantity
from pipeline.adapters.kubernetes.engine import KubeEngine
from pipeline.adapters.kubernetes.manifests import Manifests
from pipeline.domain.engine_types import SlotRef
from pipeline.errors import DoesNotFit
from tests.support.specs import slot_spec


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", "0"),
        ("250m", "0.25"),
        ("1", "1"),
        (".5", "0.5"),
        ("1.", "1"),
        ("128Mi", str(128 << 20)),
        ("1.5Gi", str(3 << 29)),
        ("24632900Ki", str(24632900 << 10)),
        ("1e3", "1000"),
        ("12E2", "1200"),
        ("1E", str(10**18)),
        ("128974848", "128974848"),
        ("129M", "129000000"),
        ("100n", "1e-7"),
        ("-1Ki", "-1024"),
    ],
)
def test_quantities_are_read_as_kubernetes_writes_them(text: str, number: str) -> None:
    """https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity"""
    assert parse_quantity(text) == Decimal(number)


@pytest.mark.parametrize("text", ["", "Mi", "1 Mi", "1KiB", "1.2.3", "lots", "1ki", "."])
def test_a_malformed_quantity_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a quantity"):
        parse_quantity(text)


def deployment(**service: object) -> dict[str, Any]:
    ref = SlotRef("hello", "live", 0, "blue", "kubernetes")
    return Manifests("pl", "shop").deployment(slot_spec(ref, remote="r/x@sha256:1", **service))


WANTED = deployment(replicas=2, memory=64 << 20, cpu=0.5)


def quota(hard: dict[str, str], used: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "small"}, "spec": spec, "status": {"hard": hard, "used": used or {}}}


class Api:
    """As much of a cluster as a look for room needs: a quota, and a release with a worker that runs."""

    namespace = "shop"

    def __init__(self, limit: str, used: str, running: list[dict[str, Any]]) -> None:
        self._quota, self._running = quota({"limits.memory": limit}, {"limits.memory": used}), running

    def find(self, kind: str, labels: dict[str, str]) -> list[dict[str, Any]]:
        if kind == "ResourceQuota":
            return [self._quota]
        return (
            self._running if kind == "Deployment" and labels.get("pushlive/slot") == "green-process" else []
        )

    def get(self, kind: str, name: str) -> None:
        return None


@pytest.mark.parametrize(
    ("limit", "used", "old", "fits"),
    [
        ("192Mi", "0", 0, True),
        ("191Mi", "0", 0, False),
        ("256Mi", "128Mi", 2, True),  # its workers end before the new ones start
        ("255Mi", "192Mi", 2, False),  # but not before the new web process starts
    ],
)
def test_processes_need_room_but_not_beside_those_that_end_first(
    limit: str, used: str, old: int, fits: bool
) -> None:
    running = deployment(replicas=old or 1, memory=64 << 20)
    api: Any = Api(limit, used, [running | {"kind": "Deployment"}] if old else [])
    engine = KubeEngine(api, "pl", "kubernetes", FakeClock())
    worker = {"worker": {"command": ("./work",), "replicas": 2}}
    spec = slot_spec(
        SlotRef("hello", "live", 0, "blue", "kubernetes"),
        remote="r/x@sha256:1", memory=64 << 20, replicas=1, processes=worker,
    )  # fmt: skip
    if fits:
        engine.fits(spec)
    else:
        with pytest.raises(DoesNotFit, match=r"of limits\.memory; the quota small has"):
            engine.fits(spec)


def test_demand_is_counted_by_the_names_that_quotas_use() -> None:
    asks = demand_of(WANTED).amounts
    assert asks["pods"] == asks["count/pods"] == 2
    assert asks["limits.memory"] == asks["requests.memory"] == asks["memory"] == 128 << 20
    assert asks["limits.cpu"] == 1
    assert asks["requests.cpu"] == asks["cpu"] == Decimal("0.1")
    assert demand_of(None).amounts == demand_of(deployment() | {"spec": {"replicas": 0}}).amounts == {}


@pytest.mark.parametrize(
    ("hard", "said"),
    [
        ({"limits.memory": "127Mi"}, "128 MiB of limits.memory; the quota small has 127 MiB left of 127 MiB"),
        ({"memory": "0"}, "128 MiB of memory; the quota small has 0 B left of 0 B"),
        ({"pods": "1"}, "2 of pods; the quota small has 1 left of 1"),
        ({"limits.cpu": "900m"}, "1 of limits.cpu; the quota small has 0.9 left of 0.9"),
    ],
)
def test_what_exceeds_a_quota_is_listed_with_the_figures(hard: dict[str, str], said: str) -> None:
    assert list(exceeded(quota(hard), demand_of(WANTED), demand_of(None))) == [said]


def test_an_exact_fit_fits_and_other_resources_are_ignored() -> None:
    hard = {"limits.memory": "128Mi", "pods": "2", "cpu": "100m", "services.loadbalancers": "0"}
    assert list(exceeded(quota(hard), demand_of(WANTED), demand_of(None))) == []


def test_what_the_slot_uses_already_counts_as_free() -> None:
    full = quota({"limits.memory": "128Mi", "pods": "2"}, {"limits.memory": "128Mi", "pods": "2"})
    assert list(exceeded(full, demand_of(WANTED), demand_of(WANTED))) == []
    assert len(list(exceeded(full, demand_of(WANTED), demand_of(None)))) == 2


@pytest.mark.parametrize(
    "spec",
    [{"scopes": ["BestEffort"]}, {"scopes": ["Terminating"]}, {"scopeSelector": {"matchExpressions": []}}],
)
def test_a_quota_for_other_pods_is_ignored(spec: dict[str, Any]) -> None:
    assert list(exceeded(quota({"pods": "0"}, **spec), demand_of(WANTED), demand_of(None))) == []
    assert (
        len(
            list(exceeded(quota({"pods": "0"}, scopes=["NotBestEffort"]), demand_of(WANTED), demand_of(None)))
        )
        == 1
    )


def test_a_deployment_without_resources_counts_its_pods() -> None:
    bare = {"spec": {"replicas": 1, "template": {"spec": {"containers": [{"name": "app"}]}}}}
    assert demand_of(bare).amounts == {"pods": 1, "count/pods": 1}
