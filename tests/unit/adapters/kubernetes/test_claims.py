"""Volumes in a pod's manifest, and why a claim is not bound. The messages are a real cluster's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pipeline.adapters.kubernetes.api.kube_api import KubeApi
from pipeline.adapters.kubernetes.capacity import parse_quantity
from pipeline.adapters.kubernetes.cpu_rules import NO_RULES
from pipeline.adapters.kubernetes.manifests import Manifests
from pipeline.adapters.kubernetes.names import ENVIRONMENT, INSTANCE, ONE_NODE, PIPELINE, VOLUME
from pipeline.adapters.kubernetes.pods.claims import claim_problem, claims_of, waits_for_node
from pipeline.adapters.kubernetes.pods.problems import GRACE, VOLUME_GRACE, Cause, pod_problem
from pipeline.adapters.kubernetes.workload import volume_pod
from pipeline.adapters.kubernetes.workload.claims import Claims, claim, ref_of
from pipeline.config.workload.kubernetes import ClaimOptions
from pipeline.domain.engine_types import SlotRef, SlotSpec
from pipeline.domain.volumes import VolumeRef
from pipeline.errors import DoesNotFit
from pipeline.ports.clock import SystemClock
from tests.support.specs import slot_spec

MAKE = Manifests("pl", "shop")
DATA = VolumeRef("hello", "live", "data")
NO_CLASS = "no persistent volumes available for this claim and no storage class is set"
NO_SUCH_CLASS = 'storageclass.storage.k8s.io "fast" not found'
UNBOUND = "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims. not found"
NOTHING_THERE = (
    "0/1 nodes are available: 1 node(s) didn't find available persistent volumes to bind. preemption: 0/1"
)
ELSEWHERE = "0/2 nodes are available: 1 Insufficient memory, 1 node(s) didn't match pod affinity rules. preemption: 0/2"


def spec(**service: Any) -> SlotSpec:
    return slot_spec(
        SlotRef("hello", "live", 3, "blue", "kubernetes"), 17, remote="r/hello@sha256:1", **service
    )


def template(one: SlotSpec) -> dict[str, Any]:
    found: dict[str, Any] = MAKE.deployment(one)["spec"]["template"]
    return found


def test_pods_and_commands_have_the_claims_of_their_volumes() -> None:
    one = spec(volumes={"data": "/data", "cache": "/cache"}, tmpfs={"/run": 1 << 20})
    for pod in (template(one)["spec"], MAKE.command(one, "migrate", ("true",), {})["spec"]):
        assert claims_of(pod_with(pod)) == ("pl-hello-live-data", "pl-hello-live-cache")
        named = {mount["name"]: mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
        assert [named[volume["name"]] for volume in pod["volumes"]] == ["/run", "/data", "/cache"]
        assert pod["securityContext"]["fsGroup"] == 10001
    assert "fsGroup" not in template(spec())["spec"]["securityContext"]


def pod_with(spec: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": {"name": "p"}, "spec": spec}


@pytest.mark.parametrize(("user", "group"), [("1234:1235", 1235), ("1234", 1234), ("", 10001), ("0", 10001)])
def test_the_group_of_the_pods_user_may_write(user: str, group: int) -> None:
    one = template(spec(volumes={"data": "/data"}, user=user))
    assert one["spec"]["securityContext"]["fsGroup"] == group


def test_a_volume_takes_the_place_of_the_folder_in_memory_of_a_strict_pod() -> None:
    pod = template(spec(volumes={"data": "/tmp"}, security="strict"))["spec"]
    assert [one["mountPath"] for one in pod["containers"][0]["volumeMounts"]] == ["/tmp"]
    assert [one["persistentVolumeClaim"]["claimName"] for one in pod["volumes"]] == ["pl-hello-live-data"]


def test_pods_are_kept_together_if_a_volume_can_only_be_on_one_node() -> None:
    """And a drained node may evict them all: one that starts elsewhere would wait for the last of them."""
    one = spec(volumes={"data": "/data"}, replicas=2)
    pod = template(one)
    [term] = pod["spec"]["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    selected = term["labelSelector"]["matchLabels"]
    assert selected == {INSTANCE: "pl", PIPELINE: "hello", ENVIRONMENT: "live", ONE_NODE: "true"}
    assert selected.items() <= pod["metadata"]["labels"].items()
    assert selected.items() <= MAKE.command(one, "migrate", ("true",), {})["metadata"]["labels"].items()
    assert MAKE.disruption(one)["spec"]["maxUnavailable"] == "100%"

    anywhere = spec(
        volumes={"data": "/data"}, kubernetes={"volumes": {"data": {"access": "ReadWriteMany"}}}, replicas=2
    )
    assert "affinity" not in template(anywhere)["spec"]
    assert ONE_NODE not in template(anywhere)["metadata"]["labels"]
    assert MAKE.disruption(anywhere)["spec"]["maxUnavailable"] == 1


def test_a_claim_asks_for_what_the_configuration_says_and_has_no_owner() -> None:
    options = ClaimOptions.model_validate({"size": "2GiB", "class": "fast", "access": "ReadWriteMany"})
    made = claim("pl", "shop", DATA, options)
    assert made["spec"]["accessModes"] == ["ReadWriteMany"]
    assert made["spec"]["storageClassName"] == "fast"
    assert parse_quantity(made["spec"]["resources"]["requests"]["storage"]) == 2 << 30
    assert "ownerReferences" not in made["metadata"]
    assert "storageClassName" not in claim("pl", "shop", DATA, ClaimOptions())["spec"]


@pytest.mark.parametrize("ref", [DATA, VolumeRef("db", "live", "data", "accessory")])
def test_the_labels_of_a_claim_say_whose_it_is(ref: VolumeRef) -> None:
    made = claim("pl", "shop", ref, ClaimOptions())
    assert ref_of(made) == ref
    del made["metadata"]["labels"][VOLUME]
    assert ref_of(made) is None


# ── a claim that is not bound ────────────────────────────────────────────────


def pending(**spec: Any) -> dict[str, Any]:
    made = claim("pl", "shop", DATA, ClaimOptions.model_validate(spec))
    return {**made, "status": {"phase": "Pending"}}


def event(reason: str, message: str) -> dict[str, Any]:
    return {"reason": reason, "message": message}


def unschedulable(message: str) -> dict[str, Any]:
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    return {"metadata": {"name": "p"}, "spec": {}, "status": {"phase": "Pending", "conditions": [condition]}}


@pytest.mark.parametrize(
    ("options", "last", "grace", "text", "advice"),
    [
        (
            {},
            event("FailedBinding", NO_CLASS),
            GRACE,
            f"no class, ReadWriteOnce) is not bound: {NO_CLASS}",
            "Name a",
        ),
        (
            {"class": "fast"},
            event("ProvisioningFailed", NO_SUCH_CLASS),
            GRACE,
            f"1 GiB, class fast, ReadWriteOnce) is not bound: {NO_SUCH_CLASS}",
            "Correct `kubernetes: {volumes: {data: {class: …}}}`",
        ),
        (
            {"class": "fast"},
            event("ProvisioningFailed", "out of disks"),
            5 * GRACE,
            "is not bound: out of disks",
            "See `kubectl -n shop describe pvc pl-hello-live-data`",
        ),
        (
            {"class": "fast"},
            event("ExternalProvisioning", "Waiting for a volume to be created"),
            VOLUME_GRACE,
            "Waiting for a volume to be created",
            "See `kubectl",
        ),
    ],
)
def test_a_claim_that_is_not_bound_says_why(
    options: dict[str, str], last: dict[str, Any], grace: float, text: str, advice: str
) -> None:
    problem = claim_problem("p", pending(**options), [event("Other", "earlier"), last])
    assert problem
    assert (problem.cause, problem.grace) == (Cause.VOLUME, grace)
    assert "the claim pl-hello-live-data in the namespace shop" in problem.text
    assert text in problem.text
    assert problem.advice.startswith(advice)


def test_a_bound_claim_is_no_problem() -> None:
    assert claim_problem("p", {**pending(), "status": {"phase": "Bound"}}, []) is None


def test_the_scheduler_says_that_no_volume_is_there_for_a_claim() -> None:
    """Of a class that makes none: the claim itself only waits for the pod."""
    known = pod_problem(unschedulable(NOTHING_THERE))
    assert known
    waiting = event("WaitForPodScheduled", "waiting for pod p to be scheduled")
    problem = claim_problem("p", pending(**{"class": "local"}), [waiting], known)
    assert problem
    assert problem.grace == GRACE
    assert "didn't find available persistent volumes to bind" in problem.text


def test_a_pod_without_a_node_waits_for_its_volume_and_not_for_room() -> None:
    one = unschedulable(UNBOUND)
    assert waits_for_node(one)
    problem = pod_problem(one)
    assert problem
    assert (problem.cause, problem.grace) == (Cause.VOLUME, VOLUME_GRACE)
    problem = pod_problem(unschedulable(ELSEWHERE))
    assert problem
    assert problem.kind is DoesNotFit
    assert "its volume can be on one node only" in problem.text


def test_a_pod_for_a_volume_has_no_more_than_it_needs() -> None:
    made = volume_pod.manifest("pl", "shop", "pl-hello-live-data", "busybox:1", "true", "node-1", NO_RULES)
    spec, labels = made["spec"], made["metadata"]["labels"]
    [container] = spec["containers"]
    assert container["securityContext"] == {
        "runAsUser": 0,
        "runAsGroup": 0,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"], "add": ["CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID"]},
    }
    assert spec["automountServiceAccountToken"] is False
    assert claims_of(made) == ("pl-hello-live-data",)
    assert len(spec["volumes"]) == len(container["volumeMounts"]) == 1
    assert spec["activeDeadlineSeconds"] > 6 * 3600  # the longest transfer
    assert not {PIPELINE, ENVIRONMENT} & labels.keys()  # of no environment that could be removed with it
    [term] = spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][
        "nodeSelectorTerms"
    ]
    assert term["matchFields"] == [{"key": "metadata.name", "operator": "In", "values": ["node-1"]}]
    anywhere = volume_pod.manifest("pl", "shop", "pl-hello-live-data", "busybox:1", "true", "", NO_RULES)
    assert "affinity" not in anywhere["spec"]


class OneClaim(KubeApi):
    """Keeps the claim that is made."""

    namespace = "shop"

    def __init__(self) -> None:
        self.made: dict[str, Any] = {}

    def get(self, kind: str, name: str) -> dict[str, Any] | None:
        return None

    def create(self, manifest: dict[str, Any]) -> bool:
        self.made = manifest
        return True


@pytest.mark.parametrize(
    ("asked", "made"),
    [
        (None, (5 << 30, "fast", "ReadWriteMany")),
        (ClaimOptions(storage_class="slow"), (5 << 30, "slow", "ReadWriteOnce")),
        (ClaimOptions(size=6 << 30), (6 << 30, None, "ReadWriteOnce")),
    ],
)
def test_a_copy_has_room_for_what_it_gets(asked: ClaimOptions | None, made: tuple[Any, ...]) -> None:
    options = ClaimOptions(size=5 << 30, storage_class="fast", access="ReadWriteMany")
    api, source = OneClaim(), claim("pl", "shop", DATA, options)
    Claims(api, "pl", SystemClock()).ensure_beside(replace(DATA, owner="shop"), source, asked)
    found = api.made["spec"]
    size = int(parse_quantity(found["resources"]["requests"]["storage"]))
    assert (size, found.get("storageClassName"), *found["accessModes"]) == made
    assert api.made["metadata"]["name"] == "pl-shop-live-data"
