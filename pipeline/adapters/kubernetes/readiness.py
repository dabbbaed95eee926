"""Waiting until every pod of a slot answers its health path, and saying why one does not as soon as it is known."""

from __future__ import annotations

from pipeline.adapters.kubernetes import pod_problems
from pipeline.adapters.kubernetes.api import Found, KubeApi
from pipeline.adapters.kubernetes.names import ASKED, SPEC, selector, slot_name
from pipeline.adapters.kubernetes.pod_problems import (
    Trouble,
    has_begun,
    is_going,
    is_over,
    is_ready,
    of_deployment,
    of_pod,
)
from pipeline.adapters.kubernetes.readiness_errors import SILENT, Late
from pipeline.adapters.kubernetes.watch import Follow
from pipeline.domain.engine_types import SlotSpec
from pipeline.domain.events import Event
from pipeline.errors import EngineFailed, TimedOut
from pipeline.ports.builder import Emit
from pipeline.ports.clock import Clock, Watch

LOOK = 0.2  # seconds between two looks at the step's own patience
SILENCE = 5.0  # seconds after which whoever follows is told what is waited for; then twice as many
AGAIN = 1.0  # seconds between two requests to try again to make pods
CLEAR = 8.0  # seconds after which listening elsewhere is no passing state any more
ENDED_OFTEN = 3  # pods that the cluster itself ended


