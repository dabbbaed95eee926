"""Waits until every pod of a slot is ready, and reports why one is not as soon as that is known."""

from __future__ import annotations

from pipeline.adapters.health_page import SAME
from pipeline.adapters.kubernetes.api.kube_api import KubeApi
from pipeline.adapters.kubernetes.api.objects import KubeObject
from pipeline.adapters.kubernetes.api.watch import WatchedObjects
from pipeline.adapters.kubernetes.names import ASKED, SPEC, selector, slot_name
from pipeline.adapters.kubernetes.pods.events import is_scaling_up
from pipeline.adapters.kubernetes.pods.problems import Cause, Problem, deployment_problem, pod_problem
from pipeline.adapters.kubernetes.pods.state import (
    has_started,
    is_finished,
    is_ready,
    is_terminating,
    restarts,
)
from pipeline.adapters.kubernetes.readiness_errors import SILENT, ReadinessErrors
from pipeline.adapters.kubernetes.workload.claim_problems import ClaimProblems
from pipeline.domain.engine_types import SlotSpec
from pipeline.domain.events import Event
from pipeline.errors import EngineFailed, TimedOut
from pipeline.ports.builder import Emit
from pipeline.ports.clock import Clock, Watch

CHECK_EVERY = 0.2  # seconds between two checks of the deadline
FIRST_NOTE = (
    5.0  # seconds until the first note about what is waited for; each further one after twice as long
)
RETRY_CREATION = 1.0  # seconds between two requests to create the pods again
LOOPBACK_AFTER = 8.0  # seconds after which an application that listens only on 127.0.0.1 is not just starting
EVICTED_OFTEN = 3  # pods that the cluster ended


