"""Volumes as a cluster has them: a PersistentVolumeClaim for each volume of an environment, without an owner, so that
nothing that is collected takes it along."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pipeline.adapters.kubernetes.api.client import status_of
from pipeline.adapters.kubernetes.api.kube_api import KubeApi
from pipeline.adapters.kubernetes.api.objects import KubeObject, Manifest
from pipeline.adapters.kubernetes.capacity import parse_quantity
from pipeline.adapters.kubernetes.names import (
    ACCESSORY,
    ASKED,
    CLASS,
    ENVIRONMENT,
    INSTANCE,
    ONE_NODE,
    PIPELINE,
    SWAP_BEGUN,
    VOLUME,
    environment_labels,
)
from pipeline.adapters.kubernetes.pods.state import is_terminating
from pipeline.config.models import Service
from pipeline.config.workload.kubernetes import ClaimOptions
from pipeline.domain.engine_types import SlotSpec
from pipeline.domain.volumes import VolumeRef, volumes_of
from pipeline.errors import ConfigError, EngineFailed
from pipeline.lib.retry import poll
from pipeline.ports.clock import Clock

KIND = "PersistentVolumeClaim"
SMALLEST = 1 << 20  # bytes that a claim asks for
GROUP = 10001  # of a pod that names no user: it may write to its volumes by being in it
GONE_WITHIN = 5.0  # seconds in which a claim that nothing uses is gone
REFUSED = (403, 422)  # of a change that the claim's class does not allow


# ── manifests ────────────────────────────────────────────────────────────────


def claim_name(instance: str, ref: VolumeRef) -> str:
    return f"{instance}-{ref.owner}-{ref.environment}-{ref.name}"


def claim_labels(instance: str, ref: VolumeRef) -> dict[str, str]:
    owner = PIPELINE if ref.kind == "pipeline" else ACCESSORY
    return {INSTANCE: instance, owner: ref.owner, ENVIRONMENT: ref.environment, VOLUME: ref.name}


def ref_of(claim: KubeObject) -> VolumeRef | None:
    """The volume that a claim is, None if it is none."""
    labels = claim["metadata"].get("labels") or {}
    for owner, kind in ((PIPELINE, "pipeline"), (ACCESSORY, "accessory")):
        if {owner, ENVIRONMENT, VOLUME} <= labels.keys():
            return VolumeRef(labels[owner], labels[ENVIRONMENT], labels[VOLUME], kind)  # type: ignore[arg-type]
    return None


def claim(instance: str, namespace: str, ref: VolumeRef, options: ClaimOptions) -> Manifest:
    labels = claim_labels(instance, ref) | {
        "app.kubernetes.io/managed-by": "pushlive",
        "app.kubernetes.io/name": ref.owner,
    }
    spec: Manifest = {
        "accessModes": [options.access],
        "resources": {"requests": {"storage": str(options.size)}},
    }
    if options.storage_class is not None:
        spec["storageClassName"] = options.storage_class
    notes = {CLASS: options.storage_class or ""}
    metadata = {
        "name": claim_name(instance, ref),
        "namespace": namespace,
        "labels": labels,
        "annotations": notes,
    }
    return {"apiVersion": "v1", "kind": KIND, "metadata": metadata, "spec": spec}


def swap_of(claim: KubeObject) -> str:
    """When files in it began to change places, seconds since the epoch, if no one has said that they are done; else
    "".
    """
    return str((claim["metadata"].get("annotations") or {}).get(SWAP_BEGUN) or "")


def one_node_label(service: Service) -> dict[str, str]:
    """What marks pods that have to be on the same node, because a volume of theirs can only be on one; {} if none."""
    options = service.kubernetes
    once = any(options.claim(name).access == "ReadWriteOnce" for name in service.volumes)
    return {ONE_NODE: "true"} if once else {}


def with_volumes(pod: Manifest, spec: SlotSpec, instance: str) -> Manifest:
    """The pod, whose first container is the application's, with the volumes of its service."""
    service = spec.config.service
    if not service.volumes:
        return pod
    container, *others = pod["containers"]
    volumes, mounts = list(pod.get("volumes", ())), list(container.get("volumeMounts", ()))
    for number, ref in enumerate(volumes_of(spec)):
        path = service.volumes[ref.name].path
        same = [
            one["name"] for one in mounts if one["mountPath"] == path
        ]  # `security: strict` has one at /tmp
        volumes = [one for one in volumes if one["name"] not in same]
        mounts = [one for one in mounts if one["name"] not in same]
        name = f"volume-{number}"
        volumes.append({"name": name, "persistentVolumeClaim": {"claimName": claim_name(instance, ref)}})
        mounts.append({"name": name, "mountPath": path})
    security = {
        **pod["securityContext"],
        "fsGroup": _group(service),
        # Only a volume that does not have the group yet: with many files the change takes minutes.
        "fsGroupChangePolicy": "OnRootMismatch",
    }
    pod = {**pod, "containers": [{**container, "volumeMounts": mounts}, *others], "volumes": volumes}
    pod["securityContext"] = security
    if label := one_node_label(service):
        pod["affinity"] = _beside(environment_labels(instance, spec.ref) | label)
    return pod


def _group(service: Service) -> int:
    user, _, group = service.user.partition(":")
    return int(group or user or GROUP) or GROUP


def _beside(labels: dict[str, str]) -> Manifest:
    """On the node of the pods with these labels; the first of them goes anywhere."""
    term = {"labelSelector": {"matchLabels": labels}, "topologyKey": "kubernetes.io/hostname"}
    return {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}


