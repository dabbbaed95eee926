"""What a process beside the web one is on a cluster."""

from __future__ import annotations

from typing import Any

from pipeline.adapters.kubernetes.manifests import Manifests
from pipeline.adapters.kubernetes.names import SLOT, SPEC, slot_labels
from pipeline.adapters.kubernetes.workload.process_objects import ProcessManifests, process_name, slot_of
from pipeline.domain.engine_types import SlotRef, SlotSpec
from pipeline.domain.naming import LONGEST
from tests.support.specs import slot_spec

REF = SlotRef("shop", "live", 0, "blue", "kubernetes")
WORKER = {"command": ("./worker", "$HOME"), "replicas": 3, "stop": 60.0}


def spec(**process: Any) -> SlotSpec:
    return slot_spec(REF, 4, remote="r.example/shop@sha256:1", processes={"worker": {**WORKER, **process}})


def made(**process: Any) -> dict[str, Any]:
    manifests = ProcessManifests(Manifests("pushlive", "shop"), "pushlive")
    [found] = manifests.workloads(spec(**process)).values()
    return found


def test_it_is_a_deployment_that_nothing_of_the_slot_selects() -> None:
    one = made()
    labels, selected = one["spec"]["template"]["metadata"]["labels"], one["spec"]["selector"]["matchLabels"]
    assert not slot_labels("pushlive", REF).items() <= labels.items()
    assert selected.items() <= labels.items()
    assert (labels[SLOT], slot_of(one)) == ("blue-process", "blue")
    assert one["spec"]["replicas"] == 3
    assert one["spec"]["strategy"] == {"type": "Recreate"}


def test_its_pods_are_the_web_ones_without_what_takes_requests() -> None:
    pod = made()["spec"]["template"]["spec"]
    [container] = pod["containers"]
    assert container["args"] == ["./worker", "$$HOME"]
    assert not {"ports", "readinessProbe", "lifecycle", "startupProbe", "command"} & set(container)
    assert pod["terminationGracePeriodSeconds"] == 60
    assert container["image"] == "r.example/shop@sha256:1"


def test_a_ready_command_is_a_startup_probe() -> None:
    [container] = made(ready={"run": ("./worker", "--ping")})["spec"]["template"]["spec"]["containers"]
    assert container["startupProbe"]["exec"]["command"] == ["./worker", "--ping"]


def test_what_must_never_run_twice_is_a_stateful_set() -> None:
    one = made(one=True, replicas=1)
    assert (one["kind"], one["metadata"]["name"]) == ("StatefulSet", "shop-live-blue-p-worker")
    assert one["spec"]["replicas"] == 1
    assert not {"strategy", "paused", "progressDeadlineSeconds"} & set(one["spec"])
    assert one["spec"]["template"]["spec"] == made(replicas=1)["spec"]["template"]["spec"]


def test_another_command_makes_other_pods() -> None:
    def of(**process: Any) -> str:
        return str(made(**process)["spec"]["template"]["metadata"]["labels"][SPEC])

    assert len({of(), of(command=("./other",)), of(stop=5.0), of(ready={"run": ("true",)})}) == 4


def test_its_name_leaves_room_for_the_names_of_its_pods() -> None:
    names = {process_name(REF, f"worker-{'x' * 40}{end}") for end in "ab"}
    assert len(names) == 2
    assert max(map(len, names)) <= LONGEST - 17
