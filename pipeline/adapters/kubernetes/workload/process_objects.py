"""The Deployments and StatefulSets of processes beside the web one, and the pods of their slot.

Their pods carry another slot label than the web ones, so that no Service and no Deployment of the slot selects them.
What must never run twice (`one`) is a StatefulSet: its only pod has a fixed name, and the cluster makes no other one
before that has ended, also if it is evicted or deleted by hand. A Deployment replaces such a pod at once.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

from pipeline.adapters.kubernetes.api.client import status_of
from pipeline.adapters.kubernetes.api.kube_api import KubeApi
from pipeline.adapters.kubernetes.api.objects import KubeObject, Manifest
from pipeline.adapters.kubernetes.capacity import FORBIDDEN
from pipeline.adapters.kubernetes.manifests import Manifests, literal
from pipeline.adapters.kubernetes.names import (
    BESIDE,
    PROCESS,
    SLOT,
    SPEC,
    environment_labels,
    slot_name,
)
from pipeline.adapters.workload import fingerprint
from pipeline.config.workload.processes import Process
from pipeline.domain.engine_types import SlotRef, SlotSpec
from pipeline.domain.naming import LONGEST
from pipeline.errors import EngineFailed

SET = "StatefulSet"
ANSWER = 10  # seconds for one try of a `ready` command
SUFFIX = 17  # characters that a Deployment's name grows by in its pods' names


def kind_of(process: Process) -> str:
    """Which kind of object runs its pods."""
    return SET if process.one else "Deployment"


def title_of(found: KubeObject) -> str:
    """``Deployment hello-live-blue-p-worker``, which tells it from every other one."""
    return f"{found['kind']} {found['metadata']['name']}"


def beside_labels(instance: str, ref: SlotRef) -> dict[str, str]:
    """The labels of everything of the slot's processes."""
    return {**environment_labels(instance, ref), SLOT: f"{ref.slot}{BESIDE}"}


def slot_of(found: KubeObject) -> str:
    """The slot that a process's pod or Deployment belongs to."""
    return str(found["metadata"]["labels"][SLOT]).removesuffix(BESIDE)


def process_name(ref: SlotRef, process: str) -> str:
    """``hello-live-blue-p-worker``: its Deployment or StatefulSet; with a hash if that is too long."""
    name = f"{slot_name(ref)}-p-{process}"
    if len(name) <= LONGEST - SUFFIX:
        return name
    tail = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{name[: LONGEST - SUFFIX - 9].rstrip('-')}-{tail}"


@dataclass(frozen=True)
class ProcessManifests:
    """Made from the manifests of the slot's own pods: the same image, variables, limits and volumes."""

    manifests: Manifests
    instance: str

    def workloads(self, spec: SlotSpec) -> dict[str, Manifest]:
        """Those of the spec's processes, by their titles (``title_of``)."""
        wanted = spec.config.service.processes_in_use.items()
        made = (self._workload(spec, name, one) for name, one in wanted)
        return {title_of(one): one for one in made}

    def spec_hashes(self, spec: SlotSpec) -> dict[str, str]:
        """The hash of each one's pods, by the name of what runs them."""
        wanted = spec.config.service.processes_in_use.items()
        return {process_name(spec.ref, name): self._hash(spec, name, one) for name, one in wanted}

    def _hash(self, spec: SlotSpec, name: str, process: Process) -> str:
        own = _made_from(process)
        return fingerprint({"pods": self.manifests.spec_hash(spec), "process": name, "what": own})

    def _workload(self, spec: SlotSpec, name: str, process: Process) -> Manifest:
        made = self.manifests.deployment(spec) | {"kind": kind_of(process)}
        selected = {**beside_labels(self.instance, spec.ref), PROCESS: name}
        metadata, template = made["metadata"], made["spec"]["template"]
        metadata["name"] = process_name(spec.ref, name)
        metadata["labels"] |= selected
        del metadata["annotations"]
        template["metadata"]["labels"] |= {**selected, SPEC: self._hash(spec, name, process)}
        pod = template["spec"]
        pod["terminationGracePeriodSeconds"] = max(1, round(process.stop))
        for spread in pod["topologySpreadConstraints"]:
            spread["labelSelector"] = {"matchLabels": selected}
        self._container(pod["containers"][0], spec, process)
        made["spec"] |= {"replicas": process.replicas, "selector": {"matchLabels": selected}}
        if process.one:
            for key in ("strategy", "progressDeadlineSeconds", "paused"):
                del made["spec"][key]
            made["spec"] |= {
                "serviceName": process_name(spec.ref, name),
                "podManagementPolicy": "Parallel",  # one that is broken is replaced as well
                "updateStrategy": {"type": "RollingUpdate"},
            }
        else:  # the old pods end before new ones start, as at a switch
            made["spec"]["strategy"] = {"type": "Recreate"}
        return made

    def _container(self, container: Manifest, spec: SlotSpec, process: Process) -> None:
        for key in ("args", "ports", "readinessProbe", "lifecycle"):
            container.pop(key, None)
        container["args"] = [literal(word) for word in process.command]
        if process.ready:
            container["startupProbe"] = {
                "exec": {"command": [literal(word) for word in process.ready.run]},
                "periodSeconds": 1,
                "timeoutSeconds": ANSWER,
                # The service's `ready` ends the wait; here the container only has to be left alone for as long.
                "failureThreshold": math.ceil(spec.config.service.ready) + 60,
            }


def _made_from(process: Process) -> dict[str, object]:
    """What a pod of it is made from."""
    return {
        "command": list(process.command),
        "stop": max(1, round(process.stop)),
        "ready": list(process.ready.run) if process.ready else [],
    }


def workloads_of(api: KubeApi, instance: str, ref: SlotRef) -> list[KubeObject]:
    """The Deployments and StatefulSets of the slot's processes."""
    labels = beside_labels(instance, ref)
    return [*api.find("Deployment", labels), *find_sets(api, labels)]


def find_sets(api: KubeApi, labels: dict[str, str]) -> list[KubeObject]:
    """The StatefulSets with these labels. None if this account may not list them: then it never made one."""
    try:
        return api.find(SET, labels)
    except EngineFailed as error:
        if status_of(error) == FORBIDDEN:
            return []
        raise


def pods_of(api: KubeApi, instance: str, ref: SlotRef) -> list[KubeObject]:
    """Every pod of the slot's processes, also those that end."""
    return api.find("Pod", beside_labels(instance, ref))


def scale_down(api: KubeApi, instance: str, ref: SlotRef) -> None:
    """The slot's processes are told to end. Idempotent."""
    for one in workloads_of(api, instance, ref):
        if one["spec"].get("replicas"):
            api.merge(one["kind"], one["metadata"]["name"], {"spec": {"replicas": 0}})
