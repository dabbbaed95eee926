"""What a cluster's admission adds to pods is theirs: it changes nothing that Pushlive reads from its own."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest

from pipeline.adapters.kubernetes.names import slot_name
from pipeline.adapters.kubernetes.pods import problems
from pipeline.errors import EngineFailed
from tests.cluster.test_kube_failures import fails, shell
from tests.support.clusterbench import ClusterBench, kubectl
from tests.support.waiting import until

pytestmark = pytest.mark.skipif(
    "PUSHLIVE_TEST_KUBECONFIG" in os.environ, reason="needs MutatingAdmissionPolicies, of Kubernetes 1.36"
)
GROUP = "admissionregistration.k8s.io/v1"
# Of release 9, the sidecar does not start.
SLEEP = '["sh", "-c", "trap exit TERM; sleep 600 & wait"]'
COMMAND = f'object.metadata.labels["pushlive/release"] == "9" ? ["/no/such/program"] : {SLEEP}'
SIDECAR = f"""[
JSONPatch{{op: "add", path: "/spec/containers/0", value: Object.spec.containers{{
  name: "proxy", image: "IMAGE", ports: [Object.spec.containers.ports{{containerPort: 15001}}],
  command: {COMMAND},
  resources: Object.spec.containers.resources{{limits: {{"memory": "16Mi"}}}}
}}}},
JSONPatch{{op: "add", path: "/spec/tolerations/-",
  value: Object.spec.tolerations{{key: "theirs", operator: "Exists"}}}},
JSONPatch{{op: "add", path: "/spec/containers/1/env/-",
  value: Object.spec.containers.env{{name: "THEIRS", value: "yes"}}}}
]"""
SELECTOR = """[JSONPatch{op: "add", path: "/spec/template/spec/nodeSelector", value: {"kubernetes.io/os": "linux"}}]"""


def policy(
    name: str, group: str, resource: str, expression: str, operations: list[str]
) -> list[dict[str, Any]]:
    """A policy for the namespace of the same name, and its binding."""
    rule = {"apiGroups": [group], "apiVersions": ["v1"], "operations": operations, "resources": [resource]}
    labels = {"kubernetes.io/metadata.name": name}
    named = {"metadata": {"name": f"{name}-{resource}"}}
    spec = {
        "matchConstraints": {"resourceRules": [rule], "namespaceSelector": {"matchLabels": labels}},
        "reinvocationPolicy": "Never",
        "failurePolicy": "Fail",
        "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": expression}}],
    }
    return [
        {"apiVersion": GROUP, "kind": "MutatingAdmissionPolicy", **named, "spec": spec},
        {
            "apiVersion": GROUP,
            "kind": "MutatingAdmissionPolicyBinding",
            **named,
            "spec": {"policyName": f"{name}-{resource}"},
        },
    ]


@pytest.fixture
def admitted(own: ClusterBench) -> Iterator[ClusterBench]:
    """A namespace whose admission adds a sidecar before the application, a toleration and a variable to pods,
    and a node selector to Deployments."""
    name = own.api.namespace
    sidecar = SIDECAR.replace("IMAGE", own.remote)
    objects = [
        *policy(name, "", "pods", sidecar, ["CREATE"]),
        *policy(name, "apps", "deployments", SELECTOR, ["CREATE", "UPDATE"]),
    ]
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    kubectl(name, "create", "-f", "-", stdin=text)
    try:
        until(lambda: "proxy" in tried(own), 30)  # the API server reads policies with a short delay
        until(lambda: "kubernetes.io/os" in tried_deployment(own), 30)
        yield own
    finally:
        kubectl(name, "delete", "--wait=false", "-f", "-", stdin=text)


def tried(bench: ClusterBench) -> str:
    """A pod as it would be created."""
    manifest = bench.engine._manifests.command(bench.spec(), "tried", ("true",), {})
    manifest["spec"]["tolerations"] = [{"key": "ours", "operator": "Exists"}]
    return kubectl(
        bench.api.namespace, "create", "--dry-run=server", "-o", "json", "-f", "-", stdin=json.dumps(manifest)
    )


def tried_deployment(bench: ClusterBench) -> str:
    manifest = bench.engine._manifests.deployment(bench.spec())
    return kubectl(
        bench.api.namespace, "create", "--dry-run=server", "-o", "json", "-f", "-", stdin=json.dumps(manifest)
    )


def test_a_sidecar_a_toleration_and_a_variable_change_nothing(
    admitted: ClusterBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(problems, "GRACE", 1.0)
    bench, engine = admitted, admitted.engine
    spec = bench.spec(replicas=2)
    bench.deploy(spec)
    [replica, _] = engine.replicas(spec.ref)
    pod = bench.api.get("Pod", replica.name)
    assert pod is not None
    assert [one["name"] for one in pod["spec"]["containers"]] == ["proxy", "app"]
    assert replica.port == spec.config.service.port
    assert engine.missing(spec) == engine.drift(spec) == ()
    before = bench.api.get("Deployment", slot_name(spec.ref))
    engine.revert_drift(spec)
    assert engine.restore(spec) is False
    after = bench.api.get("Deployment", slot_name(spec.ref))
    assert before is not None
    assert after is not None
    assert after["metadata"]["generation"] == before["metadata"]["generation"], "no pod is replaced"
    assert bench.probe.get(engine.public(spec), "/healthz", 5).status == 200
    result = engine.command(spec, "look", shell("echo done; exit 5"), {}, print, bench.watch())
    assert (result.exit_code, result.output) == (5, "done\n")
    engine.forget_command(spec, "look")
    [found] = engine.survey()
    [slot] = found.slots
    assert (slot.remote, slot.well) == (bench.remote, True)

    error = fails(bench, bench.spec("green", 9))
    assert isinstance(error, EngineFailed), "the application is not to blame"
    assert "the container proxy, which the cluster added: its command cannot be executed" in error.message
    assert "-c proxy" in error.advice
