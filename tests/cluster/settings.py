"""The components' configuration files, as plain data and text."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

from tests.cluster import keys
from tests.cluster.build import PAUSE
from tests.cluster.where import (
    ADDRESS,
    BRIDGE,
    CGROUP,
    CNI,
    CONFIG,
    CONTEXT,
    DNS_HEALTH,
    HOME,
    KUBELET,
    KUBELET_HEALTH,
    LOCKED_REGISTRY,
    LOGS,
    NETWORK,
    NODE,
    PODS,
    PROXY_HEALTH,
    PROXY_METRICS,
    REGISTRY,
    REGISTRY_USER,
    RUN,
    SOCKET,
)

DOMAIN = "cluster.local"
# bcrypt of where.REGISTRY_PASSWORD
PASSWORD_HASH = "$2b$04$B4bQCtuIYooo/b6TJXXOzeBcjosbfpvbD8Uc/tSw4DwnGKJ9AT5t."


def write() -> None:
    """Writes all of them."""
    network = CONFIG / "cni"
    network.mkdir(parents=True, exist_ok=True)
    (network / "10-pushlive.conflist").write_text(json.dumps(cni(), indent=1))
    (CONFIG / "containerd.toml").write_text(containerd())
    (CONFIG / "kubelet.yaml").write_text(json.dumps(kubelet(), indent=1))
    (CONFIG / "kube-proxy.yaml").write_text(json.dumps(proxy(), indent=1))
    (CONFIG / "Corefile").write_text(dns())
    (CONFIG / "htpasswd").write_text(f"{REGISTRY_USER}:{PASSWORD_HASH}\n")
    (CONFIG / "registry.yaml").write_text(json.dumps(registry("registry", REGISTRY), indent=1))
    locked = registry("locked-registry", LOCKED_REGISTRY)
    locked["auth"] = {"htpasswd": {"realm": "pushlive-test", "path": str(CONFIG / "htpasswd")}}
    (CONFIG / "locked-registry.yaml").write_text(json.dumps(locked, indent=1))


def cni() -> dict[str, Any]:
    """Without masquerading: network.py has one rule for all pods instead of several for each."""
    bridge = {
        "type": "bridge",
        "bridge": BRIDGE,
        "isGateway": True,
        "hairpinMode": True,  # a pod can reach itself through its Service
        "ipam": {
            "type": "host-local",
            "ranges": [[{"subnet": PODS, "gateway": ADDRESS}]],
            "routes": [{"dst": "0.0.0.0/0"}],
            "dataDir": str(HOME / "addresses"),
        },
    }
    ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    return {"cniVersion": "1.0.0", "name": NETWORK, "plugins": [bridge, ports]}


def containerd() -> str:
    """An instance beside Docker's. By default it uses plain HTTP for registries on localhost."""
    return f"""version = 2
root = {json.dumps(str(HOME / "containerd"))}
state = {json.dumps(str(RUN / "containerd"))}
disabled_plugins = [{", ".join(f'"io.containerd.{p}"' for p in UNUSED)}]
[grpc]
  address = {json.dumps(str(SOCKET))}
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = {json.dumps(PAUSE)}
  restrict_oom_score_adj = true # pods must not fail if this process may not lower the score
  netns_mounts_under_state_dir = true # where leftovers.py removes them
  max_concurrent_downloads = 8
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = {json.dumps(str(CNI))}
    conf_dir = {json.dumps(str(CONFIG / "cni"))}
"""


UNUSED = ("snapshotter.v1.aufs", "snapshotter.v1.btrfs", "snapshotter.v1.devmapper", "snapshotter.v1.zfs")


def kubelet() -> dict[str, Any]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": ADDRESS,
        "port": KUBELET,
        "healthzBindAddress": "127.0.0.1",
        "healthzPort": KUBELET_HEALTH,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(keys.crt("authority"))},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(keys.crt(keys.SERVER.file)),
        "tlsPrivateKeyFile": str(keys.key(keys.SERVER.file)),
        "containerRuntimeEndpoint": f"unix://{SOCKET}",
        "clusterDNS": [ADDRESS],
        "clusterDomain": DOMAIN,
        "podLogsDir": str(LOGS / "pods"),
        "volumePluginDir": str(HOME / "kubelet" / "plugins"),
        # A test machine may have control groups of either version, swap, and little disk space.
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": CGROUP,
        "failCgroupV1": False,
        "enforceNodeAllocatable": [],
        "failSwapOn": False,
        "localStorageCapacityIsolation": False,
        "evictionHard": {"memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,
        "serializeImagePulls": False,
        "registryPullQPS": 0,
        # So that a dead kubelet is noticed within seconds.
        "nodeStatusUpdateFrequency": "2s",
        "nodeLeaseDurationSeconds": 8,
        "syncFrequency": "10s",
        "shutdownGracePeriod": "0s",
    }


def proxy() -> dict[str, Any]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": str(keys.client("kube-proxy"))},
        "mode": "iptables",
        "clusterCIDR": PODS,
        "hostnameOverride": NODE,
        "bindAddress": ADDRESS,
        "healthzBindAddress": f"127.0.0.1:{PROXY_HEALTH}",
        "metricsBindAddress": f"127.0.0.1:{PROXY_METRICS}",
        "nodePortAddresses": ["primary"],
        # A changed Service takes effect at once.
        "iptables": {"minSyncPeriod": "100ms", "syncPeriod": "30s", "localhostNodePorts": False},
        # Keeps the kernel's limits, which cannot be changed in a container.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    }


def dns() -> str:
    """On the node itself; other names are resolved by this machine's name servers."""
    known = re.search(r"^nameserver", Path("/etc/resolv.conf").read_text(), re.MULTILINE)
    return f""".:53 {{
    bind {ADDRESS}
    errors
    ready 127.0.0.1:{DNS_HEALTH}
    kubernetes {DOMAIN} in-addr.arpa {{
        kubeconfig {keys.client("admin")} {CONTEXT}
        ttl 1
    }}
    {"forward . /etc/resolv.conf" if known else ""}
}}
"""


def registry(name: str, port: int) -> dict[str, Any]:
    return {
        "version": 0.1,
        "log": {"level": "info"},
        "storage": {
            "filesystem": {"rootdirectory": str(HOME / name)},
            "delete": {"enabled": True},
            "maintenance": {"uploadpurging": {"enabled": False}},
        },
        "http": {"addr": f"127.0.0.1:{port}", "secret": os.urandom(16).hex()},
    }
