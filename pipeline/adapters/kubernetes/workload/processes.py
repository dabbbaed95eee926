"""Processes beside the web one on a cluster: a Deployment for each process and slot, a StatefulSet for what must never
run twice.

A slot that does not serve has them with 0 replicas. The cluster starts again what exits, with longer and longer pauses.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from pipeline.adapters.kubernetes.api.objects import KubeObject
from pipeline.adapters.kubernetes.engine_base import EngineBase
from pipeline.adapters.kubernetes.names import PROCESS, RELEASE, environment_labels
from pipeline.adapters.kubernetes.pods.state import (
    app_containers,
    is_finished,
    last_termination,
    restarts,
)
from pipeline.adapters.kubernetes.workload.process_objects import (
    ProcessManifests,
    pods_of,
    scale_down,
    slot_of,
    title_of,
    workloads_of,
)
from pipeline.adapters.kubernetes.workload.process_ready import ProcessWait
from pipeline.domain.engine_types import ProcessReplica, SlotRef, SlotSpec
from pipeline.domain.environment import other
from pipeline.errors import EngineFailed, RequestError
from pipeline.lib.retry import poll
from pipeline.ports.builder import Emit
from pipeline.ports.clock import Watch

KUBELET_WITHIN = 30.0  # seconds in which a node reports that a pod has ended
LOOK = 0.2  # seconds between two looks


class KubeProcesses(EngineBase):
    """See ``ports.Processes``."""

    @property
    def _beside(self) -> ProcessManifests:
        return ProcessManifests(self._manifests, self._instance)

    def start_processes(self, spec: SlotSpec, watch: Watch) -> None:
        self._refuse_others(spec.ref)
        watch.check()
        self._fill_processes(spec)

    def _refuse_others(self, ref: SlotRef) -> None:
        theirs = replace(ref, slot=other(ref.slot))
        wanted = [
            one for one in workloads_of(self._api, self._instance, theirs) if one["spec"].get("replicas")
        ]
        running = [one for one in pods_of(self._api, self._instance, theirs) if not is_finished(one)]
        if found := [*running, *wanted]:
            raise RequestError(
                f"{found[0]['metadata']['name']} still runs.",
                advice="The other slot's processes have to end first.",
            )

    def _fill_processes(self, spec: SlotSpec) -> None:
        wanted = ProcessManifests(self._permitted, self._instance).workloads(spec)
        hashes = self._beside.spec_hashes(spec)
        if wanted:
            self._provide(spec)
        for one in workloads_of(self._api, self._instance, spec.ref):
            if title_of(one) not in wanted:
                self._api.delete(one["kind"], one["metadata"]["name"])
        for manifest in wanted.values():
            name = manifest["metadata"]["name"]
            found = self._owned.get(manifest["kind"], name, spec.ref)
            if not found or not self._is_as_wanted(found, hashes[name], manifest["spec"]["replicas"]):
                self._owned.apply(manifest, spec.ref)

    def _is_as_wanted(self, found: KubeObject, spec_hash: str, replicas: int) -> bool:
        return self._spec_of(found) == spec_hash and found["spec"].get("replicas") == replicas

    def processes_ready(self, spec: SlotSpec, emit: Emit, watch: Watch) -> None:
        ProcessWait(self._api, self._clock, spec, self._beside, self._instance).until_ready(emit, watch)

    def stop_processes(self, ref: SlotRef) -> None:
        scale_down(self._api, self._instance, ref)
        self._await_ended(lambda: self._working(ref))

    def _await_ended(self, working: Callable[[], list[KubeObject]]) -> None:
        """Raises EngineFailed if they do not: what the cluster does not say has ended may still work."""
        pods = working()
        grace = max((int(pod["spec"].get("terminationGracePeriodSeconds") or 0) for pod in pods), default=0)
        poll(lambda: not working(), LOOK, self._clock, timeout=grace + KUBELET_WITHIN)
        if left := working():
            name = left[0]["metadata"]["name"]
            raise EngineFailed(
                f"{name} has not ended {grace + KUBELET_WITHIN:.0f} s after it was told to.",
                advice="Is its node lost? Once it is certain that it does not run any more: "
                f"`kubectl -n {self._api.namespace} delete pod {name} --force`.",
            )

    def _working(self, ref: SlotRef) -> list[KubeObject]:
        return [pod for pod in pods_of(self._api, self._instance, ref) if not is_finished(pod)]

    def processes(self, ref: SlotRef) -> tuple[ProcessReplica, ...]:
        return tuple(map(_process, self._process_pods(ref)))

    def _process_pods(self, ref: SlotRef) -> list[KubeObject]:
        found = self._api.find("Pod", environment_labels(self._instance, ref))
        own = [pod for pod in found if PROCESS in pod["metadata"]["labels"]]
        return sorted(own, key=lambda pod: str(pod["metadata"]["name"]))

    def process_logs(self, ref: SlotRef, process: str, lines: int) -> tuple[str, ...]:
        found = pods_of(self._api, self._instance, ref)
        names = sorted(
            str(pod["metadata"]["name"]) for pod in found if pod["metadata"]["labels"].get(PROCESS) == process
        )
        merged: list[tuple[str, str]] = []
        for number, name in enumerate(names, 1):
            prefix = f"{number}: " if len(names) > 1 else ""
            stamped = (line.partition(" ") for line in self._api.output(name, lines, times=True))
            merged += [(at, prefix + text) for at, _, text in stamped]
        merged.sort(key=lambda pair: pair[0])
        return tuple(text for _, text in merged[-lines:])

    def missing_processes(self, spec: SlotSpec) -> tuple[str, ...]:
        wanted, hashes = self._beside.workloads(spec), self._beside.spec_hashes(spec)
        there = {title_of(one): one for one in workloads_of(self._api, self._instance, spec.ref)}
        texts = [
            f"the {title} does not belong there"
            for title, one in there.items()
            if title not in wanted and one["spec"].get("replicas")
        ]
        for title, manifest in wanted.items():
            found, replicas = there.get(title), manifest["spec"]["replicas"]
            if found is None:
                texts.append(f"the {title} is missing")
            elif self._spec_of(found) != hashes[manifest["metadata"]["name"]]:
                texts.append(f"the {title} has another release or configuration")
            elif (now := found["spec"].get("replicas") or 0) != replicas:
                texts.append(f"the {title} was scaled to {now}")
        return tuple(texts)

    def restore_processes(self, spec: SlotSpec) -> None:
        self.stop_processes(replace(spec.ref, slot=other(spec.ref.slot)))
        self._fill_processes(spec)


def _process(pod: KubeObject) -> ProcessReplica:
    has, end = pod["metadata"]["labels"], last_termination(pod)
    running = any("running" in (one.get("state") or {}) for one in app_containers(pod))
    state = "exited" if is_finished(pod) else "running" if running else "starting"
    return ProcessReplica(
        str(pod["metadata"]["name"]),
        slot_of(pod),
        has[PROCESS],
        int(has.get(RELEASE) or 0),
        state,
        end.get("exitCode") if end else None,
        restarts(pod),
        bool(end and end.get("reason") == "OOMKilled"),
    )
