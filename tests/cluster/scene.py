"""The service of ``tests.faults`` with its applications on the test cluster, in a namespace of their own and with
exactly the permissions that docker/kubernetes grants. One more application runs on this machine's Docker Engine."""

from __future__ import annotations

import json
import random
import secrets
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

import docker
from pipeline.adapters.kubernetes.api.client import connect
from pipeline.adapters.kubernetes.api.kube_api import KubeApi
from pipeline.adapters.kubernetes.manifests import selected_slot
from pipeline.adapters.kubernetes.names import COMMAND, PIPELINE, RELEASE, SLOT
from pipeline.adapters.kubernetes.permissions import OUTSIDE
from pipeline.adapters.kubernetes.probe import proxy_path
from pipeline.domain.environment import Environment
from tests.cluster.callers import Callers
from tests.cluster.gateway import Gateway
from tests.faults.scene import SERVICE, UP, Scene
from tests.faults.traps import FOLDER
from tests.faults.trial import Trial
from tests.support import clusterbench
from tests.support.paths import ROOT
from tests.support.service import Service, running
from tests.support.waiting import until

NAMES = tuple(f"app{number}" for number in range(1, 7))
HERE = "here"  # the one on Docker
WORKERS = 8  # some wait in traps
ACCOUNT = "pushlive"
ROLES = "/apis/rbac.authorization.k8s.io/v1/namespaces"
ROLE = ROOT / "docker" / "kubernetes" / "namespace" / "role.yaml"
ON_CLUSTER = SERVICE.replace(
    "ready: 20s", "ready: 30s, drain: 1s, cpu: 200m"
)  # a tenth of the CPU is requested
SMOKE = """[{get: /, contains: version}, {run: [sh, -c, 'wget -q -O - "$PUSHLIVE_URL"']}]"""


def config(registry: str, namespace: str) -> str:
    lines = ["pipelines:", f"  {HERE}: {{service: {SERVICE}, environments: {{live: {{bake: 0}}}}}}"]
    for name in NAMES:
        place = f"environments: {{live: {{bake: 0, engine: {{namespace: {namespace}}}}}}}"
        image = f"registry: {registry}/{namespace}-{name}"
        lines.append(f"  {name}: {{{image}, service: {ON_CLUSTER}, smoke: {SMOKE}, {place}}}")
    return "\n".join(lines) + "\n"


class ClusterScene(Scene):
    """``api``: as the cluster's administrator, directly; the service goes through the ``gateway``."""

    def __init__(self, service: Service, api: KubeApi, gateway: Gateway) -> None:
        super().__init__(service, 0, (*NAMES, HERE))
        self.api, self.gateway = api, gateway

    def page(self, name: str) -> str:
        if name == HERE:
            return super().page(name)
        path = f"{proxy_path(self.api, f'{name}-live')}/"
        answer = self.api.raw("GET", path, f"asking {name}", headers={})
        assert answer.status == 200, answer.data
        return answer.data.decode().strip()

    def serves(self, place: Environment) -> str:
        if place.pipeline == HERE:
            return super().serves(place)
        return selected_slot(self.api.get("Service", f"{place.pipeline}-live")) or ""

    def held(self, name: str) -> set[tuple[str, str]]:
        if name == HERE:
            return super().held(name)
        labels = [
            pod["metadata"]["labels"]
            for pod in self.api.find("Pod", {PIPELINE: name})
            if "deletionTimestamp" not in pod["metadata"]
        ]
        return {(one[SLOT], one[RELEASE]) for one in labels if COMMAND not in one}

    def commands_started(self, since: float, until: float) -> dict[str, int]:
        """Including those on the cluster, of any time: the commands of each run have names of their own."""
        found = Counter(super().commands_started(since, until))
        for event in self.api.find("Event", {}):
            name = event["involvedObject"]["name"]
            if event.get("reason") == "Started" and "-release-" in name:
                found[name] += int(event.get("count") or 1)
        return dict(found)

    def address(self, name: str) -> str:
        """The public Service's IP address."""
        service = self.api.get("Service", f"{name}-live")
        assert service
        return str(service["spec"]["clusterIP"])

    # ── changes to the cluster ──────────────────────────────────────────

    def change(self, method: str, path: str, body: object, kind: str = "application/json") -> Any:
        """A request as the administrator. Raises AssertionError if it fails."""
        headers = {"Content-Type": kind}
        answer = self.api.raw(method, path, "a test", headers=headers, body=json.dumps(body).encode())
        assert 200 <= answer.status < 300, answer.data
        return json.loads(answer.data)

    def allow(self, rules: list[dict[str, Any]]) -> None:
        """Sets the account's permissions."""
        namespace = self.api.namespace
        self.change(
            "PATCH", f"{ROLES}/{namespace}/roles/{ACCOUNT}", {"rules": rules}, "application/merge-patch+json"
        )


