"""The state of a pod, from its status. Pure."""

from __future__ import annotations

from datetime import datetime

from pipeline.adapters.kubernetes.api.objects import KubeObject
from pipeline.adapters.kubernetes.names import CONTAINER

# Reasons of a container that ended before its process ran.
NEVER_RAN = ("StartError", "ContainerCannotRun")


def is_ready(pod: KubeObject) -> bool:
    """True if its readiness probe succeeds."""
    conditions = pod.get("status", {}).get("conditions") or ()
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def ready_since(pod: KubeObject) -> float:
    """When it became ready, or ceased to be; seconds since the epoch, 0 if it was never checked."""
    for one in pod.get("status", {}).get("conditions") or ():
        if one["type"] == "Ready" and one.get("lastTransitionTime"):
            return datetime.fromisoformat(one["lastTransitionTime"]).timestamp()
    return 0.0


def is_terminating(pod: KubeObject) -> bool:
    """True if it is being deleted."""
    return "deletionTimestamp" in pod["metadata"]


def is_finished(pod: KubeObject) -> bool:
    """True if it has ended and will not run again; a Deployment replaces it."""
    return pod.get("status", {}).get("phase") in ("Failed", "Succeeded")


def has_started(pod: KubeObject) -> bool:
    """True if its container has run, or may have."""
    states = [one.get(key) or {} for one in app_containers(pod) for key in ("state", "lastState")]
    return any("running" in state or _ran(state.get("terminated")) for state in states)


def _ran(terminated: KubeObject | None) -> bool:
    return bool(terminated and terminated.get("reason") not in NEVER_RAN)


def restarts(pod: KubeObject) -> int:
    """How often its container was restarted."""
    return sum(int(one.get("restartCount") or 0) for one in app_containers(pod))


def last_termination(pod: KubeObject) -> KubeObject | None:
    """How its container last ended (exitCode, reason, …); None if it never did."""
    for container in app_containers(pod):
        for state in (container.get("state"), container.get("lastState")):
            if state and state.get("terminated"):
                return dict(state["terminated"])
    return None


def waiting_reason(pod: KubeObject) -> str:
    """Why its container is waiting, such as ContainerCreating; "" if it is not."""
    waiting = [(one.get("state") or {}).get("waiting") for one in app_containers(pod)]
    return str(next((one.get("reason", "") for one in waiting if one), ""))


def app_containers(pod: KubeObject) -> list[KubeObject]:
    """The statuses of the application's container. Sidecars are not ours."""
    statuses = pod.get("status", {}).get("containerStatuses") or ()
    return [one for one in statuses if one.get("name", CONTAINER) == CONTAINER]


def added_containers(pod: KubeObject) -> list[KubeObject]:
    """The statuses of the other containers, which admission put into the pod: sidecars, and those that run before. One
    that has ended well is left out."""
    status = pod.get("status", {})
    found = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
    others = [one for one in found if one.get("name", CONTAINER) != CONTAINER]
    return [one for one in others if ((one.get("state") or {}).get("terminated") or {}).get("exitCode") != 0]


def unready_added(pod: KubeObject) -> str:
    """The name of a container beside the application's that keeps the pod from being ready; "" if it is not that."""
    if not all(one.get("ready") for one in app_containers(pod)):
        return ""
    return next((str(one["name"]) for one in added_containers(pod) if not one.get("ready")), "")


def app_spec(pod_spec: KubeObject) -> KubeObject:
    """The application's container in a pod's spec, wherever in the list admission left it."""
    containers: list[KubeObject] = pod_spec["containers"]
    return next((one for one in containers if one.get("name") == CONTAINER), containers[0])
