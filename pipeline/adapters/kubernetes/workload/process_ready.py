"""Waits until the processes of a slot are ready on a cluster: each has run for its ``settle``, or its ``ready`` command
has succeeded."""

from __future__ import annotations

from pipeline.adapters.kubernetes.api.kube_api import KubeApi
from pipeline.adapters.kubernetes.api.objects import KubeObject
from pipeline.adapters.kubernetes.names import SPEC
from pipeline.adapters.kubernetes.pods.problems import (
    Problem,
    creation_problem,
    deployment_problem,
    pod_problem,
)
from pipeline.adapters.kubernetes.pods.state import (
    app_containers,
    is_finished,
    is_terminating,
    last_termination,
    restarts,
)
from pipeline.adapters.kubernetes.workload.process_objects import (
    SET,
    ProcessManifests,
    pods_of,
    process_name,
    workloads_of,
)
from pipeline.config.workload.processes import Process
from pipeline.domain.engine_types import SlotSpec
from pipeline.domain.events import Event
from pipeline.errors import AppFailed
from pipeline.ports.builder import Emit
from pipeline.ports.clock import Clock, Watch

LOOK = 0.3  # seconds between two looks
LINES = 20  # of output


class ProcessWait:
    """One wait for one slot, or for a single process of it (``only``)."""

    def __init__(
        self,
        api: KubeApi,
        clock: Clock,
        spec: SlotSpec,
        manifests: ProcessManifests,
        instance: str,
        only: str = "",
    ) -> None:
        self._wanted = {
            name: one for name, one in spec.config.service.processes_in_use.items() if only in ("", name)
        }
        self._api, self._clock, self._spec, self._instance = api, clock, spec, instance
        self._hashes = manifests.spec_hashes(spec)
        self._restarts: dict[str, int] = {}  # of each pod, when it was first seen
        self._running: dict[str, float] = {}  # since when each pod has run
        self._problems: dict[str, float] = {}  # since when each is known
        self._ready: set[str] = set()

    def until_ready(self, emit: Emit, watch: Watch) -> None:
        """Raises AppFailed or EngineFailed as soon as it is known that one will not be, and what the watch raises."""
        began = self._clock.monotonic()
        while self._wanted:
            pods = pods_of(self._api, self._instance, self._spec.ref)
            ready = [self._is_ready(name, one, pods, began, emit) for name, one in self._wanted.items()]
            if all(ready):
                return
            self._refuse_not_created()
            watch.wait(LOOK)

    def _is_ready(
        self, name: str, process: Process, pods: list[KubeObject], began: float, emit: Emit
    ) -> bool:
        wanted = self._hashes[process_name(self._spec.ref, name)]
        own = [
            pod for pod in pods if pod["metadata"]["labels"].get(SPEC) == wanted and not is_terminating(pod)
        ]
        for pod in own:
            self._refuse_ended(pod)
        ready = [pod for pod in own if self._pod_is_ready(pod, process)]
        for pod in ready:
            if (title := str(pod["metadata"]["name"])) not in self._ready:
                self._ready.add(title)
                emit(Event("line", self._clock.now(), f"{title} is ready"))
        limit = self._spec.config.service.ready
        if process.ready and len(ready) < process.replicas and self._waited(own) >= limit:
            self._refuse_late(own, process, began)
        return len(ready) >= process.replicas

    def _pod_is_ready(self, pod: KubeObject, process: Process) -> bool:
        name = pod["metadata"]["name"]
        states = app_containers(pod)
        if not any("running" in (one.get("state") or {}) for one in states):
            self._running.pop(name, None)
            return False
        since = self._running.setdefault(name, self._clock.monotonic())
        if process.ready:
            return all(one.get("started") for one in states)
        return self._clock.monotonic() - since >= process.settle

    def _waited(self, pods: list[KubeObject]) -> float:
        since = [self._running[name] for pod in pods if (name := pod["metadata"]["name"]) in self._running]
        return self._clock.monotonic() - min(since) if since else 0.0

    def _refuse_late(self, pods: list[KubeObject], process: Process, began: float) -> None:
        words = " ".join(process.ready.run) if process.ready else ""
        name = str(pods[0]["metadata"]["name"])
        waited = self._clock.monotonic() - began
        raise AppFailed(
            f"{name} is not ready after {waited:.1f} s: {words} has not succeeded.",
            advice=f"`{self._spec.ref.output_command}` prints its output; `ready` in pipelines.yaml limits the wait.",
            evidence=self._api.output(name, LINES),
        )

    def _refuse_ended(self, pod: KubeObject) -> None:
        name = str(pod["metadata"]["name"])
        before = self._restarts.setdefault(name, restarts(pod))
        end = last_termination(pod)
        again = restarts(pod) > before
        over = any("terminated" in (one.get("state") or {}) for one in app_containers(pod))
        if end and (again or over or is_finished(pod)):
            code = end.get("exitCode")
            killed = " (it ran out of memory)" if end.get("reason") == "OOMKilled" else ""
            output = self._api.output(name, LINES, previous=again) or self._api.output(name, LINES)
            raise AppFailed(
                f"{name}: it exited with code {code}{killed}.",
                advice=f"`{self._spec.ref.output_command}` prints its output.",
                facts=(f"exit code {code}",),
                evidence=output,
            )
        self._refuse_problem(pod_problem(pod))

    def _refuse_not_created(self) -> None:
        for one in workloads_of(self._api, self._instance, self._spec.ref):
            if one["metadata"]["name"] in self._hashes:
                self._refuse_problem(deployment_problem(one) if one["kind"] != SET else self._of_set(one))

    def _of_set(self, found: KubeObject) -> Problem | None:
        """What keeps the cluster from making a StatefulSet's pod: only events say it."""
        if found.get("status", {}).get("replicas"):
            return None
        name = str(found["metadata"]["name"])
        refused = [one for one in self._api.events(SET, name) if one.get("reason") == "FailedCreate"]
        return creation_problem(name, str(refused[-1].get("message"))) if refused else None

    def _refuse_problem(self, problem: Problem | None) -> None:
        if problem is None:
            return
        now, key = self._clock.monotonic(), f"{problem.subject} {problem.cause.value}"
        if now - self._problems.setdefault(key, now) >= problem.grace:
            raise problem.error(())
