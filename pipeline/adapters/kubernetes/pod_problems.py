"""Why a pod does not start, from what the cluster says of it. Pure.

Where a machine's answer has no code of its own, its text decides; the real messages are quoted beside the words that
are looked for in them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from pipeline.adapters.kubernetes.names import CONTAINER
from pipeline.errors import AppFailed, DoesNotFit, EngineFailed, PushliveError

Found = dict[str, Any]

SOON = 6.0  # seconds after which what might still pass is taken for an answer
PULL = 2 * SOON  # the same for a registry: the kubelet asks it twice in that time
ROOM = "room"  # the causes that whoever waits treats in a special way
EXIT = "exit"
REFUSED = "refused"

_PULL = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ErrImagePullBackOff")
_NEVER_RAN = ("StartError", "ContainerCannotRun")
_CREATE = ("CreateContainerConfigError", "CreateContainerError", "RunContainerError", "StartError")
# "rpc error: code = NotFound desc = failed to pull and unpack image "HOST/N@sha256:…": failed to resolve reference
# "HOST/N@sha256:…": HOST/N@sha256:…: not found"; cri-o: "reading manifest …: manifest unknown"
_MISSING = ("not found", "manifest unknown", "name unknown")
# "pulling from host HOST failed with status code [manifests sha256:…]: 401 Unauthorized"; a public registry: "pull
# access denied, repository does not exist or may require authorization"; "no basic auth credentials"
_DENIED = ("unauthorized", "forbidden", "denied", "authorization failed", "no basic auth credentials")
# "http: server gave HTTP response to HTTPS client"; "tls: failed to verify certificate: x509: …"
_WRONG_WAY = ("server gave http response", "x509:")
# What stands before the point, each of them once more around the next one.
_AROUND = re.compile(
    r'^(rpc error: code = \w+ desc = |Back-off pulling image "[^"]*": |ErrImagePull: |Error: '
    r'|[Ff]ailed to (pull and unpack image|resolve reference|pull image) "[^"]*": |failed to do request: '
    r"|failed to create (containerd|shim) task: |OCI runtime create failed: |runc create failed: "
    r"|unable to start container process: )"
)
_POD = re.compile(r' \(pod: "[^"]*", container: \w+\)')


@dataclass(frozen=True)
class Trouble:
    """``cause``: equal for what is the same trouble, however its text changes. ``kind``: whose it is to mend. ``wait``:
    seconds for which it may still pass by itself. ``previous``: the output to show is that of the container before this
    one."""

    subject: str  # a pod, or a Deployment
    cause: str
    text: str
    advice: str
    kind: type[EngineFailed] | type[AppFailed]
    wait: float = 0.0
    previous: bool = False

    def error(self, evidence: tuple[str, ...]) -> PushliveError:
        """As an error."""
        return self.kind(f"{self.subject}: {self.text}.", advice=self.advice, evidence=evidence)


def of_pod(pod: Found) -> Trouble | None:
    """What keeps this pod from running, or None where it may yet come up."""
    name, status = pod["metadata"]["name"], pod.get("status", {})
    if status.get("phase") == "Failed" and status.get("reason"):
        text = f"the cluster ended it ({status['reason']}): {_line(status.get('message'))}"
        advice = "Look at the node's memory and disk (`kubectl describe node`)."
        return Trouble(name, "ended", text, advice, EngineFailed, SOON)
    for container in containers(pod):
        trouble = _of_container(name, container)
        if trouble:
            return trouble
    return _unschedulable(name, status)


def of_deployment(deployment: Found) -> Trouble | None:
    """What keeps the cluster from making pods at all: a quota, a policy, a missing right."""
    for condition in deployment.get("status", {}).get("conditions") or ():
        if condition["type"] == "ReplicaFailure" and condition["status"] == "True":
            return of_refusal(deployment["metadata"]["name"], str(condition.get("message")))
    return None


def of_refusal(subject: str, message: str) -> Trouble:
    """Why no pod can be made, by the API server's own message."""
    text, low = f"no pod can be made: {_line(message)}", message.lower()
    # 'pods "x" is forbidden: exceeded quota: small, requested: limits.memory=33554432, used: …, limited: …'
    # 'pods "x" is forbidden: failed quota: small: must specify limits.ephemeral-storage for: app'
    if "quota: " in low:
        advice = (
            "Raise the namespace's quota, or lower `memory`, `cpu` or `replicas`, or shorten `keep_warm`."
        )
        return Trouble(subject, REFUSED, text, advice, DoesNotFit, SOON)
    # 'pods "x" is forbidden: maximum memory usage per Container is 16Mi, but limit is 33554432'
    if re.search(r"forbidden: .*(maximum|minimum) \S+ (usage|limit|request)", low):
        advice = "Change the namespace's LimitRange, or `memory` and `cpu` in pipelines.yaml."
        return Trouble(subject, REFUSED, text, advice, DoesNotFit, SOON / 3)
    # 'pods "x" is forbidden: violates PodSecurity "restricted:latest": unrestricted capabilities (…), …'
    if "violates podsecurity" in low:
        advice = "`security: strict` complies with the profile `restricted`; or give the environment another namespace."
        return Trouble(subject, REFUSED, text, advice, EngineFailed, SOON / 3)
    advice = "The cluster's own rules refuse it: its policies, webhooks and rights."
    return Trouble(subject, REFUSED, text, advice, EngineFailed, SOON)


