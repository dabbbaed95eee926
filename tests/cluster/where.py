"""Every path, port and address of the test cluster."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NoReturn

VERSION = "v1.36.3"  # of k8s.io/kubernetes in node/go.mod
NODE = "pushlive"  # the node's name
CONTEXT = "pushlive-test"  # the administrator's context

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pushlive"
HOME = Path(os.environ.get("PUSHLIVE_TEST_CLUSTER") or CACHE / "cluster").absolute()
RUN = Path("/run/pushlive-cluster")  # sockets, whose paths must be short
SOCKET = RUN / "containerd.sock"
BIN, LOGS, PIDS, KEYS, CONFIG = (HOME / name for name in ("bin", "logs", "pids", "keys", "config"))
KUBECONFIG = HOME / "admin.conf"
CNI = Path("/usr/lib/cni")  # Debian's containernetworking-plugins
CGROUP = "/pushlive-cluster"  # the parent of all pods' control groups

# Pods, their gateway (the node itself, private to this machine) and Services.
BRIDGE = "pushlive-pods"
NETWORK = "pushlive-cluster"  # its name for the network plugins
PODS = "10.244.0.0/24"
ADDRESS = "10.244.0.1"
SERVICES = "10.96.0.0/16"
FIRST_SERVICE = "10.96.0.1"  # the API server's

API = 16443
ETCD, ETCD_PEERS = 12379, 12380
CONTROLLERS, SCHEDULER = 16457, 16459
KUBELET, KUBELET_HEALTH = 10250, 10248
PROXY_HEALTH, PROXY_METRICS = 10256, 10249
DNS_HEALTH = 10254
REGISTRY, LOCKED_REGISTRY = 15000, 15001
# The locked registry's only user. The password is public: the registry listens only on loopback.
REGISTRY_USER, REGISTRY_PASSWORD = "pushlive", "loopback-only"


def say(text: str) -> None:
    print(f"cluster: {text}", file=sys.stderr, flush=True)  # noqa: T201


class Failed(Exception):
    """The message says what failed, where, and what to do."""


def fail(text: str) -> NoReturn:
    raise Failed(text)
