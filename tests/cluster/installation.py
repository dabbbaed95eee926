"""Pushlive itself on the test cluster, installed from docker/kubernetes/example: an image by digest, volumes on this
node, and a Docker Engine over TCP."""

from __future__ import annotations

import json
import secrets
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml

import docker
from pipeline.store import Store
from tests.cluster import where
from tests.support.paths import ROOT
from tests.support.service import SECRET, Service, get
from tests.support.waiting import until

KUBECTL = (str(where.BIN / "kubectl"), "--kubeconfig", str(where.KUBECONFIG))
RESTRICTED = "pod-security.kubernetes.io/enforce=restricted"


def kubectl(*words: str, given: str = "") -> str:
    """Its output. Raises AssertionError if it fails."""
    done = subprocess.run([*KUBECTL, *words], capture_output=True, text=True, input=given, timeout=180)
    assert done.returncode == 0, f"kubectl {' '.join(words)}: {done.stdout}{done.stderr}"
    return done.stdout


@contextmanager
def engine_over_tcp() -> Iterator[str]:
    """This machine's Docker Engine for the pods, ``tcp://10.244.0.1:PORT``: only on the pods' bridge, and only during
    the test."""
    with socket.create_server((where.ADDRESS, 0)) as listener:
        threading.Thread(target=_accept, args=(listener,), daemon=True).start()
        try:
            yield f"tcp://{where.ADDRESS}:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)


def _accept(listener: socket.socket) -> None:
    with suppress(OSError):  # it is closed at the end
        while True:
            near, _ = listener.accept()
            threading.Thread(target=_join, args=(near,), daemon=True).start()


def _join(near: socket.socket) -> None:
    """Copies both ways until both sides have ended."""
    with near, socket.socket(socket.AF_UNIX) as far:
        far.connect("/var/run/docker.sock")
        back = threading.Thread(target=_copy, args=(far, near), daemon=True)
        back.start()
        _copy(near, far)
        back.join()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(1 << 16):
            target.sendall(piece)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


class Installed(Service):
    """The service in pods. ``listen``: the web Service's address in the cluster."""

    def __init__(self, folder: Path, api: docker.APIClient, config: str, image: str, builder: str) -> None:
        super().__init__(folder, api, config, {})
        self.own, self.spaces = f"{self.instance}-own", [f"{self.instance}-dev", f"{self.instance}-live"]
        self.manifests, self.volumes = folder / "manifests", folder / "volumes"
        self.data = self.volumes / "data" / "data"
        self._write(config, image, builder)

    # ── installation ────────────────────────────────────────────────────────────

    def _write(self, config: str, image: str, builder: str) -> None:
        """Writes the example with a maintainer's changes."""
        shutil.copytree(ROOT / "docker" / "kubernetes", self.manifests)
        for path in self.manifests.rglob("*.yaml"):
            text = path.read_text().replace("namespace: pushlive", f"namespace: {self.own}")
            path.write_text(text.replace("namespace: hello-", f"namespace: {self.instance}-"))
        example = self.manifests / "example" / "pushlive"
        (example / "pipelines.yaml").write_text(config.replace("SPACE", self.instance))
        github = "PUSHLIVE_GITHUB_SECRET_FILE=/etc/pushlive/secrets/github"
        settings = f"PUSHLIVE_INSTANCE={self.instance}\nDOCKER_HOST={builder}\n{github}\n"
        settings += f"PUSHLIVE_ACTIVATOR_IMAGE={image}\n"
        (example / "settings.env").write_text(settings)
        password = secrets.token_hex(32)
        (example / "url").write_text(f"redis://:{password}@pushlive-store:6379/0\n")
        (example / "store.conf").write_text(f"requirepass {password}\n")
        made = yaml.safe_load((example / "kustomization.yaml").read_text())
        name, _, digest = image.partition("@")
        made["images"] = [{"name": "pushlive", "newName": name, "digest": digest}]
        (example / "kustomization.yaml").write_text(yaml.safe_dump(made))
        self.password = password

    def up(self) -> None:
        for space in (self.own, *self.spaces):
            kubectl("create", "namespace", space)
        kubectl(
            "label", "namespace", self.own, RESTRICTED
        )  # refuses pods with more privileges than they need
        kubectl(
            "-n",
            self.own,
            "create",
            "secret",
            "generic",
            "pushlive-secrets",
            f"--from-literal=github={SECRET}",
        )
        self._volume("data", "pushlive-data", "ReadWriteMany")
        self._volume("store", "store-pushlive-store-0", "ReadWriteOnce")
        self.apply()
        kubectl("-n", self.own, "rollout", "status", "--timeout=120s", "deployment/pushlive-web")
        self.listen = f"{self.address(self.own, 'pushlive-web')}:80"
        self.environ |= {"PUSHLIVE_URL": f"http://{self.listen}", "PUSHLIVE_TOKEN": self.token}
        until(self._answers, 20)

    def apply(self) -> None:
        kubectl("apply", "-k", str(self.manifests / "example"))

    def _volume(self, name: str, claim: str, mode: str) -> None:
        """A folder of this node that belongs to root, as on a new disk; `fsGroup` gives the service access."""
        folder = self.volumes / name
        folder.mkdir(parents=True)
        here = {"key": "kubernetes.io/hostname", "operator": "In", "values": [where.NODE]}
        spec = {
            "capacity": {"storage": "20Gi"},
            "accessModes": [mode],
            "local": {"path": str(folder)},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}},
            "claimRef": {"namespace": self.own, "name": claim},
        }
        volume = {"apiVersion": "v1", "kind": "PersistentVolume", "spec": spec}
        volume["metadata"] = {"name": f"{self.instance}-{name}"}
        kubectl("create", "-f", "-", given=json.dumps(volume))

    def close(self) -> None:
        kubectl("delete", "namespace", "--ignore-not-found", "--wait=false", self.own, *self.spaces)
        for name in ("data", "store"):
            kubectl("delete", "pv", "--ignore-not-found", "--wait=false", f"{self.instance}-{name}")
        until(lambda: not self.objects(self.own, "pods"), 90)  # they still write to the folder

    # ── inspection ────────────────────────────────────────────────────────

    def _answers(self) -> bool:
        with suppress(OSError):
            return self.api("GET", "/healthz")[0] == 200
        return False

    def inside(self, *arguments: str) -> str:
        """Runs the command line in the web pod."""
        return kubectl("-n", self.own, "exec", "deploy/pushlive-web", "--", "pushlive", *arguments)

    @staticmethod
    def objects(space: str, kind: str, *more: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(kubectl("-n", space, "get", kind, "-o", "json", *more))[
            "items"
        ]
        return found

    @staticmethod
    def address(space: str, service: str) -> str:
        return kubectl("-n", space, "get", "service", service, "-o", "jsonpath={.spec.clusterIP}")

    def page(self, environment: str = "live", path: str = "/", name: str = "hello") -> str:
        """The answer of the environment's public Service."""
        address = self.address(f"{self.instance}-{environment}", f"{name}-{environment}")
        status, body = get(f"http://{address}{path}")
        assert status == 200, body
        return body

    def doctor(self) -> dict[str, dict[str, Any]]:
        """The checks by name."""
        return {one["name"]: one for one in self.ask("GET", "/api/doctor")["checks"]}

    def carrier(self, run: str) -> str:
        """The pod whose worker carries the run."""
        url = f"redis://:{self.password}@{self.address(self.own, 'pushlive-store')}:6379/0"
        store = Store(url, self.instance)
        try:
            owner = store.client.get(store.key(f"lease:run:{run}"))
        finally:
            store.client.close()
        return str(owner or "").partition("/")[0]
