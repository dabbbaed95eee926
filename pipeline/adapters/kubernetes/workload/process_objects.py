"""The Deployments of processes beside the web one, and the pods of their slot.

Their pods carry another slot label than the web ones, so that no Service and no Deployment of the slot selects them.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

from pipeline.adapters.kubernetes.api.kube_api import KubeApi
from pipeline.adapters.kubernetes.api.objects import KubeObject, Manifest
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

ANSWER = 10  # seconds for one try of a `ready` command
SUFFIX = 17  # characters that a Deployment's name grows by in its pods' names


def beside_labels(instance: str, ref: SlotRef) -> dict[str, str]:
    """The labels of everything of the slot's processes."""
    return {**environment_labels(instance, ref), SLOT: f"{ref.slot}{BESIDE}"}


def slot_of(found: KubeObject) -> str:
    """The slot that a process's pod or Deployment belongs to."""
    return str(found["metadata"]["labels"][SLOT]).removesuffix(BESIDE)


def process_name(ref: SlotRef, process: str) -> str:
    """``hello-live-blue-p-worker``: the process's Deployment; with a hash if that is too long."""
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

    def deployments(self, spec: SlotSpec) -> dict[str, Manifest]:
        """Those of the spec's processes, by name."""
        wanted = spec.config.service.processes_in_use.items()
        return {process_name(spec.ref, name): self._deployment(spec, name, one) for name, one in wanted}

    def spec_hashes(self, spec: SlotSpec) -> dict[str, str]:
        """The hash of each one's pods, by the Deployment's name."""
        wanted = spec.config.service.processes_in_use.items()
        return {process_name(spec.ref, name): self._hash(spec, name, one) for name, one in wanted}

    def _hash(self, spec: SlotSpec, name: str, process: Process) -> str:
        own = _made_from(process)
        return fingerprint({"pods": self.manifests.spec_hash(spec), "process": name, "what": own})

    def _deployment(self, spec: SlotSpec, name: str, process: Process) -> Manifest:
        made = self.manifests.deployment(spec)
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
        made["spec"] |= {
            "replicas": process.replicas,
            # The old pods end before new ones start, as at a switch.
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": selected},
        }
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


def deployments_of(api: KubeApi, instance: str, ref: SlotRef) -> list[KubeObject]:
    """Those of the slot's processes."""
    return api.find("Deployment", beside_labels(instance, ref))


def pods_of(api: KubeApi, instance: str, ref: SlotRef) -> list[KubeObject]:
    """Every pod of the slot's processes, also those that end."""
    return api.find("Pod", beside_labels(instance, ref))


def scale_down(api: KubeApi, instance: str, ref: SlotRef) -> None:
    """The slot's processes are told to end. Idempotent."""
    for one in deployments_of(api, instance, ref):
        if one["spec"].get("replicas"):
            api.merge("Deployment", one["metadata"]["name"], {"spec": {"replicas": 0}})