class Waiting:
    """One wait for one slot. ``labels`` select its pods and its Deployment; ``spec_hash`` is theirs."""

    def __init__(
        self, api: KubeApi, clock: Clock, spec: SlotSpec, labels: dict[str, str], spec_hash: str
    ) -> None:
        self._api, self._clock, self._spec = api, clock, spec
        self._query, self._hash = {"labelSelector": selector(labels)}, spec_hash
        self._wanted = spec.config.service.replicas
        self._late = Late(api, spec)
        self._since: dict[str, float] = {}  # when a trouble that may pass was first seen
        self._restarts: dict[str, int] = {}  # of each pod, when it was first seen
        self._told: set[str] = set()
        self._asked = self._began = 0.0

    def until_ready(self, emit: Emit, watch: Watch) -> None:
        """Raises AppFailed or EngineFailed once it is known that it will not be, and at the deadline; TryAgain where
        the API server is silent then. The application's own patience counts from when its containers run."""
        start, tell = self._clock.monotonic(), SILENCE
        with Follow(self._api, ("Pod", "Deployment"), self._query) as follow:
            while True:
                follow.wait(LOOK)
                if follow.complete() and self._look(follow, emit):
                    return
                waited = self._clock.monotonic() - start
                if waited >= tell:
                    tell *= 2
                    emit(Event("note", self._clock.now(), f"waiting: {self._state(follow)}"))
                self._patience(follow, watch)

    def _state(self, follow: Follow) -> str:
        silent = follow.silence()
        if silent >= SILENT:
            return f"the Kubernetes API does not answer, for {silent:.0f} s now"
        return self._late.state(self._active(follow))

    def _look(self, follow: Follow, emit: Emit) -> bool:
        active = self._active(follow)
        for pod in active:
            name = pod["metadata"]["name"]
            self._restarts.setdefault(name, pod_problems.restarts(pod))
            if is_ready(pod) and name not in self._told:
                self._told.add(name)
                emit(Event("line", self._clock.now(), f"{name} is ready"))
        self._refuse(follow, emit)
        if len(active) >= self._wanted and all(map(has_begun, active)):
            self._began = self._began or self._clock.monotonic()
        deployments = follow.objects("Deployment")
        if not deployments:
            name = slot_name(self._spec.ref)
            raise EngineFailed(f"{name} was removed while it started.", advice="Deploy again.")
        # Somebody, or an autoscaler, may want more of them than is written.
        return len(active) >= self._wanted and all(map(is_ready, active)) and _settled(deployments[0])

    def _active(self, follow: Follow) -> list[Found]:
        """The pods of this very spec that are to stay."""
        return [pod for pod in self._pods(follow) if not is_over(pod)]

    def _pods(self, follow: Follow) -> list[Found]:
        found = follow.objects("Pod")
        return [p for p in found if not is_going(p) and p["metadata"]["labels"].get(SPEC) == self._hash]

    # ── what is in the way ───────────────────────────────────────────────────

    def _refuse(self, follow: Follow, emit: Emit) -> None:
        found, now = self._troubles(follow), self._clock.monotonic()
        self._since = {one.cause: self._since.get(one.cause, now) for one in found}
        for trouble in found:
            wait = self._wait(follow, trouble)
            if now - self._since[trouble.cause] >= wait and not self._passes(trouble):
                raise self._late.failed(trouble)
            self._tell(trouble, emit)

    def _troubles(self, follow: Follow) -> list[Trouble]:
        active, over = self._active(follow), [pod for pod in self._pods(follow) if is_over(pod)]
        found = [trouble for trouble in map(of_pod, (p for p in active if not is_ready(p))) if trouble]
        if len(active) < self._wanted:
            found += [trouble for trouble in map(of_deployment, follow.objects("Deployment")) if trouble]
        if len(active) < self._wanted or len(over) >= ENDED_OFTEN:
            found += [trouble for trouble in map(of_pod, over) if trouble]
        # What ends still holds its share of a quota, and its room on a node.
        going = any(map(is_going, follow.objects("Pod")))
        return [t for t in found if not (going and t.cause in (pod_problems.ROOM, pod_problems.REFUSED))]

    def _wait(self, follow: Follow, trouble: Trouble) -> float:
        """Seconds for which it may still pass: none where a pod ended while it was waited for."""
        if trouble.cause != pod_problems.EXIT:
            return trouble.wait
        counts = {pod["metadata"]["name"]: pod_problems.restarts(pod) for pod in self._pods(follow)}
        name = trouble.subject
        return 0.0 if counts.get(name, 0) > self._restarts.get(name, 0) else trouble.wait

    def _passes(self, trouble: Trouble) -> bool:
        """True where room is being made, by a node that is added or by pods that end; it is judged again after as long
        a wait."""
        if trouble.cause != pod_problems.ROOM:
            return False
        adds = pod_problems.makes_room(self._api.events("Pod", trouble.subject))
        if not adds and not any(map(is_going, self._api.find("Pod", {}))):
            return False
        self._since[trouble.cause] = self._clock.monotonic()
        return True

    def _tell(self, trouble: Trouble, emit: Emit) -> None:
        now = self._clock.monotonic()
        if trouble.cause == pod_problems.REFUSED and now - self._asked >= AGAIN:
            self._asked = now  # by itself it would try again after longer and longer pauses
            change = {"metadata": {"annotations": {ASKED: f"{self._clock.now():.3f}"}}}
            self._api.merge("Deployment", slot_name(self._spec.ref), change)
        if trouble.cause not in self._told:
            self._told.add(trouble.cause)
            text = f"{trouble.subject}: {trouble.text}; this may pass yet"
            emit(Event("note", self._clock.now(), text))

    # ── patience ─────────────────────────────────────────────────────────────

    def _patience(self, follow: Follow, watch: Watch) -> None:
        waited = self._clock.monotonic() - self._began if self._began else 0.0
        if waited >= self._spec.config.service.ready:
            raise self._at_the_end(follow, waited)
        if waited >= CLEAR and self._late.listens_to_itself(self._active(follow)):
            raise self._at_the_end(follow, waited)
        try:
            watch.check()
        except TimedOut:
            raise self._at_the_end(follow, waited) from None

    def _at_the_end(self, follow: Follow, waited: float) -> Exception:
        silent = follow.silence()
        troubles = self._troubles(follow) if follow.complete() else []
        return self._late.error(self._active(follow), troubles, silent, waited)


def _settled(deployment: Found) -> bool:
    """True where the cluster has taken note of what is wanted, and has just that, all of it up to date."""
    status, wanted = deployment.get("status", {}), deployment["spec"].get("replicas")
    seen = status.get("observedGeneration", 0) >= deployment["metadata"]["generation"]
    counts = {status.get(key, 0) for key in ("replicas", "updatedReplicas", "readyReplicas")}
    return bool(seen and counts == {wanted})