class ReadinessWait:
    """One wait for one slot. ``labels`` select its pods and its Deployment; ``spec_hash``: the hash of its pods."""

    def __init__(
        self, api: KubeApi, clock: Clock, spec: SlotSpec, labels: dict[str, str], spec_hash: str
    ) -> None:
        self._api, self._clock, self._spec = api, clock, spec
        self._query, self._spec_hash = {"labelSelector": selector(labels)}, spec_hash
        self._wanted = spec.replicas
        self._errors = ReadinessErrors(api, spec)
        self._problem_of = ClaimProblems(api, clock).of
        self._since: dict[Cause, float] = {}  # when each problem was first seen
        self._restarts: dict[str, int] = {}  # of each pod, when it was first seen
        self._reported_pods: set[str] = set()
        self._reported_problems: set[Cause] = set()
        self._creation_retried = self._started = 0.0

    def until_ready(self, emit: Emit, watch: Watch) -> None:
        """Returns once all pods are ready. Raises AppFailed or EngineFailed as soon as it is known that they will not
        be, or at the deadline; TryAgain if the API server is silent then. The service's ``ready`` counts from when the
        containers run."""
        start, next_note = self._clock.monotonic(), FIRST_NOTE
        with WatchedObjects(self._api, ("Pod", "Deployment"), self._query) as watched:
            while True:
                watched.wait(CHECK_EVERY)
                if watched.complete() and self._check(watched, emit):
                    return
                if self._clock.monotonic() - start >= next_note:
                    next_note *= 2
                    emit(Event("note", self._clock.now(), f"waiting: {self._progress(watched)}"))
                self._check_deadlines(watched, watch)

    def _progress(self, watched: WatchedObjects) -> str:
        silence = watched.silence()
        if silence >= SILENT:
            return f"the Kubernetes API does not answer (silent for {silence:.0f} s)"
        return self._errors.progress(self._running(watched))

    def _check(self, watched: WatchedObjects, emit: Emit) -> bool:
        """True once the slot is ready. Raises the first problem that will not pass."""
        self._follow_autoscaler(watched)
        running = self._running(watched)
        for pod in running:
            name = pod["metadata"]["name"]
            self._restarts.setdefault(name, restarts(pod))
            if is_ready(pod) and name not in self._reported_pods:
                self._reported_pods.add(name)
                emit(Event("line", self._clock.now(), f"{name} is ready"))
        self._raise_problems(watched, emit)
        if len(running) >= self._wanted and all(map(has_started, running)):
            self._started = self._started or self._clock.monotonic()
        deployments = watched.objects("Deployment")
        if not deployments:
            name = slot_name(self._spec.ref)
            raise EngineFailed(f"The Deployment {name} was removed while it started.", advice="Deploy again.")
        # A user or an autoscaler may have set more replicas than the spec has.
        return len(running) >= self._wanted and all(map(is_ready, running)) and _is_settled(deployments[0])

    def _follow_autoscaler(self, watched: WatchedObjects) -> None:
        """It may set fewer replicas than the slot was started with."""
        if self._spec.config.service.autoscaled:
            numbers = (int(one["spec"].get("replicas") or 0) for one in watched.objects("Deployment"))
            self._wanted = max(1, *numbers)

    def _running(self, watched: WatchedObjects) -> list[KubeObject]:
        return [pod for pod in self._pods(watched) if not is_finished(pod)]

    def _pods(self, watched: WatchedObjects) -> list[KubeObject]:
        """The pods of this spec, except those that are being deleted."""
        return [
            pod
            for pod in watched.objects("Pod")
            if not is_terminating(pod) and pod["metadata"]["labels"].get(SPEC) == self._spec_hash
        ]

    # ── problems ─────────────────────────────────────────────────────────────

    def _raise_problems(self, watched: WatchedObjects, emit: Emit) -> None:
        found, now = self._problems(watched), self._clock.monotonic()
        self._since = {one.cause: self._since.get(one.cause, now) for one in found}
        for problem in found:
            grace = self._grace(watched, problem)
            if now - self._since[problem.cause] >= grace and not self._room_is_coming(problem):
                raise self._errors.for_problem(problem)
            if problem.cause is Cause.NOT_CREATED:
                self._retry_creation()
            self._report(problem, emit)

    def _problems(self, watched: WatchedObjects) -> list[Problem]:
        running = self._running(watched)
        finished = [pod for pod in self._pods(watched) if is_finished(pod)]
        found = [
            problem for problem in map(self._problem_of, (p for p in running if not is_ready(p))) if problem
        ]
        if len(running) < self._wanted:
            found += [
                problem for problem in map(deployment_problem, watched.objects("Deployment")) if problem
            ]
        if len(running) < self._wanted or len(finished) >= EVICTED_OFTEN:
            found += [problem for problem in map(pod_problem, finished) if problem]
        # A pod that is being deleted still counts against a quota, and still uses its node.
        if any(map(is_terminating, watched.objects("Pod"))):
            return [one for one in found if one.cause not in (Cause.NO_NODE, Cause.NOT_CREATED)]
        return found

    def _grace(self, watched: WatchedObjects, problem: Problem) -> float:
        """Seconds for which the problem may still pass: none for a pod that exited during this wait."""
        if problem.cause is not Cause.EXIT:
            return problem.grace
        counts = {pod["metadata"]["name"]: restarts(pod) for pod in self._pods(watched)}
        name = problem.subject
        return 0.0 if counts.get(name, 0) > self._restarts.get(name, 0) else problem.grace

    def _room_is_coming(self, problem: Problem) -> bool:
        """True if a node is being added or pods are being deleted; then the problem gets its grace again."""
        if problem.cause is not Cause.NO_NODE:
            return False
        scaling_up = is_scaling_up(self._api.events("Pod", problem.subject))
        if not scaling_up and not any(map(is_terminating, self._api.find("Pod", {}))):
            return False
        self._since[problem.cause] = self._clock.monotonic()
        return True

    def _retry_creation(self) -> None:
        """Touches the Deployment, so that its controller tries at once; by itself it waits longer each time."""
        now = self._clock.monotonic()
        if now - self._creation_retried >= RETRY_CREATION:
            self._creation_retried = now
            change = {"metadata": {"annotations": {ASKED: f"{self._clock.now():.3f}"}}}
            self._api.merge("Deployment", slot_name(self._spec.ref), change)

    def _report(self, problem: Problem, emit: Emit) -> None:
        if problem.cause not in self._reported_problems:
            self._reported_problems.add(problem.cause)
            text = f"{problem.subject}: {problem.text}; waiting, since this may pass"
            emit(Event("note", self._clock.now(), text))

    # ── deadlines ────────────────────────────────────────────────────────────

    def _check_deadlines(self, watched: WatchedObjects, watch: Watch) -> None:
        waited = self._clock.monotonic() - self._started if self._started else 0.0
        if waited >= self._spec.config.service.ready:
            raise self._deadline_error(watched, waited)
        if waited >= LOOPBACK_AFTER and self._errors.listens_on_loopback_only(self._running(watched)):
            raise self._deadline_error(watched, waited)
        if waited >= SAME and (refused := self._errors.refused_host(self._running(watched))):
            raise refused
        try:
            watch.check()
        except TimedOut:
            raise self._deadline_error(watched, waited) from None

    def _deadline_error(self, watched: WatchedObjects, waited: float) -> Exception:
        silence = watched.silence()
        problems = self._problems(watched) if watched.complete() else []
        return self._errors.at_deadline(self._running(watched), problems, silence, waited)


def _is_settled(deployment: KubeObject) -> bool:
    """True if the controller has seen the current spec, and exactly the wanted pods exist, updated and ready."""
    status, wanted = deployment.get("status", {}), deployment["spec"].get("replicas")
    seen = status.get("observedGeneration", 0) >= deployment["metadata"]["generation"]
    counts = {status.get(key, 0) for key in ("replicas", "updatedReplicas", "readyReplicas")}
    return bool(seen and counts == {wanted})
