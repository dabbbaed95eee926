"""What an accessory is on a cluster, and how the pods that use it know it."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import pytest

from pipeline.adapters.kubernetes.api.client import Refused
from pipeline.adapters.kubernetes.api.kube_api import KubeApi
from pipeline.adapters.kubernetes.manifests import Manifests
from pipeline.adapters.kubernetes.workload import accessory_objects
from pipeline.adapters.kubernetes.workload.accessory_objects import (
    AccessoryManifests,
    accessory_name,
    addresses_of,
)
from pipeline.adapters.kubernetes.workload.accessory_pod import insist_on_image, why_unready
from pipeline.config.diff import accessory_differences
from pipeline.config.workload.accessory import Accessory, AccessoryHealth, Use
from pipeline.config.workload.kubernetes import AccessoryOptions, ClaimOptions
from pipeline.domain.accessories import AccessoryRef, AccessorySpec, Attachment
from pipeline.domain.engine_types import SlotRef, SlotSpec
from pipeline.errors import EngineFailed
from pipeline.lib.secret import Secret
from pipeline.ports.clock import Deadline, SystemClock
from tests.support.specs import slot_spec

REF = AccessoryRef("shop-db", "live", "kubernetes")
CONFIG = Accessory(
    image="postgres:15",
    volume="/var/lib/postgresql/data",
    port=5432,
    health=AccessoryHealth(run=("pg_isready", "-U", "$USER")),
    env={"PRICE": "$(PASSWORD)"},
)
MAKE = AccessoryManifests("pl", "shop")
USES = {"db": Use(accessory="shop-db"), "main": Use(accessory="shop-db"), "far": Use(address="a.example:1")}


def spec(**changes: Any) -> AccessorySpec:
    attached = (Attachment("shop", 0, ("db",), 29),)
    config = CONFIG.model_copy(update=changes)
    return AccessorySpec(REF, config, attached, {"PASSWORD": 1}, lambda: {"PASSWORD": Secret("x")})


def release(**service: Any) -> SlotSpec:
    one = slot_spec(SlotRef("shop", "live", 0, "blue", "kubernetes"), remote="r/x@sha256:1", **service)
    return replace(one, config=one.config.model_copy(update={"uses": USES}))


class OneService(KubeApi):
    """Has that Service and nothing else."""

    def __init__(self, service: dict[str, Any] | None) -> None:
        self.service = service

    namespace = "shop"

    def get(self, kind: str, name: str) -> dict[str, Any] | None:
        assert (kind, name) == ("Service", "pl-shop-db-live")
        return self.service if (self.service or {}).get("metadata", {}).get("name", name) == name else None

    def find(self, kind: str, labels: dict[str, str]) -> list[dict[str, Any]]:
        found = [self.service] if self.service else []
        return [one for one in found if labels.items() <= one["metadata"]["labels"].items()]


def test_its_health_is_asked_often_until_it_is_ready_and_never_ends_it() -> None:
    container = MAKE.stateful_set(spec(), "10.96.0.7")["spec"]["template"]["spec"]["containers"][0]
    assert container["startupProbe"]["exec"] == {"command": ["pg_isready", "-U", "$$USER"]}
    assert container["startupProbe"]["failureThreshold"] > 10**9
    assert container["readinessProbe"]["exec"] == container["startupProbe"]["exec"]
    assert "livenessProbe" not in container
    by_port = MAKE.stateful_set(spec(health=AccessoryHealth()), "")["spec"]["template"]["spec"]["containers"]
    assert by_port[0]["readinessProbe"]["tcpSocket"] == {"port": 5432}
    assert MAKE.service(spec())["spec"]["publishNotReadyAddresses"]


def test_secrets_are_in_its_secret_alone() -> None:
    one = spec()
    manifest, secret = MAKE.stateful_set(one, ""), MAKE.secret(one, one.reveal())
    container = manifest["spec"]["template"]["spec"]["containers"][0]
    assert container["envFrom"] == [{"secretRef": {"name": secret["metadata"]["name"]}}]
    assert base64.b64decode(secret["data"]["PASSWORD"]) == b"x"
    assert container["env"] == [{"name": "PRICE", "value": "$$(PASSWORD)"}]


def test_another_definition_is_known_by_its_hash_and_how_long_it_may_take_is_not_part_of_it() -> None:
    hashes = [
        MAKE.spec_hash(one)
        for one in (
            spec(),
            spec(image="postgres:16"),
            spec(port=5433),
            spec(memory=2**30),
            replace(spec(), secrets={}),
        )
    ]
    assert len(set(hashes)) == len(hashes)
    assert MAKE.spec_hash(spec(ready=5.0)) == hashes[0]
    assert MAKE.spec_hash(replace(spec(), attached=())) == hashes[0]


def test_where_it_runs_is_part_of_its_pod_and_how_large_its_claim_is_is_not() -> None:
    placed = AccessoryOptions(node_selector={"disk": "ssd"}, tolerations=("db:NoSchedule",))
    pod = MAKE.stateful_set(spec(kubernetes=placed), "")["spec"]["template"]["spec"]
    assert pod["nodeSelector"] == {"disk": "ssd"}
    assert pod["tolerations"] == [{"key": "db", "operator": "Exists", "effect": "NoSchedule"}]
    assert MAKE.spec_hash(spec(kubernetes=placed)) != MAKE.spec_hash(spec())
    larger = AccessoryOptions(volume=ClaimOptions(size=5 << 30))
    assert MAKE.spec_hash(spec(kubernetes=larger)) == MAKE.spec_hash(spec())
    changes = accessory_differences(CONFIG, CONFIG.model_copy(update={"kubernetes": larger}))
    assert [line for line in changes if "5 GiB" in line] == list(changes)
    assert len(changes) == 1


def test_a_long_name_leaves_room_for_what_the_cluster_adds() -> None:
    long = AccessoryRef("a" * 32, "b" * 32)
    names = {accessory_name("pushlive", one) for one in (long, replace(long, environment="b" * 31))}
    assert len(names) == 2
    assert all(len(name) <= 52 for name in names)


def test_pods_know_what_they_use_by_the_address_of_its_service() -> None:
    service = MAKE.service(spec(), "10.96.0.7")
    api = OneService(service)
    aliases = accessory_objects.host_aliases(api, "pl", release())
    assert aliases == [{"ip": "10.96.0.7", "hostnames": ["db", "main"]}]
    renamed = replace(spec(), ref=AccessoryRef("store-db", "live"), moved_from="shop-db/live")
    later = OneService(MAKE.service(renamed, "10.96.0.7"))
    assert accessory_objects.host_aliases(later, "pl", release()) == aliases
    twice = replace(
        spec(),
        ref=AccessoryRef("third-db", "live"),
        moved_from="store-db/live",
        formerly=("shop-db/live", "store-db/live"),
    )
    latest = OneService(MAKE.service(twice, "10.96.0.7"))
    assert accessory_objects.host_aliases(latest, "pl", release()) == aliases
    make = Manifests("pl", "shop", hosts=lambda one: accessory_objects.host_aliases(api, "pl", one))
    used = release(extra_hosts={"old": "10.0.0.1"})
    expected = [{"ip": "10.0.0.1", "hostnames": ["old"]}, *aliases]
    assert make.deployment(used)["spec"]["template"]["spec"]["hostAliases"] == expected
    assert make.command(used, "migrate", ("true",), {})["spec"]["hostAliases"] == expected
    both = {"spec": {"clusterIP": "10.96.0.7", "clusterIPs": ["10.96.0.7", "fd00::7"]}}
    assert addresses_of(both) == ("10.96.0.7", "fd00::7")


@pytest.mark.parametrize("service", [None, {"metadata": {"labels": {}}, "spec": {"clusterIP": "10.96.0.9"}}])
def test_pods_that_would_not_reach_what_they_use_are_not_made(service: dict[str, Any] | None) -> None:
    with pytest.raises(
        EngineFailed, match="shop-db/live, which is db and main for shop/live, has no Service"
    ):
        accessory_objects.insist_on_services(OneService(service), "pl", release())


def test_references_are_filled_in_in_the_secret_alone() -> None:
    one = release(env={"URL": "postgres://:${db.PASSWORD}@db", "PLAIN": "$5 ${x}"})
    make = Manifests("pl", "shop")
    assert make.config_map(one)["data"] == {"PLAIN": "$5 ${x}"}
    secret = make.secret(one, {"URL": Secret("postgres://:x@db")})
    assert base64.b64decode(secret["data"]["URL"]) == b"postgres://:x@db"
    sources = make.deployment(one)["spec"]["template"]["spec"]["containers"][0]["envFrom"]
    assert {"secretRef": {"name": secret["metadata"]["name"]}} in sources
    other = release(env={"URL": "postgres://:${db.PASSWORD}@main"})
    assert make.secret(other, {})["metadata"]["name"] != secret["metadata"]["name"]


class Events(KubeApi):
    def __init__(self, *found: dict[str, Any]) -> None:
        self.found = list(found)

    namespace = "shop"

    def events(self, kind: str, name: str) -> list[dict[str, Any]]:
        return self.found

    def get(self, kind: str, name: str) -> dict[str, Any] | None:
        assert (kind, name) == ("PersistentVolumeClaim", "pl-shop-db-live-data")
        return None


def pod(ready: bool, state: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": str(ready)}]
    statuses = [{"name": "app", "state": state}]
    status = {"conditions": conditions, "containerStatuses": statuses}
    return {
        "metadata": {"name": "pl-shop-db-live-0", **metadata},
        "spec": {"nodeName": "n"},
        "status": status,
    }


RUNNING, UNHEALTHY = (
    {"running": {}},
    {"reason": "Unhealthy", "message": "Readiness probe failed: no response"},
)
PENDING = {"volumes": [{"name": "volume", "persistentVolumeClaim": {"claimName": "pl-shop-db-live-data"}}]}
UNSCHEDULABLE = {
    "type": "PodScheduled",
    "status": "False",
    "reason": "Unschedulable",
    "message": '0/1 nodes are available: persistentvolumeclaim "pl-shop-db-live-data" not found.',
}
QUOTA = {
    "reason": "FailedCreate",
    "message": "create Pod pl-shop-db-live-0 failed: exceeded quota: small, used",
}


@pytest.mark.parametrize(
    ("event", "found", "says"),
    [
        (None, pod(True, RUNNING), ""),
        (UNHEALTHY, pod(False, RUNNING), "pl-shop-db-live-0: no response"),
        (None, pod(False, RUNNING), "pl-shop-db-live-0 runs, and is not ready yet"),
        (None, pod(True, RUNNING, deletionTimestamp="2999-01-01T00:00:00Z"), "pl-shop-db-live-0 is ending"),
        (
            None,
            pod(True, RUNNING, deletionTimestamp="2020-01-01T00:00:00Z"),
            "pl-shop-db-live-0 is ending and should have ended at 2020-01-01 00:00:00 UTC; if its node is gone for "
            "good, `kubectl -n shop delete pod --force pl-shop-db-live-0`",
        ),
        (
            None,
            {**pod(False, {}), "spec": PENDING, "status": {"conditions": [UNSCHEDULABLE]}},
            "pl-shop-db-live-0: its volume is gone: the claim pl-shop-db-live-data in the namespace shop was deleted; "
            "`pushlive accessory apply shop-db live` makes a new, empty one",
        ),
        (None, pod(False, {"terminated": {"exitCode": 3}}), "pl-shop-db-live-0: it exited with code 3"),
        (
            None,
            pod(False, {"waiting": {"reason": "ContainerCreating"}}),
            "pl-shop-db-live-0 is starting (ContainerCreating)",
        ),
        (QUOTA, None, "pl-shop-db-live: no pod can be created: create Pod"),
        (None, None, "pl-shop-db-live-0 is starting"),
    ],
)
def test_why_one_is_not_ready_is_said(event: Any, found: Any, says: str) -> None:
    api = Events(*([event] if event else []))
    text = why_unready(api, SystemClock(), MAKE.stateful_set(spec(), ""), found)
    assert text.startswith(says)
    assert bool(text) == bool(says)


class Refusing(KubeApi):
    """Its admission refuses every pod."""

    namespace = "shop"

    def __init__(self) -> None:
        pass

    def create(self, manifest: dict[str, Any]) -> bool:
        name = manifest["metadata"]["name"]
        raise Refused("no", 403, "Forbidden", said=f'pods "{name}" is forbidden: a policy', object_name=name)


def test_a_pod_that_is_refused_says_nothing_about_the_image_of_what_is_new() -> None:
    api, clock = Refusing(), SystemClock()
    watch = Deadline(clock, 5)
    insist_on_image(api, clock, "pl", spec(), watch, nothing_else=True)
    with pytest.raises(EngineFailed, match="was not made from postgres:15: no pod can be created"):
        insist_on_image(api, clock, "pl", spec(), watch)
