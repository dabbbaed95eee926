"""Pushlive itself on the cluster, with exactly the permissions that docker/kubernetes grants: a push goes live in two
namespaces and is reverted; a worker that ends loses nothing; a missing permission is reported, and cannot be used."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException

import docker
from pipeline.adapters.kubernetes.pods.state import is_ready
from tests.cluster.installation import Installed, engine_over_tcp, kubectl
from tests.conftest import push, sweep
from tests.support.developer import web
from tests.support.paths import ROOT
from tests.support.service import PUSHLIVE, SECRET
from tests.support.waiting import until

pytestmark = pytest.mark.skipif(
    "PUSHLIVE_TEST_KUBECONFIG" in os.environ, reason="needs a node that mounts this machine's folders"
)
CONFIG = """\
pipelines:
  hello:
    service: {memory: 128MiB, cpu: 500m, stop: 1s, secrets: [WORD]}
    registry: REGISTRY/SPACE-hello
    environments:
      dev: {engine: {namespace: SPACE-dev}, sleep_after: 2h}
      live: {engine: {namespace: SPACE-live}, replicas: 2}
"""
TELL = 'echo "$WORD" >/www/word; exec httpd -f -p 0.0.0.0:8080 -h /www'


@pytest.fixture(scope="module")
def service(
    docker_client: docker.DockerClient, base_images: None, kubeconfig: Path, registry: str
) -> Iterator[Installed]:
    built = subprocess.run([ROOT / "scripts" / "image"], capture_output=True, text=True, timeout=600)
    assert built.returncode == 0, built.stdout + built.stderr
    image = push(docker_client, built.stdout.split()[-1], f"{registry}/pushlive")
    folder = Path(tempfile.mkdtemp(prefix="pl-"))
    folder.chmod(0o755)  # the pods' user reads it
    with engine_over_tcp() as builder:
        one = Installed(folder, docker_client.api, CONFIG.replace("REGISTRY", registry), image, builder)
        try:
            one.up()
            yield one
        finally:
            one.close()
            sweep(docker_client, one.instance)
            shutil.rmtree(folder, ignore_errors=True)


def put(service: Installed, value: str) -> None:
    """``pushlive secret set``, with the value on its standard input."""
    command = [*PUSHLIVE, "secret", "set", "hello", "WORD"]
    done = subprocess.run(
        command, env=service.environ, text=True, input=value, capture_output=True, timeout=60
    )
    assert done.returncode == 0, done.stderr


def test_a_push_goes_live_in_two_namespaces_with_a_secret(service: Installed) -> None:
    put(service, "first")
    output = service.push(web("version 1", command=TELL))
    assert service.run("hello#1")["outcome"] == "live", output
    assert "r1 ready" in output
    assert (service.page("dev"), service.page("live")) == ("version 1\n", "version 1\n")
    assert service.page("live", "/word") == "first\n"
    live = service.objects(service.spaces[1], "pods")
    assert len(live) == 2
    assert "@sha256:" in live[0]["spec"]["containers"][0]["image"]


def shows(service: Installed, page: str, word: str) -> None:
    """Waits until live shows them: a node follows the Service's endpoints with a short delay."""
    until(lambda: (service.page(), service.page("live", "/word")) == (page, word))


def test_a_revert_restores_the_release_and_its_secret(service: Installed) -> None:
    put(service, "second")
    service.push(web("version 2", command=TELL))
    shows(service, "version 2\n", "second\n")
    service.pushlive("revert", "hello", "--reason", "a look back")
    shows(service, "version 1\n", "first\n")
    service.pushlive("resume", "hello")


def test_the_service_checks_its_permissions_and_none_is_missing(service: Installed) -> None:
    until(lambda: service.doctor()["workers"]["ok"], 30)
    checks = service.doctor()
    assert [one for one in checks.values() if not one["ok"]] == []
    for space in service.spaces:
        assert "this account has every permission it needs" in checks[f"kubernetes:/{space}"]["text"]
    assert "engine" not in checks  # Docker builds the images, and runs nothing
    assert checks["builder"]["text"].startswith("Docker Engine")
    assert "hello" in service.inside("status")
    until(lambda: all(map(is_ready, service.objects(service.own, "pods"))), 60)  # by their own probes


