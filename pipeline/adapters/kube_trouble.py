"""Why a pod does not start, from what the cluster says of it. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pipeline.errors import AppFailed, DoesNotFit, EngineFailed, PushliveError

Found = dict[str, Any]

SOON = 6.0  # seconds after which what might still pass is taken for an answer
NO_IMAGE = ("not found", "manifest unknown", "unauthorized", "denied", "401", "403", "name unknown")
_PULL = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull")
_CREATE = ("CreateContainerConfigError", "CreateContainerError", "RunContainerError", "StartError")


@dataclass(frozen=True)
class Trouble:
    """``wait``: seconds for which it may still pass by itself. ``previous``: the output to show is that of the
    container before this one. ``kind``: whose it is to mend."""

    pod: str
    text: str
    advice: str
    kind: type[PushliveError]
    wait: float = 0.0
    previous: bool = False

    def error(self, evidence: tuple[str, ...]) -> PushliveError:
        """As an error; an application's has its evidence beside it, an engine's in its message."""
        message = f"{self.pod}: {self.text}."
        if issubclass(self.kind, AppFailed):
            return self.kind(message, advice=self.advice, evidence=evidence)
        return self.kind(message, advice=self.advice)


def of_pod(pod: Found) -> Trouble | None:
    """What keeps this pod from running, or None where it may yet come up."""
    name, status = pod["metadata"]["name"], pod.get("status", {})
    if status.get("phase") == "Failed" and status.get("reason"):
        text = f"the cluster ended it ({status['reason']}): {_line(status.get('message'))}"
        return Trouble(
            name, text, "Look at the node's memory and disk (`kubectl describe node`).", EngineFailed
        )
    for container in status.get("containerStatuses") or ():
        trouble = _of_container(name, container)
        if trouble:
            return trouble
    return _unschedulable(name, status)


def of_deployment(deployment: Found) -> Trouble | None:
    """What keeps the cluster from making pods at all: a quota, a policy, a missing right."""
    for condition in deployment.get("status", {}).get("conditions") or ():
        if condition["type"] == "ReplicaFailure" and condition["status"] == "True":
            text = f"no pod can be made: {_line(condition.get('message'))}"
            if "exceeded quota" in text or "forbidden: maximum" in text:
                advice = (
                    "Raise the namespace's quota, or lower `memory`, `cpu` or `replicas` in pipelines.yaml."
                )
                return Trouble(deployment["metadata"]["name"], text, advice, DoesNotFit, SOON)
            advice = "The cluster's own rules refuse it; see `kubectl describe` of its ReplicaSet."
            return Trouble(deployment["metadata"]["name"], text, advice, EngineFailed, SOON)
    return None


def is_ready(pod: Found) -> bool:
    """True where the pod answers its health path."""
    conditions = pod.get("status", {}).get("conditions") or ()
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def is_going(pod: Found) -> bool:
    """True where it was told to end."""
    return "deletionTimestamp" in pod["metadata"]


def last_end(pod: Found) -> Found | None:
    """How its container ended last: exitCode, reason; None where it never did."""
    for container in pod.get("status", {}).get("containerStatuses") or ():
        for state in (container.get("state"), container.get("lastState")):
            if state and state.get("terminated"):
                return dict(state["terminated"])
    return None


def unready(events: Iterable[Found]) -> str:
    """What its readiness probe said last, "" where it said nothing."""
    said = [_line(one.get("message")) for one in events if one.get("reason") == "Unhealthy"]
    return said[-1] if said else ""


def told(events: Iterable[Found]) -> tuple[str, ...]:
    """Events as lines for people, the last ones; ordinary steps are left out."""
    lines = [
        f"{one.get('reason')}: {_line(one.get('message'))}" + (f" (×{one['count']})" if _many(one) else "")
        for one in events
        if one.get("type") == "Warning"
    ]
    return tuple(lines[-5:])


def _of_container(pod: str, container: Found) -> Trouble | None:
    state = container.get("state") or {}
    waiting = state.get("waiting") or {}
    reason, message = waiting.get("reason", ""), _line(waiting.get("message"))
    if reason in _PULL:
        sure = reason == "InvalidImageName" or any(word in message for word in NO_IMAGE)
        text = f"its image cannot be pulled ({reason}): {message or container.get('image', '')}"
        advice = "See that the registry answers from the nodes, and `registry:` with its password in pipelines.yaml."
        return Trouble(pod, text, advice, EngineFailed, 0.0 if sure else 2 * SOON)
    if (
        reason in _CREATE and "failed to sync" in message
    ):  # the kubelet has not seen its ConfigMap or Secret yet
        return Trouble(
            pod, f"its node does not get on: {message}", "See the node's kubelet.", EngineFailed, 3 * SOON
        )
    if reason in _CREATE:
        return Trouble(pod, f"its container cannot be made: {message}", _advice(message), AppFailed)
    ended = state.get("terminated") or (container.get("lastState") or {}).get("terminated")
    if ended:
        return _exited(pod, ended, not state.get("terminated"), again="running" in state)
    return None


def _exited(pod: str, ended: Found, previous: bool, again: bool) -> Trouble:
    code = int(ended.get("exitCode", 0))
    if ended.get("reason") == "OOMKilled":
        text = f"it was killed for want of memory (exit code {code})"
        return Trouble(pod, text, "Raise `memory` in pipelines.yaml.", AppFailed, 0.0, previous)
    if ended.get("reason") in ("StartError", "ContainerCannotRun"):
        text = f"its command cannot be executed (exit code {code}): {_line(ended.get('message'))}"
        return Trouble(pod, text, _advice(""), AppFailed)
    # Where it runs again it may come up: one crash of a slot that was warm is no reason to refuse it.
    wait = SOON if again else 0.0
    advice = "Its last output lines say why."
    return Trouble(pod, f"it exited with code {code}", advice, AppFailed, wait, previous)


def _unschedulable(pod: str, status: Found) -> Trouble | None:
    for condition in status.get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition.get("reason") == "Unschedulable":
            text = f"no node has room for it: {_line(condition.get('message'))}"
            advice = "Lower `memory` or `cpu`, shorten `keep_warm`, or add a node."
            return Trouble(pod, text, advice, DoesNotFit, SOON)
    return None


def _advice(message: str) -> str:
    if "runAsNonRoot" in message:
        return (
            "`security: strict` needs an image whose user is no root: write a number, such as `USER 10001`."
        )
    return "Look at ENTRYPOINT and CMD in the Dockerfile and `command` in pipelines.yaml."


def _many(event: Found) -> bool:
    return int(event.get("count") or 0) > 1


def _line(text: Any) -> str:
    return " ".join(str(text or "").split()).rstrip(".")[:600]
