"""The cluster is what the engine's tests assume: real pods, Services and permissions. One test per assumption."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException

import docker
from tests.cluster import where
from tests.conftest import push, scripts_cluster
from tests.support.paths import ROOT
from tests.support.waiting import until

local = pytest.mark.skipif(
    "PUSHLIVE_TEST_KUBECONFIG" in os.environ, reason="needs the cluster of scripts/cluster"
)
LOGIN = {"username": where.REGISTRY_USER, "password": where.REGISTRY_PASSWORD}


@dataclass
class Space:
    """A namespace of its own."""

    core: client.CoreV1Api
    name: str

    def run(self, name: str, image: str, *command: str, **spec: Any) -> None:
        container = {
            "name": "app",
            "image": image,
            "readinessProbe": {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 1},
            **({"command": list(command), "readinessProbe": None} if command else {}),
            **spec.pop("container", {}),
        }
        meta = {"name": name, "labels": {"app": name}, "finalizers": spec.pop("finalizers", [])}
        body = {"metadata": meta, "spec": {"containers": [container], "restartPolicy": "Never", **spec}}
        self.core.create_namespaced_pod(self.name, body)

    def pod(self, name: str) -> Any:
        return self.core.read_namespaced_pod(name, self.name)

    def until(self, name: str, seen: Callable[[Any], object]) -> Any:
        """The pod, once ``seen`` is true of it."""
        until(lambda: seen(self.pod(name)), 30)
        return self.pod(name)

    def serve(self, name: str) -> Any:
        spec = {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": 8080}]}
        return self.core.create_namespaced_service(self.name, {"metadata": {"name": name}, "spec": spec})


@pytest.fixture(scope="module")
def core(kubeconfig: Path) -> Iterator[client.CoreV1Api]:
    with config.new_client_from_config(str(kubeconfig)) as one:
        yield client.CoreV1Api(one)


@pytest.fixture
def space(core: client.CoreV1Api) -> Iterator[Space]:
    one = Space(core, f"cluster-{secrets.token_hex(4)}")
    core.create_namespace({"metadata": {"name": one.name}})
    until(lambda: core.list_namespaced_service_account(one.name).items)
    yield one
    core.delete_namespace(one.name)


def ready(pod: Any) -> bool:
    return any(one.type == "Ready" and one.status == "True" for one in pod.status.conditions or [])


def exit_of(pod: Any) -> Any:
    """How its container ended, if it did."""
    status = (pod.status.container_statuses or [None])[0]
    return status and status.state.terminated


def waiting_for(pod: Any) -> str:
    status = (pod.status.container_statuses or [None])[0]
    return (status and status.state.waiting and status.state.waiting.reason) or ""


def ask(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read().decode()


def test_the_node_is_ready_and_takes_pods(core: client.CoreV1Api) -> None:
    node, *_ = core.list_node().items
    assert ready(node)
    assert not node.spec.taints


@local
def test_a_pod_from_the_registry_by_digest_answers_at_its_ip_address(space: Space, pushed_app: str) -> None:
    space.run("hello", pushed_app)
    pod = space.until("hello", ready)
    assert ask(f"http://{pod.status.pod_ip}:8080/?text").startswith("Hello ")


@local
def test_a_service_can_be_reached_from_the_host_and_from_pods(space: Space, pushed_app: str) -> None:
    """Also from the pod itself."""
    address = space.serve("hello").spec.cluster_ip
    space.run("hello", pushed_app)
    space.run("visitor", pushed_app)
    space.until("hello", ready)
    space.until("visitor", ready)
    until(lambda: answers(f"http://{address}/?text"))  # the rules follow the endpoints with a short delay
    for visitor in ("hello", "visitor"):
        said = inside(space, visitor, "wget", "-q", "-O", "-", f"http://{address}/?text")
        assert said.startswith("Hello "), visitor


@local
def test_a_service_is_resolved_by_its_name(space: Space, pushed_app: str) -> None:
    space.serve("hello")
    space.run("hello", pushed_app)
    space.until("hello", ready)
    url = f"http://hello.{space.name}.svc/?text"
    until(lambda: "Hello " in inside(space, "hello", "wget", "-q", "-O", "-", url), 30)


def answers(url: str) -> bool:
    try:
        return ask(url).startswith("Hello ")
    except OSError:
        return False


def inside(space: Space, pod: str, *command: str) -> str:
    kubectl = ("scripts/cluster", "kubectl", "-n", space.name, "exec", pod, "--", *command)
    return subprocess.run(kubectl, cwd=ROOT, capture_output=True, text=True).stdout


def test_a_service_can_be_reached_through_the_api_servers_proxy(space: Space, pushed_app: str) -> None:
    space.serve("hello")
    space.run("hello", pushed_app)
    space.until("hello", ready)

    def through() -> bool:
        try:
            answer = space.core.connect_get_namespaced_service_proxy_with_path(
                "hello:80", space.name, "healthz", _preload_content=False
            )
        except ApiException as error:
            if error.status == 503:  # the API server does not know the endpoint yet
                return False
            raise
        return answer.status == 200

    until(through)


@pytest.mark.parametrize(("shared", "code"), [(True, 143), (False, 137)])
def test_an_application_that_is_not_pid_1_ends_on_sigterm(
    space: Space, pushed_app: str, shared: bool, code: int
) -> None:
    """With 128 + SIGTERM if the sandbox is PID 1; otherwise the kernel ignores signals that it does not handle."""
    hold = ["pushlive.test/hold"]  # keeps the ended pod
    spec = {"shareProcessNamespace": shared, "terminationGracePeriodSeconds": 1 if code == 137 else 60}
    space.run("hello", pushed_app, finalizers=hold, **spec)
    space.until("hello", ready)
    space.core.delete_namespaced_pod("hello", space.name)
    ended = exit_of(space.until("hello", exit_of))
    space.core.patch_namespaced_pod("hello", space.name, {"metadata": {"finalizers": None}})
    assert ended.exit_code == code


def test_the_sandbox_reaps_orphaned_processes(space: Space, pushed_app: str) -> None:
    """No zombie is left."""
    orphan = "(sleep 0.1 & true) ; sleep 0.5; ps -o stat,comm | grep -c '^Z'"
    space.run("orphans", pushed_app, "sh", "-c", f"{orphan}; true", shareProcessNamespace=True)
    space.until("orphans", exit_of)
    assert space.core.read_namespaced_pod_log("orphans", space.name).strip() == "0"


def test_running_out_of_memory_is_reported(space: Space, pushed_app: str) -> None:
    limits = {"resources": {"limits": {"memory": "16Mi"}}}
    space.run("greedy", pushed_app, "dd", "if=/dev/zero", "of=/dev/null", "bs=64M", container=limits)
    assert exit_of(space.until("greedy", exit_of)).reason == "OOMKilled"


@local
def test_a_registry_with_a_password_needs_the_secret(
    space: Space, docker_client: docker.DockerClient, app_image: str, instance: str
) -> None:
    address = f"localhost:{where.LOCKED_REGISTRY}"
    image = push(docker_client, app_image, f"{address}/{instance}-app", LOGIN)
    space.run("stranger", image)
    space.until("stranger", lambda pod: waiting_for(pod) in ("ErrImagePull", "ImagePullBackOff"))
    body = {
        "metadata": {"name": "login"},
        "type": "kubernetes.io/dockerconfigjson",
        "stringData": {".dockerconfigjson": json.dumps({"auths": {address: LOGIN}})},
    }
    space.core.create_namespaced_secret(space.name, body)
    space.run("friend", image, imagePullSecrets=[{"name": "login"}])
    space.until("friend", ready)


def test_an_account_without_a_role_has_no_permissions(space: Space, kubeconfig: Path) -> None:
    token = space.core.create_namespaced_service_account_token(
        "default", space.name, {"spec": {}}
    ).status.token
    own = client.Configuration()
    config.load_kube_config(str(kubeconfig), client_configuration=own)
    own.cert_file = own.key_file = None
    own.api_key = {"authorization": f"Bearer {token}"}
    with client.ApiClient(own) as stranger, pytest.raises(ApiException) as refused:
        client.CoreV1Api(stranger).list_namespaced_pod(space.name)
    assert refused.value.status == 403  # authenticated, but not permitted
    assert f"system:serviceaccount:{space.name}:default" in refused.value.body


@local
def test_a_killed_component_is_reported_and_started_again(kubeconfig: Path) -> None:
    scripts_cluster("kill", "kube-scheduler")
    status = subprocess.run([ROOT / "scripts" / "cluster", "status"], capture_output=True, text=True)
    assert status.returncode == 1
    assert any("kube-scheduler" in line and "does not run" in line for line in status.stdout.splitlines())
    assert scripts_cluster("up").strip() == str(kubeconfig)
    assert "does not" not in scripts_cluster("status")