@pytest.mark.parametrize("grace", ["--grace-period=30", "--grace-period=0"])
def test_deleting_a_worker_during_a_run_loses_nothing(service: Installed, grace: str) -> None:
    kubectl("-n", service.own, "scale", "deployment/pushlive-workers", "--replicas=2")
    kubectl("-n", service.own, "rollout", "status", "--timeout=60s", "deployment/pushlive-workers")
    repository = service.repository()
    content = f"taken away with {grace}"
    repository.commit(web(content, command=f"sleep 4; {TELL}"), content)
    pushing = repository.started("push", "pushlive", "main")
    number = len(service.runs()) + 1
    until(lambda: len(service.runs()) == number, 20)
    run = f"hello#{number}"
    service.reached(run, "dev")
    pod = service.carrier(run)
    force = ["--force"] if grace.endswith("=0") else []
    kubectl("-n", service.own, "delete", "pod", pod, grace, *force, "--wait=false")
    until(lambda: service.carrier(run) not in ("", pod), 30)  # the other pod's worker continues it
    pushing.communicate(timeout=90)
    assert service.wait(run)["outcome"] == "live"
    until(lambda: service.page() == f"{content}\n")


def test_a_permission_that_was_removed_is_reported(service: Installed) -> None:
    role = json.loads(kubectl("-n", service.spaces[1], "get", "role", "pushlive", "-o", "json"))
    for rule in role["rules"]:
        if "deployments" in rule["resources"]:
            rule["verbs"].remove("patch")
    kubectl("apply", "-f", "-", given=json.dumps(role))
    check = service.doctor()[f"kubernetes:/{service.spaces[1]}"]
    assert not check["ok"]
    assert "may not patch deployments.apps" in check["text"]
    before = service.page()
    service.push(web("forbidden", command=TELL))
    run = service.run()
    assert (run["state"], run["stage"], run["outcome"]) == ("ended", "live", "failed")
    assert 'cannot patch resource "deployments"' in run["failure"]["message"]
    assert service.page() == before
    service.apply()
    assert service.doctor()[f"kubernetes:/{service.spaces[1]}"]["ok"]
    service.pushlive("retry", "hello")
    until(lambda: service.page() == "forbidden\n", 60)


def test_a_webhooks_secret_comes_from_a_file(service: Installed) -> None:
    body = json.dumps({"zen": "Design for failure."}).encode()
    for secret, status in ((SECRET, 200), ("another", 401)):
        signature = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
        headers = {
            "Content-Type": "application/json",
            "X-GitHub-Event": "ping",
            "X-GitHub-Delivery": secrets.token_hex(),
            "X-Hub-Signature-256": f"sha256={signature}",
        }
        assert service.http("POST", "/hooks/github", body, headers)[0] == status


def pods_of(service: Installed, *slots: str) -> list[dict[str, Any]]:
    """Those of these slots in dev."""
    return service.objects(service.spaces[0], "pods", "-l", f"pushlive/slot in ({','.join(slots)})")


def comes_by_activator(service: Installed) -> bool:
    """What comes to dev, once nodes have seen it."""
    (public,) = service.objects(service.spaces[0], "services", "-l", "pushlive/route=public")
    return str(public["spec"]["selector"]["pushlive/slot"]).endswith("-activator")


def sleeps(service: Installed) -> object:
    (found,) = service.ask("GET", "/api/status")["pipelines"]
    return next(one for one in found["environments"] if one["name"] == "dev")["asleep"]


