"""The part of a fixture that is recorded on the test cluster: what its API was told, and what an image is pulled from
the registry as."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import tarfile
import urllib.request
from pathlib import Path
from typing import Any

import docker
from pipeline.adapters.kubernetes.api.client import connect
from tests.cluster import where
from tests.support import clusterbench
from tests.support.waiting import until
from tests.upgrade.installation import FIRST, FOLDER, INSTANCE, Installation
from tests.upgrade.tap import tapped

NAMESPACE = "pushlive-recorded"
REGISTRY = f"localhost:{where.REGISTRY}"
REPOSITORY = f"{INSTANCE}/cluster"
PROXY, TAP = FIRST + 36, FIRST + 37
KINDS = "deployments,services,ingresses,poddisruptionbudgets,configmaps,secrets"
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG = f"""\
pipelines:
  cluster:
    registry: {REGISTRY}/{REPOSITORY}
    service:
      memory: 16MiB
      cpu: 50m
      stop: 1s
      keep_warm: 3650d
      drain: 2s
      env: {{GREETING: "it costs $5"}}
      secrets: [PASSWORD]
      release: [/app, migrate]
    smoke: [{{get: /, contains: version}}, {{tcp: 8080}}, {{run: [/app, check]}}]
    environments:
      qa: {{engine: {{namespace: {NAMESPACE}}}, security: strict, command: [/app, serve]}}
      live: {{engine: {{namespace: {NAMESPACE}}}, host: hello.example.com, replicas: 2}}
"""
KUBECONFIG = f"""\
apiVersion: v1
kind: Config
current-context: recorded
clusters: [{{name: recorded, cluster: {{server: "http://127.0.0.1:{TAP}"}}}}]
users: [{{name: recorded, user: {{}}}}]
contexts: [{{name: recorded, context: {{cluster: recorded, user: recorded, namespace: {NAMESPACE}}}}}]
"""


def record(client: docker.DockerClient, checkout: Path, python: str) -> dict[str, Any]:
    """A service with two environments on the cluster; what there is to keep of it."""
    from tests.upgrade.record import push

    os.environ["KUBECONFIG"] = str(where.KUBECONFIG)
    administrator = clusterbench.KubeApi(lambda: connect("", "default"))
    (FOLDER / "pipelines.yaml").write_text(CONFIG)
    (FOLDER / "kubeconfig").write_text(KUBECONFIG)
    proxy = subprocess.Popen(
        ["kubectl", "proxy", f"--port={PROXY}", "--reject-paths=^$"], stdout=subprocess.DEVNULL
    )
    clusterbench.make_namespace(administrator, NAMESPACE)
    service = Installation(client, checkout, python, KUBECONFIG=str(FOLDER / "kubeconfig"))
    try:
        until(lambda: "default" in clusterbench.kubectl(NAMESPACE, "get", "serviceaccounts"))
        with tapped(("127.0.0.1", TAP), ("127.0.0.1", PROXY), r"^(PATCH|POST) /api") as tap:
            service.up()
            service.pushlive("secret", "set", "cluster", "PASSWORD", text="made-up-password\n")
            for number in (1, 2):
                push(service, "cluster", f"version {number}")
                assert service.run("cluster")["outcome"] == "live", service.log(f"cluster#{number}")
            until(lambda: detached() == {"cluster-qa-blue", "cluster-live-blue"}, 60)
            return {
                "namespace": NAMESPACE,
                "registry": REGISTRY,
                "requests": [one._asdict() for one in tap.requests],
                "objects": [bare(one) for one in kubectl_json()["items"] if ours(one)],
                "environments": environments(service),
                "runs": {run["id"]: service.show(run["id"]) for run in service.runs("cluster")},
                "status": service.ask("GET", "/api/status"),
                "images": [
                    image(service.show(run)["release"]["remote"]) for run in ("cluster#1", "cluster#2")
                ],
            }
    except BaseException:
        print(service.output)  # noqa: T201
        raise
    finally:
        service.end()
        clusterbench.end_namespace(administrator, NAMESPACE)
        proxy.terminate()
        proxy.wait()


def detached() -> set[str]:
    """Deployments whose connections were ended after the switch."""
    found = (one["metadata"] for one in kubectl_json()["items"] if one["kind"] == "Deployment")
    return {one["name"] for one in found if "pushlive/detached" in one.get("annotations", {})}


def environments(service: Installation) -> dict[str, Any]:
    """Their records, as a backup has them."""
    service.pushlive("backup", str(FOLDER / "backup.tgz"))
    with tarfile.open(FOLDER / "backup.tgz") as archive:
        lines = archive.extractfile("store.jsonl")
        assert lines
        found: dict[str, Any] = next(
            line["value"] for line in map(json.loads, lines) if line["key"] == "environments:cluster"
        )
    return found


def kubectl_json() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        clusterbench.kubectl(NAMESPACE, "get", KINDS, "-o", "json", "--show-managed-fields")
    )
    return found


def ours(one: dict[str, Any]) -> bool:
    return "pushlive/instance" in one["metadata"].get("labels", {})


def bare(one: dict[str, Any]) -> dict[str, Any]:
    """Without what the cluster dealt it: state, addresses, numbers and times."""
    dealt = ("uid", "resourceVersion", "creationTimestamp", "generation")
    metadata = {key: value for key, value in one["metadata"].items() if key not in dealt}
    metadata["managedFields"] = [
        {key: value for key, value in entry.items() if key != "time"}
        for entry in metadata.get("managedFields", ())
        if not entry.get("subresource")
    ]
    spec = {
        key: value for key, value in one.get("spec", {}).items() if key not in ("clusterIP", "clusterIPs")
    }
    rest = {key: value for key, value in one.items() if key not in ("metadata", "spec", "status")}
    return {**rest, "metadata": metadata, **({"spec": spec} if spec else {})}


def image(remote: str) -> dict[str, Any]:
    """A manifest and what it names, as the registry has them."""
    digest = remote.partition("@")[2]
    manifest = fetched(f"manifests/{digest}")
    named = json.loads(manifest)
    blobs = [named["config"]["digest"], *(layer["digest"] for layer in named["layers"])]
    texts = {one: base64.b64encode(fetched(f"blobs/{one}")).decode() for one in blobs}
    return {"digest": digest, "manifest": base64.b64encode(manifest).decode(), "blobs": texts}


def fetched(path: str) -> bytes:
    url = f"http://{REGISTRY}/v2/{REPOSITORY}/{path}"
    with urllib.request.urlopen(urllib.request.Request(url, headers={"Accept": MANIFEST})) as answer:
        return bytes(answer.read())
