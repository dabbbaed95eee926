"""Restarts on a cluster: a rollout of the same pods, which the cluster carries out."""

from __future__ import annotations

from datetime import UTC, datetime

from pipeline.adapters.kubernetes.engine_base import EngineBase
from pipeline.adapters.kubernetes.names import slot_name
from pipeline.domain.engine_types import SlotRef, SlotSpec
from pipeline.domain.events import Event
from pipeline.errors import AppFailed, EngineFailed, TimedOut
from pipeline.ports.builder import Emit
from pipeline.ports.clock import Watch

RESTARTED = "kubectl.kubernetes.io/restartedAt"  # as `kubectl rollout restart` writes it
MANAGER = "pushlive-restart"  # of its own: what our manifests do not say is not drift then
LOOK = 0.3  # seconds between two looks


class KubeRestarts(EngineBase):
    """See ``ports.outputs.Restarts``."""

    def restart_slot(self, spec: SlotSpec, mark: str, emit: Emit, watch: Watch) -> None:  # noqa: ARG002
        name = slot_name(spec.ref)
        before = {pod["metadata"]["name"] for pod in self._pods(spec.ref)}
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        change = {"spec": {"template": {"metadata": {"annotations": {RESTARTED: now}}}}}
        changed = self._owned.get("Deployment", name, spec.ref) and self._api.merge(
            "Deployment", name, change, MANAGER
        )
        if not changed:
            raise EngineFailed(
                f"The Deployment {name} does not exist.", advice="`pushlive doctor --fix` creates it."
            )
        wanted = int(changed["metadata"]["generation"])
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
