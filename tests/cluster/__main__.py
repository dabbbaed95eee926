"""``python -m tests.cluster``: starts and stops a real Kubernetes cluster of one node. See ``scripts/cluster``."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress

from pipeline.lib.processes import exit_with
from tests.cluster import build, keys, leftovers, network, settings
from tests.cluster.components import ALL, APISERVER, CONTAINERD, LEADERS, STAGES, Component
from tests.cluster.processes import get, healthy, pid, start, stop, until, wait
from tests.cluster.where import (
    ADDRESS,
    API,
    BIN,
    CACHE,
    CNI,
    CONTEXT,
    HOME,
    KUBECONFIG,
    LOCKED_REGISTRY,
    LOGS,
    NODE,
    REGISTRY,
    RUN,
    SOCKET,
    Failed,
    fail,
    say,
)
from tests.support.paths import ROOT

USAGE = "scripts/cluster up | down | status | stop COMPONENT | kill COMPONENT | start COMPONENT | kubectl ARGUMENTS"
PROGRAMS = (
    "etcd",
    "containerd",
    "runc",
    "docker-registry",
    "conntrack",
    "ipset",
    "iptables",
    "openssl",
    "ip",
)
API_SERVER = f"https://{ADDRESS}:{API}"


def main(words: list[str]) -> int:
    match words:
        case ["up"]:
            return locked(up)
        case ["down"]:
            return locked(down)
        case ["status"]:
            return status()
        case ["stop" | "kill" | "start" as act, name]:
            return locked(lambda: one(act, named(name)))
        case ["kubectl", *arguments]:
            return kubectl(arguments)
    print(f"usage: {USAGE}", file=sys.stderr)  # noqa: T201
    return 2


def locked(act: Callable[[], int]) -> int:
    """Runs one command at a time; a second one finds the result of the first."""
    if os.getuid():
        fail(f"Only root can run a node on this machine. {build.ELSEWHERE}")
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "cluster.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return act()


def up() -> int:
    if not well():
        running = [component.name for component in ALL if pid(component)]
        if not running:
            begin()
        go()
    print(KUBECONFIG)  # noqa: T201
    return 0


def well() -> bool:
    return all(healthy(component) for component in ALL) and ready()


def begin() -> None:
    """Creates a new cluster. What an earlier one left behind is removed first, so that no old state is used."""
    packages()
    program, image = build.node(), build.pause_image()
    if HOME.exists() or RUN.exists():
        say("removing what the last cluster left behind")
        clear()
    for folder in (HOME, RUN, BIN, LOGS):
        folder.mkdir(parents=True, exist_ok=True)
    for component in ALL:
        component.path.symlink_to(shutil.which(component.program) if component.program else program)
    (BIN / "kubectl").symlink_to(program)
    (HOME / "pause.tar").write_bytes(image)
    keys.make()
    settings.write()


def packages() -> None:
    present = all(shutil.which(name) for name in PROGRAMS) and (CNI / "bridge").exists()
    if not present and subprocess.run([ROOT / "scripts" / "setup", "--cluster", "--yes"]).returncode:
        fail("The cluster's packages could not be installed; see the messages above.")


def go() -> None:
    """Starts the components that do not run, stage by stage."""
    if not all(component.path.is_symlink() for component in ALL):
        fail(
            "The running cluster was created by another version of these scripts. Run scripts/cluster down, then up."
        )
    network.up()
    leftovers.make_groups()
    for stage in STAGES:
        missing = [component for component in stage if not pid(component)]
        if missing:
            say(f"starting {', '.join(component.name for component in missing)}")
        launch(missing)
        for component in stage:
            wait(component)
    until(ready, 60) or fail(f"The node is not ready: {state()}. See {LOGS}/kubelet.log.")
    say(
        f"node {NODE} is ready; registries: localhost:{REGISTRY}, and with a password localhost:{LOCKED_REGISTRY}"
    )


def launch(components: Sequence[Component]) -> None:
    """Starts them together; returns once they are healthy."""
    for component in components:
        start(component)
    for component in components:
        wait(component)
    if CONTAINERD in components:
        sandbox()
    if APISERVER in components and any(pid(leader) for leader in LEADERS):
        stop(LEADERS)
        launch(LEADERS)


def sandbox() -> None:
    """Imports the sandbox's image. Idempotent."""
    arguments = ["-a", str(SOCKET), "-n", "k8s.io", "images", "import", str(HOME / "pause.tar")]
    done = subprocess.run(["ctr", *arguments], capture_output=True, text=True)
    if done.returncode:
        fail(f"containerd did not import the sandbox's image: {done.stderr.strip()}")


def ask(path: str) -> dict:
    return json.loads(get(f"{API_SERVER}{path}"))


def state() -> str:
    """Ready, or why the node is not."""
    try:
        conditions = ask(f"/api/v1/nodes/{NODE}")["status"].get("conditions", [])
    except OSError as error:
        return f"the API server does not answer ({error})"
    found = next((one for one in conditions if one["type"] == "Ready"), None)
    if not found:
        return "it has not reported yet"
    return "Ready" if found["status"] == "True" else found["message"]


def ready() -> bool:
    """True if the node accepts pods, and a namespace has its service account, which every pod needs."""
    if state() != "Ready":
        return False
    with suppress(OSError):
        taints = ask(f"/api/v1/nodes/{NODE}")["spec"].get("taints")
        return not taints and bool(ask("/api/v1/namespaces/default/serviceaccounts/default"))
    return False


def down() -> int:
    if not HOME.exists() and not RUN.exists():
        say("no cluster runs")
        return 0
    say("stopping the cluster and removing its data")
    clear()
    return 0


def clear() -> None:
    for stage in reversed(STAGES):
        if CONTAINERD in stage:
            leftovers.end_processes()
        stop(stage)
    leftovers.clear()
    network.down()


def status() -> int:
    for component in ALL:
        number = pid(component)
        condition = "well" if healthy(component) else "does not answer" if number else "does not run"
        print(f"{component.name:24} {number or '-':>8}  {condition}")  # noqa: T201
    if not healthy(APISERVER):
        return 1
    pods = ask("/api/v1/pods")["items"]
    running = [pod for pod in pods if pod["status"]["phase"] == "Running"]
    print(f"node {NODE}: {state()}; pods: {len(pods)}, running: {len(running)}")  # noqa: T201
    print(f"kubeconfig: {KUBECONFIG} (context {CONTEXT})")  # noqa: T201
    return 0 if well() else 1


def named(name: str) -> Component:
    found = next((component for component in ALL if component.name == name), None)
    return found or fail(
        f"There is no component {name}. The components are: {', '.join(one.name for one in ALL)}."
    )


def one(act: str, component: Component) -> int:
    if not BIN.exists():
        fail("There is no cluster. Create one with: scripts/cluster up")
    if act == "start":
        launch([] if pid(component) else [component])
        wait(component)
        return 0
    stop([component], signal.SIGKILL if act == "kill" else signal.SIGTERM)
    return 0


def kubectl(arguments: list[str]) -> int:
    program = BIN / "kubectl"
    if not program.exists():
        fail("There is no cluster. Create one with: scripts/cluster up")
    return subprocess.call([program, *arguments], env={**os.environ, "KUBECONFIG": str(KUBECONFIG)})


if __name__ == "__main__":
    try:
        exit_with(lambda: main(sys.argv[1:]))
    except Failed as failure:
        say(str(failure))
        sys.exit(1)