def is_ready(pod: Found) -> bool:
    """True where the pod answers its health path."""
    conditions = pod.get("status", {}).get("conditions") or ()
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def is_going(pod: Found) -> bool:
    """True where it was told to end."""
    return "deletionTimestamp" in pod["metadata"]


def is_over(pod: Found) -> bool:
    """True where it has ended for good: whoever made it makes another in its place."""
    return pod.get("status", {}).get("phase") in ("Failed", "Succeeded")


def has_begun(pod: Found) -> bool:
    """True once its container has run, or may have."""
    states = [one.get(key) or {} for one in containers(pod) for key in ("state", "lastState")]
    return any("running" in state or _ran(state.get("terminated")) for state in states)


def _ran(ended: Found | None) -> bool:
    return bool(ended and ended.get("reason") not in _NEVER_RAN)


def restarts(pod: Found) -> int:
    """How often its container was begun again."""
    return sum(int(one.get("restartCount") or 0) for one in containers(pod))


def last_end(pod: Found) -> Found | None:
    """How its container ended last: exitCode, reason; None where it never did."""
    for container in containers(pod):
        for state in (container.get("state"), container.get("lastState")):
            if state and state.get("terminated"):
                return dict(state["terminated"])
    return None


def unready(events: Iterable[Found]) -> str:
    """What its readiness probe said last, "" where it said nothing."""
    said = [_line(one.get("message")) for one in events if one.get("reason") == "Unhealthy"]
    return said[-1].removeprefix("Readiness probe failed: ") if said else ""


def answered(events: Iterable[Found], word: str) -> str:
    """What its readiness probe said last but for that, "" where it never said anything else: an application that was
    not there yet for a moment, and then answers 500, is told by its 500."""
    return unready(one for one in events if word not in _line(one.get("message")))


def refusals(events: Iterable[Found], word: str) -> int:
    """How often its readiness probe has said that."""
    found = [one for one in events if one.get("reason") == "Unhealthy" and word in _line(one.get("message"))]
    return sum(map(_count, found))


