"""The node's network: the pods' bridge, the routes to Services, and the firewall rules."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from tests.cluster.where import ADDRESS, BRIDGE, PODS, SERVICES, fail

MARK = "pushlive-cluster"  # the comment of every rule that is added here
RULES = (
    # Docker drops forwarded packets of other networks.
    f"*filter\n-I FORWARD -i {BRIDGE} -m comment --comment {MARK} -j ACCEPT\n"
    f"-I FORWARD -o {BRIDGE} -m comment --comment {MARK} -j ACCEPT\n"
    # While kube-proxy replaces its rules, a packet may pass with no pod chosen for it, and would never be answered.
    # Dropped before the kernel tracks the connection, it is sent again a second later.
    f"-I FORWARD -d {SERVICES} -m comment --comment {MARK} -j DROP\n"
    f"-A OUTPUT -d {SERVICES} -m comment --comment {MARK} -j DROP\nCOMMIT\n"
    f"*nat\n-I POSTROUTING -s {PODS} ! -d {PODS} ! -o {BRIDGE} -m comment --comment {MARK} -j MASQUERADE\nCOMMIT\n"
)
SYSCTLS = {
    "net/ipv4/ip_forward": "1",
    # A Service's answer between two pods of the bridge must pass the firewall.
    "net/bridge/bridge-nf-call-iptables": "1",
}
# Chains that kubelet, kube-proxy and the plugins create.
CHAINS = re.compile(r"(KUBE|CNI)-")


def up() -> None:
    """Creates what is missing. Idempotent."""
    if run("ip", "link", "show", BRIDGE).returncode:
        must("ip", "link", "add", BRIDGE, "type", "bridge")
    prefix = PODS.partition("/")[2]
    must("ip", "address", "replace", f"{ADDRESS}/{prefix}", "dev", BRIDGE)
    must("ip", "link", "set", BRIDGE, "up")
    # Reaches Services without a default route, from an address that pods can answer.
    must("ip", "route", "replace", SERVICES, "dev", BRIDGE, "src", ADDRESS)
    for name, value in SYSCTLS.items():
        sysctl(Path("/proc/sys") / name, value)
    if MARK not in run("iptables-save", "-t", "filter").stdout:
        must("iptables-restore", "--noflush", "--wait", stdin=RULES)


def sysctl(path: Path, value: str) -> None:
    if not path.exists():
        run("modprobe", "br_netfilter")
    try:
        if path.read_text().strip() != value:
            path.write_text(value)
    except OSError as error:
        fail(f"{path} cannot be set to {value} ({error}), so pods could not reach Services.")


def down() -> None:
    """Removes the bridge, and every rule that the cluster created."""
    for program in ("iptables", "ip6tables"):
        with suppress(FileNotFoundError):
            for table in ("filter", "nat", "mangle", "raw"):
                cleaned = "".join(cleaning(run(f"{program}-save", "-t", table).stdout))
                if cleaned:
                    must(f"{program}-restore", "--noflush", "--wait", stdin=f"*{table}\n{cleaned}COMMIT\n")
    run("ip", "link", "delete", BRIDGE)


def cleaning(saved: str) -> Iterator[str]:
    """The iptables-restore lines that remove the cluster's rules and chains from what iptables-save wrote."""
    chains = [line[1:].split()[0] for line in saved.splitlines() if line.startswith(":")]
    ours = [chain for chain in chains if CHAINS.match(chain)]
    for line in saved.splitlines():
        if line.startswith("-A ") and not CHAINS.match(line[3:]):
            jump = re.search(r" -j (\S+)", line)
            if f"--comment {MARK}" in line or (jump and jump[1] in ours):
                yield f"-D {line[3:]}\n"
    yield from (f"-F {chain}\n" for chain in ours)
    yield from (f"-X {chain}\n" for chain in ours)


def run(*command: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, input=stdin)


def must(*command: str, stdin: str | None = None) -> None:
    done = run(*command, stdin=stdin)
    if done.returncode:
        fail(f"'{' '.join(command)}' failed: {done.stderr.strip() or done.returncode}")
