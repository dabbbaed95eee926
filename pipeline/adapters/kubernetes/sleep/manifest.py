"""The Deployment of what passes a slot's connections on, counts them, and wakes the slot. Pure."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

from pipeline.adapters.kubernetes.api.objects import Manifest
from pipeline.adapters.kubernetes.cpu_rules import CpuRules
from pipeline.adapters.kubernetes.manifests import PORT, PRE_STOP, literal
from pipeline.adapters.kubernetes.names import (
    ACTIVATOR,
    CONTAINER,
    INDEX,
    SLOT,
    SPEC,
    activator_name,
    environment_labels,
    slot_name,
)
from pipeline.adapters.kubernetes.sleep import account
from pipeline.adapters.kubernetes.sleep.activator import GRACE
from pipeline.adapters.workload import fingerprint
from pipeline.domain.engine_types import SlotRef

VARIABLE = "ACTIVATOR"
PORTS = (8080, 8081)
USER = 65532  # any user that is not root
# Thousandths of a core; memory at most, and usually. With 500 uploads that wait it took 93 MiB, most of it what the
# kernel hands over at once.
CPU, MEMORY, USUAL = 200, "192Mi", "32Mi"


@cache
def program() -> str:
    """The text that its Python runs."""
    return (Path(__file__).parent / "activator.py").read_text(encoding="utf-8")


def settings(ref: SlotRef, scales: dict[str, int], wait: float) -> dict[str, object]:
    """``scales``: the API path of each scale, with the number of replicas that it has awake; ``wait``: seconds."""
    name, upstream = f"{ref.pipeline}/{ref.environment}", [slot_name(ref), 80]
    return {"name": name, "upstream": upstream, "scales": scales, "wait": float(wait), "ports": list(PORTS)}


def deployment(
    instance: str, namespace: str, ref: SlotRef, image: str, given: dict[str, object], cpu: CpuRules
) -> Manifest:
    """``given``: its settings (``activator.Settings``)."""
    labels = {
        **environment_labels(instance, ref),
        INDEX: str(ref.index),
        SLOT: ref.slot + ACTIVATOR,
        "app.kubernetes.io/managed-by": "pushlive",
        "app.kubernetes.io/name": ref.pipeline,
    }
    selected = {**environment_labels(instance, ref), SLOT: ref.slot + ACTIVATOR}
    pod = _pod(image, given, cpu)
    made = {**labels, SPEC: fingerprint({"pod": pod})}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": activator_name(ref), "namespace": namespace, "labels": labels},
        "spec": {
            "replicas": 1,
            "revisionHistoryLimit": 0,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "selector": {"matchLabels": selected},
            "template": {"metadata": {"labels": made}, "spec": pod},
        },
    }


def _pod(image: str, given: dict[str, object], cpu: CpuRules) -> Manifest:
    container: Manifest = {
        "name": CONTAINER,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python", "-I", "-c", literal(program())],
        "env": [{"name": VARIABLE, "value": literal(json.dumps(given, sort_keys=True))}],
        "ports": [{"name": PORT, "containerPort": PORTS[0], "protocol": "TCP"}],
        "readinessProbe": {
            "httpGet": {"path": "/", "port": PORTS[1]},
            "periodSeconds": 2,
            "timeoutSeconds": 5,
        },
        "resources": {
            "limits": {"cpu": f"{CPU}m", "memory": MEMORY},
            "requests": {"cpu": f"{cpu.requested(CPU)}m", "memory": USUAL},
        },
        "lifecycle": {"preStop": {"sleep": {"seconds": PRE_STOP}}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    return {
        "containers": [container],
        "serviceAccountName": account.NAME,
        "automountServiceAccountToken": True,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": round(PRE_STOP + GRACE + 2),
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