def rules() -> list[dict[str, Any]]:
    """Those of docker/kubernetes for a Pushlive outside the cluster."""
    role = next(yaml.safe_load_all(ROLE.read_text()))
    more = [
        {"apiGroups": [one.group], "resources": [one.resource], "verbs": list(one.verbs)} for one in OUTSIDE
    ]
    return [*role["rules"], *more]


def create_account(api: KubeApi) -> str:
    """Creates the account with its permissions in the namespace; returns its token."""
    namespace, headers = api.namespace, {"Content-Type": "application/json"}

    def make(path: str, body: dict[str, Any]) -> Any:
        answer = api.raw("POST", path, "creating it", headers=headers, body=json.dumps(body).encode())
        assert answer.status == 201, answer.data
        return json.loads(answer.data)

    accounts = f"/api/v1/namespaces/{namespace}/serviceaccounts"
    make(accounts, {"metadata": {"name": ACCOUNT}})
    group = "rbac.authorization.k8s.io"
    make(f"{ROLES}/{namespace}/roles", {"metadata": {"name": ACCOUNT}, "rules": rules()})
    who = {"kind": "ServiceAccount", "name": ACCOUNT, "namespace": namespace}
    what = {"apiGroup": group, "kind": "Role", "name": ACCOUNT}
    make(
        f"{ROLES}/{namespace}/rolebindings",
        {"metadata": {"name": ACCOUNT}, "roleRef": what, "subjects": [who]},
    )
    token = make(f"{accounts}/{ACCOUNT}/token", {"spec": {"expirationSeconds": 7200}})
    return str(token["status"]["token"])


def kubeconfig_for(url: str, token: str) -> str:
    """A kubeconfig file's text (JSON is YAML)."""
    name = "through-the-gateway"
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": name,
            "clusters": [{"name": name, "cluster": {"server": url}}],
            "users": [{"name": name, "user": {"token": token}}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        }
    )


@contextmanager
def cluster_scene(
    client: docker.DockerClient, kubeconfig: Path, registry: str, folder: Path
) -> Iterator[ClusterScene]:
    """The service with all its applications live."""
    namespace = f"faults-{secrets.token_hex(3)}"
    api = KubeApi(lambda: connect("", namespace))
    clusterbench.make_namespace(api, namespace)
    try:
        token = create_account(api)
        with Gateway(kubeconfig) as gateway:
            own = folder / "kubeconfig"
            own.write_text(kubeconfig_for(gateway.url, token))
            environ = {
                "KUBECONFIG": str(own),
                "PUSHLIVE_WORKERS": str(WORKERS),
                FOLDER: f"FOLDER/traps-{secrets.token_hex(2)}",
            }
            # With the namespace everything in it goes: `down --all` would delete it one by one.
            up, text = (sys.executable, *UP), config(registry, namespace)
            with running(client, text, up, down=False, **environ) as service:
                one = ClusterScene(service, api, gateway)
                one.begin(one.names)
                yield one
                gateway.restore()
                gateway.forward_all()
    finally:
        clusterbench.end_namespace(api, namespace)


@contextmanager
def trying(scene: ClusterScene, name: str) -> Iterator[Trial]:
    """One trial of a fault on an application, under requests of which none may be lost; it is judged at the end."""
    trial = Trial(scene, name, random.Random(name))
    until(lambda: trial.page() != "", 30)
    try:
        with Callers(scene.address(name)).fresh(1) as callers:
            yield trial
            trial.settle()
        assert callers.lost == []
        assert trial.against_the_rules() == []
        assert trial.verdict() == ([], [])
    except BaseException as error:
        scene.gateway.restore()  # for the next test
        scene.gateway.forward_all()
        error.add_note(trial.evidence())
        raise
    finally:
        scene.forget(name)