def test_everything_can_be_stopped_and_started_again(service: Installed) -> None:
    """Nothing is kept in a pod, and private files are still private after their volume is mounted again."""
    before, dev = service.page("live", "/word"), service.page("dev")
    until(lambda: comes_by_activator(service), 60)
    service.pushlive("sleep", "hello", "dev")
    until(lambda: not pods_of(service, "blue", "green"), 60)
    parts = ("deployment/pushlive-web", "deployment/pushlive-workers", "statefulset/pushlive-store")
    kubectl("-n", service.own, "scale", "--replicas=0", *parts)
    until(lambda: not service.objects(service.own, "pods"), 60)
    assert service.page("live", "/word") == before  # what is live does not need Pushlive
    assert service.page("dev") == dev  # nor does what sleeps, to wake
    assert pods_of(service, "blue", "green")
    kubectl("-n", service.own, "scale", "--replicas=1", *parts)
    kubectl("-n", service.own, "rollout", "status", "--timeout=60s", *parts[:2])
    until(lambda: service.doctor()["workers"]["ok"], 60)
    until(lambda: sleeps(service) is None, 60)
    assert [one for one in service.doctor().values() if not one["ok"]] == []
    number = len(service.runs())
    service.push(web("after it all", command=TELL))
    assert service.run(f"hello#{number + 1}")["outcome"] == "live"
    shows(service, "after it all\n", before)
    assert "files" in service.inside("backup", "/tmp/backup")


def test_it_has_no_permissions_in_other_namespaces(service: Installed, kubeconfig: Path) -> None:
    words = ("-n", service.own, "create", "token", "pushlive")
    own = client.Configuration()
    config.load_kube_config(str(kubeconfig), client_configuration=own)
    own.cert_file = own.key_file = None
    own.api_key = {"authorization": f"Bearer {kubectl(*words).strip()}"}
    with client.ApiClient(own) as account:
        core, made = client.CoreV1Api(account), {"metadata": {"name": "x"}}
        core.list_namespaced_pod(service.spaces[1])
        for space in ("default", "kube-system", service.own):
            for act in (
                lambda space: core.list_namespaced_secret(space),
                lambda space: core.list_namespaced_pod(space),
                lambda space: core.create_namespaced_config_map(space, made),
            ):
                with pytest.raises(ApiException) as refused:
                    act(space)
                assert refused.value.status == 403, space
        with pytest.raises(ApiException) as refused:
            core.list_node()
        assert refused.value.status == 403


def test_the_component_one_node_uses_a_volume_of_that_node(service: Installed, tmp_path: Path) -> None:
    """A dry run on the API server; nothing is changed."""
    shutil.copytree(service.manifests, tmp_path / "manifests")
    overlay = tmp_path / "manifests" / "example" / "pushlive" / "kustomization.yaml"
    made = yaml.safe_load(overlay.read_text())
    overlay.write_text(yaml.safe_dump({**made, "components": ["../../one-node"], "namespace": "default"}))
    found = kubectl("apply", "--dry-run=server", "-o", "json", "-k", str(overlay.parent))
    items = {
        (one["kind"], one["metadata"]["name"]): one["spec"]
        for one in json.loads(found)["items"]
        if "spec" in one
    }
    assert items["PersistentVolumeClaim", "pushlive-data"]["accessModes"] == ["ReadWriteOnce"]
    for name in ("pushlive-web", "pushlive-workers"):
        affinity = items["Deployment", name]["template"]["spec"]["affinity"]["podAffinity"]
        assert affinity["requiredDuringSchedulingIgnoredDuringExecution"]


def test_down_removes_every_application(service: Installed) -> None:
    kubectl("-n", service.own, "scale", "deployment/pushlive-workers", "--replicas=0")
    workers = ("-l", "app.kubernetes.io/component=workers")
    until(lambda: not service.objects(service.own, "pods", *workers), 60)
    said = service.inside("down", "--all")
    for name in ("dev", "live"):
        assert f"removed hello/{name}" in said
    for space in service.spaces:
        for kind in ("deployments", "services", "poddisruptionbudgets", "secrets", "configmaps"):
            names = [one["metadata"]["name"] for one in service.objects(space, kind)]
            assert [name for name in names if name != "kube-root-ca.crt"] == [], kind
