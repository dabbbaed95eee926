"""The Gateway API on the test cluster: its own CRDs, and Traefik as controller and as what passes requests on.

``python -m tests.support.gateway_api`` builds Traefik once, from its Go module: four minutes on two idle cores.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import urllib3

from tests.support.clusterbench import kubectl
from tests.support.ports import free_ports
from tests.support.waiting import until

CRDS = ("sigs.k8s.io/gateway-api", "v1.4.1")
TRAEFIK = ("github.com/traefik/traefik/v3", "v3.6.12")
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pushlive"
CONTROLLER = "traefik.io/gateway-controller"
OWNER = "pushlive/test"  # label: the session whose Traefik takes up a class


def crds() -> Path:
    """The folder with those of the standard channel, as its Go module has them."""
    found = CACHE / f"gateway-api-{CRDS[1]}"
    with _once("gateway-api"):
        if not found.exists():
            unfinished = found.with_name(f"{found.name}.{os.getpid()}")
            shutil.copytree(
                _module(CRDS) / "config" / "crd" / "standard", unfinished, copy_function=shutil.copyfile
            )
            unfinished.chmod(0o755)
            unfinished.rename(found)
    return found


def program() -> Path:
    """Traefik. Raises RuntimeError if it cannot be built."""
    found = CACHE / f"traefik-{TRAEFIK[1]}"
    with _once("traefik"):
        if not found.exists():
            _build(found)
    return found


@contextmanager
def _once(name: str) -> Iterator[None]:
    """One builds, and the others wait for it."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _module(which: tuple[str, str]) -> Path:
    """Where the Go module is, verified by Go's checksum database."""
    if not shutil.which("go"):
        raise RuntimeError(f"Go 1.26 or newer is needed for {which[0]} (see https://go.dev/dl).")
    command = ["go", "mod", "download", "-json", "@".join(which)]
    done = subprocess.run(command, capture_output=True, text=True, cwd="/")
    if done.returncode:
        raise RuntimeError(f"Go could not download {which[0]}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return Path(json.loads(done.stdout)["Dir"])


def _build(target: Path) -> None:
    """In the module's own folder: so its `replace` lines hold, and its go.sum verifies what it needs."""
    unfinished = target.with_name(f"{target.name}.{os.getpid()}")
    done = subprocess.run(
        [
            "go",
            "build",
            "-trimpath",
            "-buildvcs=false",
            "-ldflags",
            "-s -w",
            "-o",
            unfinished,
            "./cmd/traefik",
        ],
        cwd=_module(TRAEFIK),
        env={**os.environ, "CGO_ENABLED": "0"},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"Go could not build {TRAEFIK[0]}: {done.stderr[-2000:]}")
    unfinished.rename(target)


# ── on the cluster ───────────────────────────────────────────────────────────


def install() -> None:
    """The CRDs, for good. Idempotent."""
    kubectl("default", "apply", "--server-side", "-f", str(crds()))
    kubectl("default", "wait", "--for=condition=Established", "--timeout=60s", "-f", str(crds()))


@dataclass
class Gateway:
    """``port``: where it takes requests on this machine; ``name``: of the Gateway, in ``namespace``; ``process``:
    Traefik's."""

    port: int
    name: str
    namespace: str
    process: subprocess.Popen[bytes]
    log: Path

    def route(self, name: str, service: str, host: str, **rule: Any) -> None:
        """Makes an HTTPRoute whose only rule sends to that Service, and waits until requests get there: Traefik says
        that it has accepted a route before it passes requests on by it."""
        backend = {"name": service, "port": 80}
        self.apply(name, host, [{"backendRefs": [backend], **rule}])
        until(lambda: self._status(host) == 200, 30)

    def _status(self, host: str) -> int:
        headers = {"Host": host}
        return urllib3.request("GET", f"http://127.0.0.1:{self.port}/", headers=headers, retries=False).status

    def apply(self, name: str, host: str, rules: list[dict[str, Any]]) -> None:
        manifest = {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "HTTPRoute",
            "metadata": {"name": name},
            "spec": {"parentRefs": [{"name": self.name}], "hostnames": [host], "rules": rules},
        }
        kubectl(self.namespace, "apply", "-f", "-", stdin=json.dumps(manifest))
        until(lambda: self._accepted(name), 30)

    def _accepted(self, name: str) -> bool:
        found = self.of(name)
        conditions = [
            one
            for parent in found.get("status", {}).get("parents") or ()
            for one in parent["conditions"]
            if one["type"] == "Accepted"
        ]
        return any(
            one["status"] == "True" and one["observedGeneration"] >= found["metadata"]["generation"]
            for one in conditions
        )

    def of(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(kubectl(self.namespace, "get", "httproute", name, "-o", "json"))
        return found

    def weights(self, name: str, rule: int = 0) -> dict[str, int]:
        """By Service."""
        return {one["name"]: one["weight"] for one in self.of(name)["spec"]["rules"][rule]["backendRefs"]}


@contextmanager
def gateway(namespace: str, kubeconfig: Path) -> Iterator[Gateway]:
    """A Gateway in that namespace, with a class and a Traefik of its own."""
    install()
    port, ping = free_ports(2), free_ports(1)
    name = f"pushlive-test-{namespace}"
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root)
        for one in _objects(name, namespace, port):
            kubectl(namespace, "apply", "-f", "-", stdin=json.dumps(one))
        config = folder / "traefik.yaml"
        config.write_text(json.dumps(_config(name, port, ping)))
        with (folder / "log").open("wb") as log:
            environ = {**os.environ, "KUBECONFIG": str(kubeconfig)}
            words = [program(), f"--configfile={config}"]
            process = subprocess.Popen(words, stdout=log, stderr=log, env=environ)
            try:
                until(lambda: _answers(ping) or process.poll() is not None, 60)
                assert process.poll() is None, (folder / "log").read_text()[-2000:]
                yield Gateway(port, "web", namespace, process, folder / "log")
            finally:
                process.kill()
                process.wait()
                kubectl(namespace, "delete", "--ignore-not-found", "gatewayclass", name)


def _objects(name: str, namespace: str, port: int) -> Iterator[dict[str, Any]]:
    version = "gateway.networking.k8s.io/v1"
    labels = {OWNER: name}
    yield {
        "apiVersion": version,
        "kind": "GatewayClass",
        "metadata": {"name": name, "labels": labels},
        "spec": {"controllerName": CONTROLLER},
    }
    listener = {"name": "web", "port": port, "protocol": "HTTP"}
    yield {
        "apiVersion": version,
        "kind": "Gateway",
        "metadata": {"name": "web", "namespace": namespace},
        "spec": {"gatewayClassName": name, "listeners": [listener]},
    }


def _config(name: str, port: int, ping: int) -> dict[str, Any]:
    return {
        "global": {"checkNewVersion": False, "sendAnonymousUsage": False},
        "log": {"level": "INFO"},
        "entryPoints": {
            "web": {"address": f"127.0.0.1:{port}"},
            "ping": {"address": f"127.0.0.1:{ping}"},
        },
        "ping": {"entryPoint": "ping"},
        "providers": {"kubernetesGateway": {"labelSelector": f"{OWNER}={name}"}},
    }


def _answers(port: int) -> bool:
    try:
        return urllib3.request("GET", f"http://127.0.0.1:{port}/ping", retries=False, timeout=5).status == 200
    except urllib3.exceptions.HTTPError:
        return False


if __name__ == "__main__":
    crds()
    sys.stdout.write(f"{program()}\n")
