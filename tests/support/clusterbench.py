"""An environment on a real cluster, and what many tests do with it."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.adapters.kubernetes.api.client import Cluster, connect
from pipeline.adapters.kubernetes.api.kube_api import KubeApi
from pipeline.adapters.kubernetes.engine import KubeEngine
from pipeline.adapters.kubernetes.probe import KubeProbe
from pipeline.domain.engine_types import SlotRef, SlotSpec
from pipeline.domain.events import Event
from pipeline.ports.clock import SystemClock
from tests.cluster import where
from tests.support.bench import EngineBench
from tests.support.specs import SAMPLE, slot_spec

Connect = Callable[[str, str], Cluster]

_numbers = itertools.count()


@dataclass
class ClusterBench(EngineBench):
    """``remote``: the sample application's image, by digest in a registry that the cluster pulls from."""

    api: KubeApi
    engine: KubeEngine
    probe: KubeProbe
    remote: str
    name: str
    key: str = "kubernetes"
    hosts: tuple[str, ...] = ()
    events: list[Event] = field(default_factory=list)

    def ref(self, slot: str = "blue") -> SlotRef:
        return SlotRef(self.name, "live", 0, slot, self.key)

    def spec(self, slot: str = "blue", release: int = 1, run: int = 1, **service: object) -> SlotSpec:
        # Small requests, so that a node of two cores has room for many pods.
        values = {**SAMPLE, "cpu": 0.1, **service}
        return slot_spec(self.ref(slot), release, run, remote=self.remote, hosts=self.hosts, **values)


def make(instance: str, namespace: str, remote: str, way: Connect = connect) -> ClusterBench:
    """In that namespace of KUBECONFIG's cluster, or of the one that ``way`` connects to."""
    api = KubeApi(lambda: way("", namespace))
    engine = KubeEngine(api, instance, "kubernetes", SystemClock(), volume_image=remote)
    return ClusterBench(api, engine, KubeProbe(api), remote, f"app{next(_numbers)}")


def kubectl(namespace: str, *words: str, stdin: str = "") -> str:
    """The output of a kubectl command, for changes by hand. Raises AssertionError with its output if it fails."""
    own = where.BIN / "kubectl"
    command = [str(own) if own.exists() else "kubectl", "-n", namespace, *words]
    done = subprocess.run(command, capture_output=True, text=True, input=stdin)
    assert not done.returncode, f"{' '.join(command)}: {done.stdout}{done.stderr}"
    return done.stdout


@contextmanager
def local_volume(namespace: str, claim: str, folder: Path) -> Iterator[None]:
    """A folder of the cluster's only node as a volume for that claim. It belongs to root, as a new disk does. Another
    cluster has a StorageClass that makes volumes."""
    if "PUSHLIVE_TEST_KUBECONFIG" in os.environ:
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    here = {"key": "kubernetes.io/hostname", "operator": "In", "values": [where.NODE]}
    spec = {
        "capacity": {"storage": "1Gi"},
        "accessModes": ["ReadWriteOnce"],
        "local": {"path": str(folder)},
        "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}},
        "claimRef": {"namespace": namespace, "name": claim},
    }
    name = f"{namespace}-{claim}"
    volume = {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": spec}
    kubectl(namespace, "create", "-f", "-", stdin=json.dumps(volume))
    try:
        yield
    finally:
        kubectl(namespace, "delete", "pv", "--ignore-not-found", "--wait=false", name)


def make_namespace(api: KubeApi, name: str) -> None:
    """Idempotent."""
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    headers = {"Content-Type": "application/json"}
    answer = api.raw(
        "POST",
        "/api/v1/namespaces",
        "creating the namespace",
        headers=headers,
        body=json.dumps(body).encode(),
    )
    assert answer.status in (201, 409), answer.data


def end_namespace(api: KubeApi, name: str) -> None:
    """Deletes it in the background, with everything in it. Finalizers of command pods do not delay it."""
    inside = KubeApi(lambda: connect("", name))
    for pod in inside.find("Pod", {}):
        if pod["metadata"].get("finalizers"):
            inside.merge("Pod", pod["metadata"]["name"], {"metadata": {"finalizers": None}})
    answer = api.raw("DELETE", f"/api/v1/namespaces/{name}", "deleting the namespace", headers={})
    assert answer.status in (200, 404), answer.data