def told(events: Iterable[Found], without: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Warnings as lines for people, the last ones, in their order; those reasons are left out."""
    lines: dict[str, str] = {}
    for one in events:
        if one.get("type") == "Warning" and one.get("reason") not in without:
            point = _point(_line(one.get("message")))
            if point in (*_PULL, *_CREATE):  # "Error: ErrImagePull", beside the event that says why
                continue
            text = f"{one.get('reason')}: {point}"
            lines.pop(text, None)
            lines[text] = text + (f" (×{_count(one)})" if _count(one) > 1 else "")
    return tuple(lines.values())[-5:]


def makes_room(events: Iterable[Found]) -> bool:
    """True where the cluster is adding a node for a pod (the cluster autoscaler's word, and Karpenter's)."""
    return any(one.get("reason") in ("TriggeredScaleUp", "Nominated") for one in events)


def containers(pod: Found) -> list[Found]:
    """What is said of the application's container; sidecars are somebody else's."""
    found = pod.get("status", {}).get("containerStatuses") or ()
    return [one for one in found if one.get("name", CONTAINER) == CONTAINER]


def _of_container(pod: str, container: Found) -> Trouble | None:
    state = container.get("state") or {}
    waiting = state.get("waiting") or {}
    reason, message = waiting.get("reason", ""), _line(waiting.get("message"))
    if reason in _PULL:
        return _unpulled(pod, reason, _point(message) or str(container.get("image", "")))
    if reason in _CREATE:
        return _unmade(pod, reason, _point(message))
    ended = state.get("terminated") or (container.get("lastState") or {}).get("terminated")
    if ended:
        return _exited(pod, ended, not state.get("terminated"), again="running" in state)
    return None


def _unpulled(pod: str, reason: str, message: str) -> Trouble:
    # Without the digest, whose figures may be anything.
    low = re.sub("[0-9a-f]{64}", "", message.lower())
    trouble = Trouble(
        pod,
        "image",
        f"its image cannot be pulled: {message}",
        "See that the registry answers from the cluster's nodes (`registry:` in pipelines.yaml).",
        EngineFailed,
        PULL,
    )
    if any(word in low for word in _DENIED):
        advice = "The registry refuses it: see `registry:` in pipelines.yaml, and its password (`pushlive secret set`)."
        return replace(trouble, advice=advice, wait=0.0)
    if any(word in low for word in _MISSING):
        advice = (
            "The registry has no such image any more: deploy the commit again, which builds and pushes it."
        )
        return replace(trouble, advice=advice, wait=0.0)
    if reason == "InvalidImageName" or any(word in low for word in _WRONG_WAY):
        advice = (
            "The nodes' container runtime has to know this registry and trust it; see docs/kubernetes.md."
        )
        return replace(trouble, advice=advice, wait=0.0)
    return trouble


def _unmade(pod: str, reason: str, message: str) -> Trouble:
    # 'container has runAsNonRoot and image will run as root (pod: …)', '… and image has non-numeric user (app), cannot
    # verify user is non-root (pod: …)'
    if "runAsNonRoot" in message:
        advice = (
            "`security: strict` needs an image whose user is not root: write a number, such as `USER 10001`."
        )
        return Trouble(pod, "user", f"its container cannot be made: {message}", advice, AppFailed)
    # 'exec: "/no/such/program": stat /no/such/program: no such file or directory: unknown'
    if message.startswith("exec: "):
        return _unexecuted(pod, message)
    # 'container init was OOM-killed (memory limit too low?): unknown'
    if "oom-killed" in message.lower():
        text = f"its memory is too little to begin with: {message}"
        return Trouble(pod, "memory", text, "Raise `memory` in pipelines.yaml.", AppFailed)
    advice = "See the node (`kubectl describe node`), then `pushlive retry`."
    text = f"its container cannot be made ({reason}): {message}"
    # 'failed to sync configmap cache: timed out waiting for the condition': a busy kubelet has not seen it yet
    return Trouble(
        pod, "container", text, advice, EngineFailed, (3 if "failed to sync" in message else 1) * SOON
    )


def _unexecuted(pod: str, message: str) -> Trouble:
    text = f"its command cannot be executed: {message}"
    advice = "Look at ENTRYPOINT and CMD in the Dockerfile and `command` in pipelines.yaml."
    return Trouble(pod, "command", text, advice, AppFailed)


def _exited(pod: str, ended: Found, previous: bool, again: bool) -> Trouble:
    code, reason, message = (
        int(ended.get("exitCode", 0)),
        ended.get("reason"),
        _point(_line(ended.get("message"))),
    )
    # Where it runs again it may come up: one crash of a slot that was warm is no reason to refuse it.
    wait = SOON if again else 0.0
    if reason == "OOMKilled":
        text = f"it was killed for want of memory (exit code {code})"
        return Trouble(pod, EXIT, text, "Raise `memory` in pipelines.yaml.", AppFailed, wait, previous)
    if reason in _NEVER_RAN:
        return _unmade(pod, reason, message)
    advice = "Its last output lines say why."
    if code == 0:
        advice = "What serves has to go on running, in the foreground."
    return Trouble(pod, EXIT, f"it exited with code {code}", advice, AppFailed, wait, previous)


def _unschedulable(pod: str, status: Found) -> Trouble | None:
    for condition in status.get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition.get("reason") == "Unschedulable":
            # '0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, preemption: 0/1 nodes …'
            said = _line(condition.get("message")).partition(" preemption: ")[0]
            text = (
                f"no node has room for it: {said.removesuffix(' no new claims to deallocate,').rstrip('.,')}"
            )
            advice = "Lower `memory` or `cpu`, shorten `keep_warm`, or add a node."
            return Trouble(pod, ROOM, text, advice, DoesNotFit, SOON / 2)
    return None


def _point(message: str) -> str:
    """A runtime's message without what it is wrapped in."""
    while match := _AROUND.match(message):
        message = message[match.end() :]
    return _POD.sub("", message).removesuffix(": unknown")


def _count(event: Found) -> int:
    return int(event.get("count") or (event.get("series") or {}).get("count") or 1)


def _line(text: Any) -> str:
    return " ".join(str(text or "").split()).rstrip(".")[:1000]
