"""Restarts on a cluster: a rollout of the same pods, which the cluster carries out."""

from __future__ import annotations

from datetime import UTC, datetime

from pipeline.adapters.kubernetes.api.objects import KubeObject
from pipeline.adapters.kubernetes.names import PROCESS, slot_name
from pipeline.adapters.kubernetes.workload.process_objects import kind_of, process_name
from pipeline.adapters.kubernetes.workload.process_ready import ProcessWait
from pipeline.adapters.kubernetes.workload.processes import KubeProcesses
from pipeline.domain.engine_types import SlotRef, SlotSpec
from pipeline.domain.events import Event
from pipeline.errors import AppFailed, EngineFailed, TimedOut
from pipeline.ports.builder import Emit
from pipeline.ports.clock import Watch

RESTARTED = "kubectl.kubernetes.io/restartedAt"  # as `kubectl rollout restart` writes it
MANAGER = "pushlive-restart"  # of its own: what our manifests do not say is not drift then
LOOK = 0.3  # seconds between two looks


class KubeRestarts(KubeProcesses):
    """See ``ports.outputs.Restarts``."""

    def restart_slot(self, spec: SlotSpec, mark: str, emit: Emit, watch: Watch) -> None:  # noqa: ARG002
        if spec.config.service.web:
            self._restart_web(spec, emit, watch)
        for name, process in spec.config.service.processes_in_use.items():
            self._restart_process(spec, name, kind_of(process), emit, watch)

    def revive(self, spec: SlotSpec, name: str) -> None:
        """The pod's liveness probe does it."""

    def _restart_process(self, spec: SlotSpec, process: str, kind: str, emit: Emit, watch: Watch) -> None:
        """All its pods at once: the cluster starts new ones only once the old ones have ended."""
        old = {pod["metadata"]["uid"] for pod in self._working_of(spec, process)}
        watch.check()
        self._mark_restarted(spec, process_name(spec.ref, process), kind)

        def left() -> list[KubeObject]:
            return [pod for pod in self._working_of(spec, process) if pod["metadata"]["uid"] in old]

        self._await_ended(left)
        wait = ProcessWait(self._api, self._clock, spec, self._beside, self._instance, process)
        wait.until_ready(emit, watch)

    def _working_of(self, spec: SlotSpec, process: str) -> list[KubeObject]:
        found = self._working(spec.ref)
        return [pod for pod in found if pod["metadata"]["labels"].get(PROCESS) == process]

    def _mark_restarted(self, spec: SlotSpec, name: str, kind: str = "Deployment") -> KubeObject:
        """What runs the pods, after it was told to replace them."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        change = {"spec": {"template": {"metadata": {"annotations": {RESTARTED: now}}}}}
        changed = self._owned.get(kind, name, spec.ref) and self._api.merge(kind, name, change, MANAGER)
        if not changed:
            raise EngineFailed(
                f"The {kind} {name} does not exist.", advice="`pushlive doctor --fix` creates it."
            )
        return changed

    def _restart_web(self, spec: SlotSpec, emit: Emit, watch: Watch) -> None:
        name = slot_name(spec.ref)
        before = {pod["metadata"]["name"] for pod in self._pods(spec.ref)}
        wanted = int(self._mark_restarted(spec, name)["metadata"]["generation"])
        told: set[str] = set()
        try:
            while not self._is_done(spec, wanted):
                self._tell(spec, before, told, emit)
                watch.wait(LOOK)
        except TimedOut as error:
            raise AppFailed(
                f"{name}: the new pods are not ready; the old ones serve on.",
                advice=f"`{spec.ref.output_command}` prints their output.",
            ) from error
        self._tell(spec, before, told, emit)

    def _is_done(self, spec: SlotSpec, generation: int) -> bool:
        found = self._api.get("Deployment", slot_name(spec.ref)) or {"spec": {}}
        status, wanted = found.get("status", {}), int(found["spec"].get("replicas") or 0)
        seen = int(status.get("observedGeneration") or 0) >= generation
        counts = (status.get(key) or 0 for key in ("updatedReplicas", "availableReplicas", "replicas"))
        return seen and all(int(count) == wanted for count in counts)

    def _tell(self, spec: SlotSpec, before: set[str], told: set[str], emit: Emit) -> None:
        for one in self._pods(spec.ref):
            name = one["metadata"]["name"]
            if name not in before | told:
                told.add(name)
                emit(Event("line", self._clock.now(), f"{name} takes the place of an old pod"))

    def forget_restart(self, ref: SlotRef, mark: str) -> None:
        """Nothing but the Deployment was changed."""
