"""Why a pod does not start, from its status. Pure.

Kubernetes gives no code for many causes. Then the text of its message decides; the real messages are quoted beside the
words that are looked for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import Enum

from pipeline.adapters.kubernetes.api.objects import KubeObject
from pipeline.adapters.kubernetes.pods.events import CREATE_REASONS, PULL_REASONS
from pipeline.adapters.kubernetes.pods.messages import one_line, unwrapped
from pipeline.adapters.kubernetes.pods.state import NEVER_RAN, added_containers, app_containers
from pipeline.errors import AppFailed, DoesNotFit, EngineFailed, PushliveError

GRACE = 6.0  # seconds for which a problem that may pass is waited for
VOLUME_GRACE = 20 * GRACE  # the same for a provisioner that makes a disk
PULL_GRACE = 2 * GRACE  # the same for a registry: the kubelet tries twice in that time

# "rpc error: code = NotFound desc = failed to pull and unpack image "HOST/N@sha256:…": failed to resolve reference
# "HOST/N@sha256:…": HOST/N@sha256:…: not found"; cri-o: "reading manifest …: manifest unknown"
_NO_IMAGE = ("not found", "manifest unknown", "name unknown")
# "pulling from host HOST failed with status code [manifests sha256:…]: 401 Unauthorized"; a public registry: "pull
# access denied, repository does not exist or may require authorization"; "no basic auth credentials"
_DENIED = ("unauthorized", "forbidden", "denied", "authorization failed", "no basic auth credentials")
# "http: server gave HTTP response to HTTPS client"; "tls: failed to verify certificate: x509: …"
_UNTRUSTED = ("server gave http response", "x509:")

# The scheduler, of a volume: "1 node(s) didn't find available persistent volumes to bind", "pod has unbound immediate
# PersistentVolumeClaims", 'persistentvolumeclaim "x" not found', 'persistentvolumeclaim "x" is being deleted'
_NO_VOLUME = ("persistent volumes to bind", "PersistentVolumeClaims", "persistentvolumeclaim")
_APART = "didn't match pod affinity rules"  # of a pod whose volume is on another node


class Cause(Enum):
    """What a problem is about. Equal for the same problem, even if the cluster's message changes."""

    EVICTED = "evicted"
    IMAGE = "image"
    USER = "user"
    COMMAND = "command"
    MEMORY = "memory"
    CONTAINER = "container"
    EXIT = "exit"
    NO_NODE = "no node"
    VOLUME = "volume"
    NOT_CREATED = "not created"
    ADDED = "added"


@dataclass(frozen=True)
class Problem:
    """``subject``: a pod or a Deployment. ``quoted``: the cluster's message in the text. ``kind``: the error that it
    becomes. ``grace``: seconds for which it may still pass. ``previous``: the output that explains it is that of the
    container before the last restart."""

    subject: str
    cause: Cause
    text: str
    advice: str
    kind: type[EngineFailed] | type[AppFailed]
    grace: float = 0.0
    previous: bool = False
    quoted: str = ""
    again: bool = False  # see ``errors.PushliveError``

    def error(self, facts: tuple[str, ...], output: tuple[str, ...] = ()) -> PushliveError:
        text = f"{self.subject}: {self.text}."
        return self.kind(text, advice=self.advice, again=self.again, facts=facts, evidence=output)


def pod_problem(pod: KubeObject) -> Problem | None:
    """What keeps the pod from running, or None if it may still come up."""
    name, status = pod["metadata"]["name"], pod.get("status", {})
    if status.get("phase") == "Failed" and status.get("reason"):
        message = one_line(status.get("message"))
        text = f"the cluster ended it ({status['reason']}): {message}"
        advice = "Look at the node's memory and disk (`kubectl describe node`)."
        return Problem(name, Cause.EVICTED, text, advice, EngineFailed, GRACE, quoted=message)
    for container in app_containers(pod):
        problem = _container_problem(name, container)
        if problem:
            return problem
    for container in added_containers(pod):
        problem = _container_problem(name, container)
        if problem:
            return _of_added(container["name"], problem)
    return _scheduling_problem(name, status)


