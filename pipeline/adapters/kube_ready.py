"""Waiting until every pod of a slot answers its health path, and saying why one does not as soon as it is known."""

from __future__ import annotations

from pipeline.adapters.kube_calls import Calls, Found
from pipeline.adapters.kube_names import SPEC, selector, slot_name
from pipeline.adapters.kube_trouble import is_going, is_ready, of_deployment, of_pod, told, unready
from pipeline.adapters.kube_watch import Follow
from pipeline.errors import AppFailed, EngineFailed, TimedOut, TryAgain
from pipeline.model import Event, SlotSpec
from pipeline.ports import Clock, Emit, Watch

LINES = 20
LOOK = 0.2  # seconds between two looks at the step's own patience
SILENCE = 5.0  # seconds after which whoever follows is told what is waited for; then twice as many


class Waiting:
    """One wait for one slot. ``labels`` select its pods and its Deployment; ``spec_hash`` is theirs."""

    def __init__(
        self, calls: Calls, clock: Clock, spec: SlotSpec, labels: dict[str, str], spec_hash: str
    ) -> None:
        self._calls, self._clock, self._spec = calls, clock, spec
        self._query, self._hash = {"labelSelector": selector(labels)}, spec_hash
        self._since: dict[str, float] = {}  # when a trouble that may pass was first seen
        self._told: set[str] = set()

    def until_ready(self, emit: Emit, watch: Watch) -> None:
        """Raises AppFailed or EngineFailed once it is known that it will not be, and at the deadline."""
        began, tell = self._clock.monotonic(), SILENCE
        with Follow(self._calls, ("Pod", "Deployment"), self._query) as follow:
            while True:
                follow.wait(LOOK)
                waited = self._clock.monotonic() - began
                if follow.complete() and self._look(follow, emit):
                    return
                if waited >= tell:
                    tell *= 2
                    emit(Event("note", self._clock.now(), f"waiting: {self._state(follow)}"))
                self._patience(follow, waited, watch)

    def _look(self, follow: Follow, emit: Emit) -> bool:
        pods = self._pods(follow)
        for pod in pods:
            name = pod["metadata"]["name"]
            if is_ready(pod) and name not in self._told:
                self._told.add(name)
                emit(Event("line", self._clock.now(), f"{name} is ready"))
        self._refuse(follow, pods)
        deployments = follow.objects("Deployment")
        if not deployments:
            name = slot_name(self._spec.place)
            raise EngineFailed(f"{name} was removed while it started.", advice="Deploy again.")
        seen = deployments[0].get("status", {}).get("observedGeneration", 0)
        if seen < deployments[0]["metadata"]["generation"]:
            return False
        staying = [pod for pod in follow.objects("Pod") if not is_going(pod)]
        return len(staying) == len(pods) == self._spec.config.service.replicas and all(map(is_ready, pods))

    def _pods(self, follow: Follow) -> list[Found]:
        """Those of this very spec that are to stay."""
        found = follow.objects("Pod")
        return [p for p in found if not is_going(p) and p["metadata"]["labels"].get(SPEC) == self._hash]

    def _refuse(self, follow: Follow, pods: list[Found]) -> None:
        found = [trouble for trouble in map(of_pod, (p for p in pods if not is_ready(p))) if trouble]
        # Pods that are still going hold their share of a quota.
        going = any(map(is_going, follow.objects("Pod")))
        if len(pods) < self._spec.config.service.replicas and not going:
            found += [trouble for trouble in map(of_deployment, follow.objects("Deployment")) if trouble]
        now = self._clock.monotonic()
        for trouble in found:
            if now - self._since.setdefault(trouble.text, now) >= trouble.wait:
                raise trouble.error(self._evidence(trouble.pod, trouble.previous))

    def _patience(self, follow: Follow, waited: float, watch: Watch) -> None:
        if waited >= self._spec.config.service.ready:
            raise self._late(follow, waited)
        try:
            watch.check()
        except TimedOut:
            raise self._late(follow, waited) from None

    def _late(self, follow: Follow, waited: float) -> Exception:
        if not follow.complete():
            return TryAgain(
                f"{slot_name(self._spec.place)}: the Kubernetes API did not answer for {waited:.0f} s."
            )
        trouble = next((t for t in map(of_pod, self._pods(follow)) if t), None)
        if trouble:
            return trouble.error(self._evidence(trouble.pod, trouble.previous))
        pod = next((p["metadata"]["name"] for p in self._pods(follow) if not is_ready(p)), "")
        health = self._spec.config.service.health
        return AppFailed(
            f"{pod or slot_name(self._spec.place)} is not ready after {waited:.1f} s: {self._state(follow)}.",
            advice=f"Look at its output below; `health` ({health}), `port` and `ready` are in pipelines.yaml.",
            evidence=self._evidence(pod, previous=False) if pod else (),
        )

    def _state(self, follow: Follow) -> str:
        """What is waited for, in words."""
        pods, wanted = self._pods(follow), self._spec.config.service.replicas
        late = [pod for pod in pods if not is_ready(pod)]
        if len(pods) < wanted:
            return f"the cluster has made {len(pods)} of {wanted} pods"
        if not late:
            return f"{wanted} pods are ready, the cluster has yet to say so"
        name = late[0]["metadata"]["name"]
        said = unready(self._calls.events("Pod", name))
        port = self._spec.config.service.port
        if "connection refused" in said:
            return f"nothing listens on 0.0.0.0:{port} in {name} ({said})"
        return said or _phase(late[0])

    def _evidence(self, pod: str, previous: bool) -> tuple[str, ...]:
        output = self._calls.output(pod, LINES, previous=previous) if pod else ()
        return (*told(self._calls.events("Pod", pod)), *output)


def _phase(pod: Found) -> str:
    waiting = [
        (one.get("state") or {}).get("waiting")
        for one in pod.get("status", {}).get("containerStatuses") or ()
    ]
    reason = next((one.get("reason", "") for one in waiting if one), "")
    return f"{pod['metadata']['name']} is {reason or pod.get('status', {}).get('phase', 'unknown')}"
