"""The pod of an accessory: why it is not ready, and whether a node can pull another image for it."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import datetime

from pipeline.adapters.kubernetes.api.client import Refused
from pipeline.adapters.kubernetes.api.kube_api import KubeApi
from pipeline.adapters.kubernetes.api.objects import KubeObject, Manifest
from pipeline.adapters.kubernetes.capacity import FORBIDDEN
from pipeline.adapters.kubernetes.names import ACCESSORY, ACCESSORY_IN, CONTAINER, HELPER, INSTANCE
from pipeline.adapters.kubernetes.pods.claims import claims_of
from pipeline.adapters.kubernetes.pods.events import last_probe_failure
from pipeline.adapters.kubernetes.pods.problems import Cause, Problem, creation_problem, pod_problem
from pipeline.adapters.kubernetes.pods.state import (
    app_containers,
    has_started,
    is_ready,
    is_terminating,
    waiting_reason,
)
from pipeline.adapters.kubernetes.workload.accessory_objects import accessory_name, placed
from pipeline.adapters.kubernetes.workload.claim_problems import ClaimProblems
from pipeline.adapters.kubernetes.workload.claims import KIND
from pipeline.domain.accessories import AccessorySpec
from pipeline.errors import EngineFailed
from pipeline.lib.units import show_time
from pipeline.ports.clock import Clock, Watch

LATE = 30.0  # seconds after which a pod that should have ended is said to be late
LOOK = 0.3  # seconds between two looks
CPU, MEMORY = "10m", "32Mi"  # of a pod that only makes a node pull an image
PULL_LIMIT = 900  # seconds that it lives at most
STARTING = "Startup probe failed: "  # the kubelet's words, before what the probe said
# The container was made from the image, or could not be for another reason: the image is there.
_PULLED = (Cause.COMMAND, Cause.CONTAINER, Cause.USER, Cause.MEMORY, Cause.EXIT)


def why_unready(api: KubeApi, clock: Clock, found: KubeObject, pod: KubeObject | None) -> str:
    """In words, "" if it is ready. ``found``: its StatefulSet, which should run it; ``pod``: None if there is none."""
    if pod is None:
        problem = _not_created(api, found)
        name = found["metadata"]["name"]
        return f"{name}: {problem.text}" if problem else f"{name}-0 is starting"
    name = pod["metadata"]["name"]
    if is_terminating(pod):
        return f"{name} is ending{_for_long(api, clock, pod)}"
    if problem := ClaimProblems(api, clock).of(pod):
        return f"{name}: {problem.text}{_how(api, found, pod) if problem.cause is Cause.VOLUME else ''}"
    if is_ready(pod):
        return ""
    if any("running" in (one.get("state") or {}) for one in app_containers(pod)):
        failure = last_probe_failure(api.events("Pod", name))
        return (
            f"{name}: {failure.message.removeprefix(STARTING)}"
            if failure
            else f"{name} runs, and is not ready yet"
        )
    return f"{name} is starting" + (f" ({reason})" if (reason := waiting_reason(pod)) else "")


def await_started(
    api: KubeApi, clock: Clock, found: KubeObject, pod_of: Callable[[], KubeObject | None], watch: Watch
) -> None:
    """Returns once its container has run: a pull takes nothing from `ready`. Raises EngineFailed as soon as it is known
    that it will not, and what the watch raises. ``pod_of`` reads its pod."""
    problems, since = ClaimProblems(api, clock), dict[Cause, float]()
    while True:
        pod = pod_of()
        if pod and not is_terminating(pod) and has_started(pod):
            return
        problem = problems.of(pod) if pod else _not_created(api, found)
        now = clock.monotonic()
        since = {problem.cause: since.get(problem.cause, now)} if problem else {}
        if problem and now - since[problem.cause] >= problem.grace:
            labels, advice = found["metadata"]["labels"], problem.advice
            if problem.cause is Cause.IMAGE:
                advice = (
                    f"`image` under accessories.{labels[ACCESSORY]} in pipelines.yaml names it, and the cluster's "
                    "nodes have to be able to pull it. Once it is corrected there, `pushlive accessory apply "
                    f"{labels[ACCESSORY]} {labels[ACCESSORY_IN]}` takes it."
                )
            how = _how(api, found, pod) if pod and problem.cause is Cause.VOLUME else ""
            raise EngineFailed(
                f"the accessory {labels[ACCESSORY]}/{labels[ACCESSORY_IN]} does not start: {problem.text}{how}.",
                advice=advice,
                again=True,
            )
        watch.wait(LOOK)


def _not_created(api: KubeApi, found: KubeObject) -> Problem | None:
    """Why the cluster makes no pod; only events say it."""
    name = found["metadata"]["name"]
    refused = [one for one in api.events("StatefulSet", name) if one.get("reason") == "FailedCreate"]
    return creation_problem(name, str(refused[-1].get("message"))) if refused else None


def _for_long(api: KubeApi, clock: Clock, pod: KubeObject) -> str:
    """What helps if its node does not answer: the cluster starts no other pod before it knows that this one is gone."""
    meta = pod["metadata"]
    ended = datetime.fromisoformat(meta["deletionTimestamp"]).timestamp()  # with the time that it may take
    if clock.now() - ended < LATE:
        return ""
    return (
        f" and should have ended at {show_time(ended)}; if its node is gone for good, "
        f"`kubectl -n {api.namespace} delete pod --force {meta['name']}` lets another one start"
    )


def _how(api: KubeApi, found: KubeObject, pod: KubeObject) -> str:
    """What helps one that waits for its volume."""
    labels = found["metadata"]["labels"]
    name = labels[ACCESSORY]
    apply = f"`pushlive accessory apply {name} {labels[ACCESSORY_IN]}`"
    if not all(api.get(KIND, claim) for claim in claims_of(pod)):
        return f"; {apply} makes a new, empty one, and a backup can be restored into it"
    return (
        f"; write `kubernetes: {{volume: {{class: …}}}}` under accessories.{name} and call {apply}, or make a "
        "PersistentVolume for it"
    )


def insist_on_image(
    api: KubeApi,
    clock: Clock,
    instance: str,
    spec: AccessorySpec,
    watch: Watch,
    *,
    nothing_else: bool = False,
) -> None:
    """Raises EngineFailed if a node cannot pull it, and what the watch raises. Only a pod shows it. ``nothing_else``:
    what else keeps that pod from running is left to be found by the accessory's own, which may fit where this one does
    not, and waits for a node that is added."""
    pod = _pulling(api, instance, spec)
    problem = _refused(api, pod) or _unpulled(api, clock, pod["metadata"]["name"], watch)
    if problem and (not nothing_else or problem.cause is Cause.IMAGE):
        raise _cannot_be_pulled(spec, problem)


def _refused(api: KubeApi, wanted: Manifest) -> Problem | None:
    """Makes that pod; why a rule of the cluster refuses it, None if none does."""
    name = wanted["metadata"]["name"]
    try:
        api.create(wanted)
    except Refused as error:
        if (
            error.status != FORBIDDEN or error.object_name != name
        ):  # a permission that is missing names no pod
            raise
        return creation_problem(name, error.said)
    return None


def _unpulled(api: KubeApi, clock: Clock, name: str, watch: Watch) -> Problem | None:
    """Why that pod does not run, None if its image was pulled. The pod is removed."""
    since: float | None = None
    try:
        while True:
            pod = api.get("Pod", name)
            problem = pod_problem(pod) if pod else None
            if pod is None or _has_image(pod) or (problem and problem.cause in _PULLED):
                return None
            since = (since or clock.monotonic()) if problem else None
            if problem and since is not None and clock.monotonic() - since >= problem.grace:
                return problem
            watch.wait(LOOK)
    finally:
        api.delete("Pod", name, grace=0)


def _cannot_be_pulled(spec: AccessorySpec, problem: Problem) -> EngineFailed:
    """Also for a pod that found no room."""
    advice = problem.advice
    if problem.cause is Cause.IMAGE:
        advice = (
            f"`image` under accessories.{spec.ref.name} in pipelines.yaml names it, and the cluster's nodes have to be "
            "able to pull it."
        )
    text = f"the accessory {spec.ref.id} was not made from {spec.config.image}: {problem.text}."
    return EngineFailed(text, advice=advice, again=True)


def _has_image(pod: KubeObject) -> bool:
    states = [one.get("state") or {} for one in app_containers(pod)]
    return any("running" in state or "terminated" in state for state in states)


def _pulling(api: KubeApi, instance: str, spec: AccessorySpec) -> Manifest:
    """On any node that the accessory may be on."""
    name = accessory_name(instance, spec.ref)
    container = {
        "name": CONTAINER,
        "image": spec.config.image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["true"],
        "resources": {key: {"cpu": CPU, "memory": MEMORY} for key in ("limits", "requests")},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    pod = {
        "containers": [container],
        "restartPolicy": "Never",
        "activeDeadlineSeconds": PULL_LIMIT,
        "terminationGracePeriodSeconds": 1,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
        **placed(spec.config),
    }
    labels = {INSTANCE: instance, HELPER: "image", "app.kubernetes.io/managed-by": "pushlive"}
    metadata = {"name": f"{name}-{secrets.token_hex(4)}", "namespace": api.namespace, "labels": labels}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod}