def _of_added(container: str, problem: Problem) -> Problem:
    """The same problem of a container that the cluster added to the pod: the application is not to blame."""
    return replace(
        problem,
        text=f"the container {container}, which the cluster added: {problem.text}",
        advice=f"See its output: `kubectl logs {problem.subject} -c {container}`, and what adds it to pods.",
        kind=EngineFailed,
        grace=max(problem.grace, GRACE),
        cause=Cause.ADDED,
    )


def deployment_problem(deployment: KubeObject) -> Problem | None:
    """What keeps the cluster from creating pods at all: a quota, a policy, a missing permission."""
    for condition in deployment.get("status", {}).get("conditions") or ():
        if condition["type"] == "ReplicaFailure" and condition["status"] == "True":
            return creation_problem(deployment["metadata"]["name"], str(condition.get("message")))
    return None


def creation_problem(subject: str, message: str) -> Problem:
    """Why no pod can be created, from the API server's message."""
    quoted = one_line(message)
    problem = Problem(
        subject,
        Cause.NOT_CREATED,
        f"no pod can be created: {quoted}",
        "A rule of the cluster refuses it: see its policies, admission webhooks and permissions.",
        EngineFailed,
        GRACE,
        quoted=quoted,
    )
    lower = message.lower()
    # 'pods "x" is forbidden: exceeded quota: small, requested: limits.memory=33554432, used: …, limited: …'
    # 'pods "x" is forbidden: failed quota: small: must specify limits.ephemeral-storage for: app'
    if "quota: " in lower:
        advice = (
            "Raise the namespace's quota, or lower `memory`, `cpu` or `replicas`, or shorten `keep_warm`."
        )
        return replace(problem, advice=advice, kind=DoesNotFit)
    # 'pods "x" is forbidden: maximum memory usage per Container is 16Mi, but limit is 33554432'
    if re.search(r"forbidden: .*(maximum|minimum) \S+ (usage|limit|request)", lower):
        advice = "Change the namespace's LimitRange, or `memory` and `cpu` in pipelines.yaml."
        return replace(problem, advice=advice, kind=DoesNotFit, grace=GRACE / 3)
    # 'pods "x" is forbidden: cpu max limit to request ratio per Container is 4, but provided ratio is 10.000000'
    if "max limit to request ratio" in lower:
        advice = "Let Pushlive read the namespace's LimitRange (apply docker/kubernetes/namespace again), or change it."
        return replace(problem, advice=advice, kind=DoesNotFit, grace=GRACE / 3)
    # 'pods "x" is forbidden: violates PodSecurity "restricted:latest": unrestricted capabilities (…), …'
    if "violates podsecurity" in lower:
        advice = (
            "Set `security: strict`, which complies with the `restricted` profile, or use another namespace."
        )
        return replace(problem, advice=advice, grace=GRACE / 3)
    return problem


def _container_problem(pod: str, container: KubeObject) -> Problem | None:
    state = container.get("state") or {}
    waiting = state.get("waiting") or {}
    reason, message = waiting.get("reason", ""), unwrapped(one_line(waiting.get("message")))
    if reason in PULL_REASONS:
        return _pull_problem(pod, reason, message or str(container.get("image", "")))
    if reason in CREATE_REASONS:
        return _creation_failed(pod, reason, message)
    terminated = state.get("terminated") or (container.get("lastState") or {}).get("terminated")
    if terminated:
        return _exit_problem(pod, terminated, not state.get("terminated"), runs_again="running" in state)
    return None


def _pull_problem(pod: str, reason: str, message: str) -> Problem:
    problem = Problem(
        pod,
        Cause.IMAGE,
        f"its image cannot be pulled: {message}",
        "Check that the cluster's nodes can reach the registry (`registry:` in pipelines.yaml).",
        EngineFailed,
        PULL_GRACE,
        quoted=message,
    )
    lower = re.sub("[0-9a-f]{64}", "", message.lower())  # without the digest, which may contain any digits
    if any(word in lower for word in _DENIED):
        advice = (
            "The registry denies access: check `registry:` in pipelines.yaml, and the secret that it names."
        )
        return replace(problem, advice=advice, grace=0.0)
    if any(word in lower for word in _NO_IMAGE):
        advice = (
            "The image is no longer in the registry: deploy the commit again, which builds and pushes it."
        )
        return replace(problem, advice=advice, grace=0.0)
    if reason == "InvalidImageName" or any(word in lower for word in _UNTRUSTED):
        advice = "Configure the nodes' container runtime to trust this registry; see docs/kubernetes.md."
        return replace(problem, advice=advice, grace=0.0)
    return problem


