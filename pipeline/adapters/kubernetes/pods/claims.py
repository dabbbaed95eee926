"""Why a pod waits for a volume, from its claim and what the cluster says of that. Pure.

A claim without a volume has no code for the reason either: its events say it.
"""

from __future__ import annotations

from collections.abc import Iterable

from pipeline.adapters.kubernetes.api.objects import KubeObject
from pipeline.adapters.kubernetes.capacity import parse_quantity
from pipeline.adapters.kubernetes.names import ACCESSORY, VOLUME
from pipeline.adapters.kubernetes.pods.messages import one_line
from pipeline.adapters.kubernetes.pods.problems import GRACE, VOLUME_GRACE, Cause, Problem
from pipeline.errors import EngineFailed
from pipeline.lib.units import show_size

TRIED_AGAIN = 5 * GRACE  # for one that has failed
# The reason if there is no StorageClass that would make a volume: 'no persistent volumes available for this claim and
# no storage class is set'
_NO_CLASS = "FailedBinding"
_FAILED = "ProvisioningFailed"
# 'storageclass.storage.k8s.io "fast" not found'
_NO_SUCH_CLASS = "storageclass"


def claims_of(pod: KubeObject) -> tuple[str, ...]:
    """The names of the claims that a pod has."""
    sources = [one.get("persistentVolumeClaim") for one in pod["spec"].get("volumes") or ()]
    return tuple(str(one["claimName"]) for one in sources if one)


def waits_for_node(pod: KubeObject) -> bool:
    """True until the scheduler has found one, which it does not before the pod's volumes are there."""
    return not pod["spec"].get("nodeName")


def missing_claim(pod: str, claim: str, namespace: str) -> Problem:
    return Problem(
        pod,
        Cause.VOLUME,
        f"its volume is gone: the claim {claim} in the namespace {namespace} was deleted",
        "A deploy makes a new, empty one; a backup can be restored into it (docs/guides/data.md).",
        EngineFailed,
        GRACE,
    )


def claim_problem(
    pod: str, claim: KubeObject, events: Iterable[KubeObject], known: Problem | None = None
) -> Problem | None:
    """Why that claim has no volume, None if it has one. ``events``: the claim's, oldest first; ``known``: what the pod
    itself says of it."""
    if (claim.get("status") or {}).get("phase") != "Pending":
        return None
    name, namespace = claim["metadata"]["name"], claim["metadata"].get("namespace", "")
    spec, last = claim["spec"], next(reversed(list(events)), {})
    reason, said = str(last.get("reason") or ""), one_line(last.get("message"))
    asked = ", ".join(
        (
            show_size(int(parse_quantity(str(spec["resources"]["requests"]["storage"])))),
            f"class {spec['storageClassName']}" if spec.get("storageClassName") else "no class",
            *spec["accessModes"],
        )
    )
    text = f"it waits for its volume: the claim {name} in the namespace {namespace} ({asked}) is not bound"
    labels = claim["metadata"].get("labels") or {}
    where = f"`kubernetes: {{volumes: {{{labels.get(VOLUME, 'NAME')}: {{class: …}}}}}}`"
    if ACCESSORY in labels:
        where = f"`kubernetes: {{volume: {{class: …}}}}` of the accessory {labels[ACCESSORY]}"
    advice = f"See `kubectl -n {namespace} describe pvc {name}` and what makes volumes for its class."
    grace = VOLUME_GRACE
    if known and known.grace < grace:  # no volume that exists is one for this claim
        grace, said = known.grace, known.quoted
    if reason == _NO_CLASS:
        advice = (
            f"Name a StorageClass of the cluster (`kubectl get storageclass`) under {where} and deploy again, or make "
            "a PersistentVolume for it."
        )
        grace = GRACE
    elif reason == _FAILED:
        missing = said.startswith(_NO_SUCH_CLASS)
        advice = f"Correct {where}: `kubectl get storageclass` lists those that exist." if missing else advice
        grace = GRACE if missing else TRIED_AGAIN
    return Problem(
        pod, Cause.VOLUME, f"{text}{f': {said}' if said else ''}", advice, EngineFailed, grace, quoted=said
    )
