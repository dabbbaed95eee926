"""The components: their options and their health checks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import keys
from tests.cluster.where import (
    ADDRESS,
    API,
    BIN,
    CONFIG,
    CONTROLLERS,
    DNS_HEALTH,
    ETCD,
    ETCD_PEERS,
    HOME,
    KUBELET_HEALTH,
    LOCKED_REGISTRY,
    NODE,
    PROXY_HEALTH,
    REGISTRY,
    SCHEDULER,
    SERVICES,
    SOCKET,
)


@dataclass(frozen=True)
class Component:
    """``program``: its name in PATH, or "" for the program that is built here. ``health``: an address that answers
    while it is healthy: http, https (with the cluster's authority, as its administrator) or a Unix socket."""

    name: str
    options: Callable[[], dict[str, str | Path | int]]
    health: str
    program: str = ""
    words: tuple[str, ...] = ()

    @property
    def path(self) -> Path:
        """Its link in bin/, by which its process is recognised."""
        return BIN / self.name

    def command(self) -> list[str]:
        return [
            str(self.path),
            *self.words,
            *(f"--{name}={value}" for name, value in self.options().items()),
        ]


def etcd() -> dict[str, str | Path | int]:
    mine, peers = f"http://127.0.0.1:{ETCD}", f"http://127.0.0.1:{ETCD_PEERS}"
    return {
        "name": NODE,
        "data-dir": HOME / "etcd",
        "listen-client-urls": mine,
        "advertise-client-urls": mine,
        "listen-peer-urls": peers,
        "initial-advertise-peer-urls": peers,
        "initial-cluster": f"{NODE}={peers}",
        "unsafe-no-fsync": "true",  # a test's data may be lost
        "log-level": "warn",
    }


def apiserver() -> dict[str, str | Path | int]:
    return {
        "bind-address": ADDRESS,
        "advertise-address": ADDRESS,
        "secure-port": API,
        "etcd-servers": f"http://127.0.0.1:{ETCD}",
        "service-cluster-ip-range": SERVICES,
        "authorization-mode": "Node,RBAC",
        "enable-admission-plugins": "NodeRestriction",
        "allow-privileged": "true",
        "client-ca-file": keys.crt("authority"),
        "tls-cert-file": keys.crt(keys.SERVER.file),
        "tls-private-key-file": keys.key(keys.SERVER.file),
        "kubelet-certificate-authority": keys.crt("authority"),
        "kubelet-client-certificate": keys.crt(keys.TO_KUBELET.file),
        "kubelet-client-key": keys.key(keys.TO_KUBELET.file),
        "kubelet-preferred-address-types": "InternalIP",
        "service-account-issuer": "https://kubernetes.default.svc",
        "service-account-signing-key-file": keys.key("accounts"),
        "service-account-key-file": keys.KEYS / "accounts.pub",
        "profiling": "false",
    }


def controllers() -> dict[str, str | Path | int]:
    return {
        **beside("kube-controller-manager", CONTROLLERS),
        "service-account-private-key-file": keys.key("accounts"),
        "root-ca-file": keys.crt("authority"),
        "use-service-account-credentials": "true",
        "kube-api-qps": 200,
        "kube-api-burst": 400,
        "node-monitor-period": "2s",
        "node-monitor-grace-period": "15s",
    }


def scheduler() -> dict[str, str | Path | int]:
    return beside("kube-scheduler", SCHEDULER)


def beside(name: str, port: int) -> dict[str, str | Path | int]:
    """The options that controller manager and scheduler share."""
    own = keys.client(name)
    return {
        "kubeconfig": own,
        "authentication-kubeconfig": own,
        "authorization-kubeconfig": own,
        "client-ca-file": keys.crt("authority"),
        "bind-address": "127.0.0.1",
        "secure-port": port,
        "tls-cert-file": keys.crt(keys.SERVER.file),
        "tls-private-key-file": keys.key(keys.SERVER.file),
        "leader-elect": "false",
        "profiling": "false",
    }


def kubelet() -> dict[str, str | Path | int]:
    return {
        "config": CONFIG / "kubelet.yaml",
        "kubeconfig": keys.client("kubelet"),
        "root-dir": HOME / "kubelet",
        "hostname-override": NODE,
        "node-ip": ADDRESS,
    }


ETCD_ = Component("etcd", etcd, f"http://127.0.0.1:{ETCD}/health", "etcd")
CONTAINERD = Component(
    "containerd", lambda: {"config": CONFIG / "containerd.toml"}, f"unix:{SOCKET}", "containerd"
)
REGISTRIES = tuple(
    Component(
        name,
        dict,
        f"http://127.0.0.1:{port}/",
        "docker-registry",
        ("serve", str(CONFIG / f"{name}.yaml")),
    )
    for name, port in (("registry", REGISTRY), ("locked-registry", LOCKED_REGISTRY))
)
APISERVER = Component("kube-apiserver", apiserver, f"https://{ADDRESS}:{API}/readyz")
# On other clusters these two lose their leader election while the API server is away, end, and are started again. Here
# they have no leader election, so they are restarted with the API server: otherwise they would take its absence for
# silence of the nodes.
LEADERS = (
    Component("kube-controller-manager", controllers, f"https://127.0.0.1:{CONTROLLERS}/healthz"),
    Component("kube-scheduler", scheduler, f"https://127.0.0.1:{SCHEDULER}/healthz"),
)
CLIENTS = (
    *LEADERS,
    Component(
        "kube-proxy",
        lambda: {"config": CONFIG / "kube-proxy.yaml"},
        f"http://127.0.0.1:{PROXY_HEALTH}/livez",
    ),
    Component(
        "coredns",
        dict,
        f"http://127.0.0.1:{DNS_HEALTH}/ready",
        words=("-conf", str(CONFIG / "Corefile")),
    ),
    Component("kubelet", kubelet, f"http://127.0.0.1:{KUBELET_HEALTH}/healthz"),
)
# They start in this order, and end in the opposite one.
STAGES = ((ETCD_, CONTAINERD, *REGISTRIES), (APISERVER,), CLIENTS)
ALL = tuple(component for stage in STAGES for component in stage)