def _creation_failed(pod: str, reason: str, message: str) -> Problem:
    text = f"its container cannot be created: {message}"
    # 'container has runAsNonRoot and image will run as root (pod: …)', '… and image has non-numeric user (app), cannot
    # verify user is non-root (pod: …)'
    if "runAsNonRoot" in message:
        advice = (
            "`security: strict` needs an image whose user is not root: use a number, such as `USER 10001`."
        )
        return Problem(pod, Cause.USER, text, advice, AppFailed, quoted=message)
    # 'exec: "/no/such/program": stat /no/such/program: no such file or directory: unknown'
    if message.startswith("exec: "):
        text = f"its command cannot be executed: {message}"
        advice = "Check ENTRYPOINT and CMD in the Dockerfile, and `command` in pipelines.yaml."
        return Problem(pod, Cause.COMMAND, text, advice, AppFailed, quoted=message)
    # 'container init was OOM-killed (memory limit too low?): unknown'
    if "oom-killed" in message.lower():
        text = f"its memory limit is too low to start: {message}"
        return Problem(
            pod, Cause.MEMORY, text, "Raise `memory` in pipelines.yaml.", AppFailed, quoted=message
        )
    # 'failed to sync configmap cache: timed out waiting for the condition': a busy kubelet has not read it yet
    grace = (3 if "failed to sync" in message else 1) * GRACE
    text = f"its container cannot be created ({reason}): {message}"
    advice = "Look at the node (`kubectl describe node`)."
    return Problem(pod, Cause.CONTAINER, text, advice, EngineFailed, grace, quoted=message, again=True)


def _exit_problem(pod: str, terminated: KubeObject, previous: bool, runs_again: bool) -> Problem:
    code, reason = int(terminated.get("exitCode", 0)), terminated.get("reason")
    if reason in NEVER_RAN:
        return _creation_failed(pod, reason, unwrapped(one_line(terminated.get("message"))))
    # A container that runs again may become ready: one crash of a warm slot is no reason to refuse it.
    grace = GRACE if runs_again else 0.0
    if reason == "OOMKilled":
        text = f"it was killed because it ran out of memory (exit code {code})"
        return Problem(pod, Cause.EXIT, text, "Raise `memory` in pipelines.yaml.", AppFailed, grace, previous)
    advice = "Its last lines of output say why. Push a fix."
    if code == 0:
        advice = "A service must keep running in the foreground."
    return Problem(pod, Cause.EXIT, f"it exited with code {code}", advice, AppFailed, grace, previous)


def _scheduling_problem(pod: str, status: KubeObject) -> Problem | None:
    for condition in status.get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition.get("reason") == "Unschedulable":
            # '0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, preemption: 0/1 nodes …'
            message = one_line(condition.get("message")).partition(" preemption: ")[0]
            message = message.removesuffix(" no new claims to deallocate,").rstrip(".,")
            if any(words in message for words in _NO_VOLUME):
                return _volume_problem(pod, message)
            if _APART in message:
                return _bound_to_a_node(pod, message)
            text = f"no node has room for it: {message}"
            advice = "Lower `memory` or `cpu`, shorten `keep_warm`, or add a node."
            return Problem(pod, Cause.NO_NODE, text, advice, DoesNotFit, GRACE / 2, quoted=message)
    return None


def _volume_problem(pod: str, message: str) -> Problem:
    text = f"it waits for its volume: {message}"
    advice = "`kubectl get pvc,storageclass` shows the claims and what makes volumes for them; see docs/kubernetes.md."
    grace = GRACE if _NO_VOLUME[0] in message else VOLUME_GRACE
    return Problem(pod, Cause.VOLUME, text, advice, EngineFailed, grace, quoted=message)


def _bound_to_a_node(pod: str, message: str) -> Problem:
    text = f"its volume can be on one node only, and that node has no room for it: {message}"
    advice = (
        "Lower `memory` or `cpu`, or shorten `keep_warm`; with a class for it, `access: ReadWriteMany` lets its pods "
        "run on any node."
    )
    return Problem(pod, Cause.NO_NODE, text, advice, DoesNotFit, GRACE / 2, quoted=message)