# ── on the cluster ───────────────────────────────────────────────────────────


class Claims:
    """Those of one installation (``instance``) in one namespace. ``settle``: what is done first with one in which a
    restore was killed while files changed places."""

    def __init__(
        self, api: KubeApi, instance: str, clock: Clock, settle: Callable[[VolumeRef], None] = lambda _: None
    ) -> None:
        self._api, self._instance, self._clock, self._settle = api, instance, clock, settle

    def ensure_all(self, spec: SlotSpec) -> None:
        """See ``ensure``, for every volume of the release."""
        for ref in volumes_of(spec):
            self.ensure(ref, spec.config.service.kubernetes.claim(ref.name))

    def ensure(self, ref: VolumeRef, options: ClaimOptions) -> None:
        """Makes the claim unless it exists, and lets it grow. One that was never bound, so that it has no data, is
        replaced if it asks for something else. Raises ConfigError if another object has its name, or if it cannot
        become what the options say."""
        wanted = claim(self._instance, self._api.namespace, ref, options)
        if self._create(wanted):
            return
        found = self.get(ref)
        if found and not found["spec"].get("volumeName") and _asks_for_other(found, wanted):
            self._api.delete(KIND, wanted["metadata"]["name"], version=found["metadata"]["resourceVersion"])
            poll(lambda: self.get(ref) is None, 0.05, self._clock, timeout=GONE_WITHIN)
            self._create(wanted)
            found = self.get(ref)
        if found is None or is_terminating(found):
            raise EngineFailed(
                f"The claim {wanted['metadata']['name']} in the namespace {self._api.namespace} is being deleted, and "
                f"with it the files of the volume {ref}.",
                advice="If they are still needed, `pushlive volume backup "
                f"{ref}` copies them while a pod still has it. Once none has, a deploy makes a new, empty one.",
            )
        self._adjust(found, wanted, ref)
        if swap_of(found):
            self._settle(ref)
        if not found["spec"].get("volumeName"):
            # Its controller tries again at once; by itself it looks every 15 s for a volume that someone has made.
            again = {"metadata": {"annotations": {ASKED: f"{self._clock.now():.3f}"}}}
            self._api.merge(KIND, wanted["metadata"]["name"], again)

    def ensure_beside(self, ref: VolumeRef, source: KubeObject, asked: ClaimOptions | None) -> None:
        """See ``ensure``, for one that gets the files of that claim: it has at least as much room. ``asked``: None for
        what that claim has."""
        found, shared = source["spec"], "ReadWriteMany"
        like = ClaimOptions(
            size=max(_size(source), SMALLEST),
            storage_class=found.get("storageClassName") or None,
            access=shared if shared in found["accessModes"] else "ReadWriteOnce",
        )
        asked = asked or like
        self.ensure(ref, asked.model_copy(update={"size": max(asked.size, like.size)}))

    def get(self, ref: VolumeRef) -> KubeObject | None:
        """The claim of that volume. Raises ConfigError if something else has its name."""
        name = claim_name(self._instance, ref)
        found = self._api.get(KIND, name)
        if found and ref_of(found) != ref:
            namespace = self._api.namespace
            raise ConfigError(
                f"A claim with the name {name} exists in the namespace {namespace}, and it is not the volume {ref} of "
                "this installation; it was left alone.",
                advice=f"Look at it (`kubectl -n {namespace} describe pvc {name}`), and give the volume another name.",
            )
        return found

    def _create(self, wanted: Manifest) -> bool:
        if self._api.get(KIND, wanted["metadata"]["name"]):
            return False
        return self._api.create(wanted)

    def _adjust(self, found: KubeObject, wanted: Manifest, ref: VolumeRef) -> None:
        name, access = wanted["metadata"]["name"], wanted["spec"]["accessModes"][0]
        has = found["spec"].get("accessModes") or ()
        if access == "ReadWriteMany" and access not in has:
            raise ConfigError(
                f"The claim {name} has the access {', '.join(has)}, which no cluster changes, and pipelines.yaml says "
                f"{access} for the volume {ref}.",
                advice=f"Take `access` out again; or `pushlive volume backup {ref} --to FILE`, remove the volume from "
                f"`volumes` and deploy, `pushlive volume rm {ref}`, and restore it with the new access.",
            )
        if _size(found) >= _size(wanted):
            return
        change = {"spec": {"resources": wanted["spec"]["resources"]}}
        try:
            self._api.merge(KIND, name, change)
        except EngineFailed as error:
            if status_of(error) not in REFUSED:
                raise
            raise ConfigError(
                f"The claim {name} cannot grow: {error.message}",
                advice="Its StorageClass has to allow it (`allowVolumeExpansion`), and this account to `patch` "
                f"persistentvolumeclaims. Otherwise set `size` of the volume {ref} to what it has.",
            ) from error


def _asks_for_other(found: KubeObject, wanted: Manifest) -> bool:
    """The class in its spec does not tell: the cluster fills in its own."""
    notes = [one["metadata"].get("annotations") or {} for one in (found, wanted)]
    modes = [one["spec"].get("accessModes") for one in (found, wanted)]
    return notes[0].get(CLASS) != notes[1][CLASS] or modes[0] != modes[1] or _size(found) != _size(wanted)


def _size(one: dict[str, Any]) -> int:
    """Bytes that a claim asks for."""
    return int(parse_quantity(str(one["spec"]["resources"]["requests"]["storage"])))
