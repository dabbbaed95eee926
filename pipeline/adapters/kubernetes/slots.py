"""Slots on a cluster: one Deployment each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial

from pipeline.adapters.kubernetes import capacity, command_pod, diff
from pipeline.adapters.kubernetes.api.objects import KubeObject, Manifest
from pipeline.adapters.kubernetes.gateway.sharing import KubeSharing
from pipeline.adapters.kubernetes.manifests import selected_slot
from pipeline.adapters.kubernetes.names import (
    ENVIRONMENT,
    INSTANCE,
    NOWHERE,
    RELEASE,
    SLOT,
    activator_name,
    base,
    environment_labels,
    is_slots_own,
    slot_labels,
    slot_name,
    slot_ref,
)
from pipeline.adapters.kubernetes.pods.problems import pod_problem
from pipeline.adapters.kubernetes.pods.state import (
    app_spec,
    is_finished,
    is_ready,
    is_terminating,
    last_termination,
    restarts,
)
from pipeline.adapters.kubernetes.readiness import ReadinessWait
from pipeline.adapters.kubernetes.workload.process_objects import (
    ProcessManifests,
    find_sets,
    scale_down,
    workloads_of,
)
from pipeline.adapters.tar_stream import END
from pipeline.domain.engine_types import Replica, SlotRef, SlotSpec, Written
from pipeline.domain.environment import SLOTS
from pipeline.errors import EngineFailed
from pipeline.ports.builder import Emit
from pipeline.ports.clock import Watch

KINDS = ("Ingress", "Service", "Deployment", "PodDisruptionBudget", "Pod", "ConfigMap", "Secret")


class KubeSlots(KubeSharing):
    """See ``ports.Slots`` for what each method promises."""

    def prepare(self, ref: SlotRef, hosts: tuple[str, ...], *, routes: bool = True) -> None:
        # `switch` routes the hosts here.
        if not routes or self._owned.get("Service", base(ref), ref):
            return
        # Any object in the way is reported before anything is created.
        for slot in SLOTS:
            for kind in ("Deployment", "Service"):
                self._owned.get(kind, f"{base(ref)}-{slot}", ref)
        if hosts:
            self._owned.get("Ingress", base(ref), ref)
        self._owned.create(self._manifests.public(ref, NOWHERE), ref)

    def fits(self, spec: SlotSpec) -> None:
        current = self._owned.get_if_owned("Deployment", slot_name(spec.ref), spec.ref)
        manifests, name = self._permitted, base(spec.ref)
        wanted = manifests.deployment(spec)
        capacity.check_fits(self._api, name, spec.ref.slot, wanted, current)
        beside = ProcessManifests(manifests, self._instance).workloads(spec).values()
        if beside:  # those of the release before end first
            refs = (replace(spec.ref, slot=slot) for slot in SLOTS)
            ends = [one for ref in refs for one in workloads_of(self._api, self._instance, ref)]
            part = f"{spec.ref.slot} with its processes"
            capacity.check_quotas(self._api, name, part, [wanted, *beside], [current, *ends])

    def start(self, spec: SlotSpec, watch: Watch) -> None:
        watch.check()
        service = self._owned.get("Service", base(spec.ref), spec.ref)
        if service is None and spec.web:
            raise EngineFailed(
                f"The environment {base(spec.ref)} was not prepared: it has no Service.",
                advice="Deploy again.",
            )
        if selected_slot(service) != spec.ref.slot:
            self._clean_idle_slot(spec)
        self._fill(spec, exactly=True)

    def _clean_idle_slot(self, spec: SlotSpec) -> None:
        """Reverts drift in an idle slot, and deletes pods that failed in it: the cluster waits longer and longer
        before it restarts them."""
        found = self._owned.get("Deployment", slot_name(spec.ref), spec.ref)
        if found and diff.other_managers(found):
            self._provide(spec)
            wanted = self._as_made(spec, found)
            if self._spec_of(found) != self._manifests.spec_hash(spec):
                wanted["spec"]["replicas"] = 0
            self._owned.restore(wanted, dry_run=False, whole=True)
        for pod in self._all_pods(spec.ref):
            failed = is_finished(pod) or (pod_problem(pod) and not is_ready(pod))
            if failed and not is_terminating(pod):
                self._api.delete("Pod", pod["metadata"]["name"])

    def _fill(self, spec: SlotSpec, exactly: bool) -> bool:
        """Makes the slot's Deployment match the spec; True if it changed anything. Unless ``exactly``, a number of
        replicas other than 0 that was set by hand is kept."""
        found = self._owned.get("Deployment", slot_name(spec.ref), spec.ref)
        if found and self._matches(found, spec, exactly):
            return self._sources.restore(spec)
        other = found is not None and self._spec_of(found) != self._manifests.spec_hash(spec)
        if other and self._pods(spec.ref):
            self._refuse_serving(spec.ref, "given another release")
        if not spec.remote:
            raise EngineFailed(
                f"r{spec.release} was made before its pipeline had a `registry:`, so no cluster can pull its image.",
                advice=f"Deploy its commit again: `pushlive deploy {spec.ref.pipeline} --commit {spec.commit[:7]}`.",
            )
        self._provide(spec)
        if other:  # the old pods end at once: they take no traffic, and this makes room
            self._is_left(spec.ref)
            self._api.merge("Deployment", slot_name(spec.ref), {"spec": {"replicas": 0}})
        applied = self._api.apply(self._left_to_others(spec, self._permitted.deployment(spec)))
        if (
            _count(applied) < spec.replicas
        ):  # the number is left to others, who set none on what is new or stopped
            self._api.merge("Deployment", slot_name(spec.ref), {"spec": {"replicas": spec.replicas}})
        self._sources.sweep(spec, [*self._command_pods(spec.ref), *self._job_pods(spec.ref)])
        return True

    def _left_to_others(self, spec: SlotSpec, wanted: Manifest) -> Manifest:
        """The Deployment without the number of replicas, if others set it: what is not applied is not ours, so that
        nothing resets it."""
        if spec.config.service.autoscaled:
            del wanted["spec"]["replicas"]
        return wanted

    def _as_made(self, spec: SlotSpec, found: KubeObject | None) -> Manifest:
        """The Deployment as it should be. ``found``: the one that is there. If an earlier version made it, its pods are
        asked for their health without headers, and stay so: others would replace them."""
        wanted = self._left_to_others(spec, self._permitted.deployment(spec))
        if found and self._spec_of(found) == self._manifests.spec_hash(spec):
            there, ours = (one["spec"]["template"]["spec"]["containers"] for one in (found, wanted))
            if not any(
                "httpHeaders" in ((one.get("readinessProbe") or {}).get("httpGet") or {}) for one in there
            ):
                del ours[0]["readinessProbe"]["httpGet"]["httpHeaders"]
        return wanted

    def _matches(self, deployment: KubeObject, spec: SlotSpec, exactly: bool) -> bool:
        count = _count(deployment)
        enough = count == spec.replicas if exactly or not spec.web else count > 0
        if spec.config.service.autoscaled:
            enough = count >= spec.replicas
        return enough and self._spec_of(deployment) == self._manifests.spec_hash(spec)

    def ready(self, spec: SlotSpec, emit: Emit, watch: Watch) -> tuple[Replica, ...]:
        labels, spec_hash = slot_labels(self._instance, spec.ref), self._manifests.spec_hash(spec)
        ReadinessWait(self._api, self._clock, spec, labels, spec_hash).until_ready(emit, watch)
        return self.replicas(spec.ref)

    def scaled(self, ref: SlotRef) -> int:
        return _count(self._owned.get_if_owned("Deployment", slot_name(ref), ref))

    def replicas(self, ref: SlotRef) -> tuple[Replica, ...]:
        return tuple(self._replica(pod) for pod in self._pods(ref))

    def _replica(self, pod: KubeObject) -> Replica:
        status, name, end = pod.get("status", {}), pod["metadata"]["name"], last_termination(pod)
        address = status.get("podIP", "")
        port = next(iter(app_spec(pod["spec"]).get("ports") or [{}])).get("containerPort", 0)
        exited = is_finished(pod) or bool(not is_ready(pod) and pod_problem(pod) and end)
        return Replica(
            name=name,
            address=address,
            port=int(port),
            release=int(pod["metadata"]["labels"].get(RELEASE) or 0),
            state="exited" if exited else "running" if is_ready(pod) else "starting",
            exit_code=end.get("exitCode") if end else None,
            out_of_memory=bool(end and end.get("reason") == "OOMKilled"),
            reach=address if self._api.cluster.inside else name,
            restarts=restarts(pod),
        )

    def logs(self, ref: SlotRef, lines: int) -> tuple[str, ...]:
        pods = self._pods(ref)
        merged: list[tuple[str, str]] = []  # time and text
        for number, pod in enumerate(pods, 1):
            prefix = f"{number}: " if len(pods) > 1 else ""
            output = self._api.output(pod["metadata"]["name"], lines, times=True)
            merged += [(at, prefix + text) for at, _, text in (line.partition(" ") for line in output)]
        merged.sort(key=lambda pair: pair[0])
        return tuple(text for _, text in merged[-lines:])

    def written(self, ref: SlotRef) -> tuple[Written, ...]:  # noqa: ARG002
        return ()  # no API tells it

    def written_tar(self, ref: SlotRef, paths: tuple[str, ...]) -> Iterator[bytes]:  # noqa: ARG002
        yield END

    def stop_and_keep(self, ref: SlotRef) -> None:
        self.stop(ref)  # a cluster removes the pods with their output; the Deployment stays

    def stop(self, ref: SlotRef) -> None:
        self._refuse_serving(ref, "stopped")
        scale_down(self._api, self._instance, ref)
        # It stays with 0 replicas: it costs nothing, and a revert finds what it needs.
        if self._owned.get_if_owned("Deployment", slot_name(ref), ref):
            self._api.merge("Deployment", slot_name(ref), {"spec": {"replicas": 0}})
        self._owned.delete("Service", slot_name(ref), ref)
        self._owned.delete("Deployment", activator_name(ref), ref)
        self._wait_until(lambda: not self._pods(ref))  # all of them are being deleted
        for pod in self._all_pods(ref):
            if is_finished(pod) and not is_terminating(pod):
                self._api.delete("Pod", pod["metadata"]["name"])

    def remove(self, ref: SlotRef) -> str:
        refused: list[EngineFailed] = []
        parts = [
            partial(self._unshare_after, ref),
            partial(self._remove_commands, ref),
            partial(self._remove_sets, ref),
            *(partial(self._remove_kind, kind, ref) for kind in KINDS),
        ]
        for remove in parts:
            try:
                remove()
            except EngineFailed as error:
                refused.append(error)
        if refused:
            raise refused[0]
        return ""

    def _remove_commands(self, ref: SlotRef) -> None:
        pods = [*self._command_pods(ref), *self._job_pods(ref)]
        names = [pod["metadata"]["name"] for pod in pods]
        command_pod.remove(self._api, self._clock, names)

    def _remove_kind(self, kind: str, ref: SlotRef) -> None:
        for one in self._owned.all(kind, ref):
            self._api.delete(kind, one["metadata"]["name"])

    def _remove_sets(self, ref: SlotRef) -> None:
        for one in find_sets(self._api, environment_labels(self._instance, ref)):
            self._api.delete(one["kind"], one["metadata"]["name"])

    def slots(self) -> Iterable[SlotRef]:
        found = self._api.find("Deployment", {INSTANCE: self._instance})
        labels = (one["metadata"]["labels"] for one in filter(is_slots_own, found))
        return sorted({slot_ref(one, self._key) for one in labels}, key=str)

    def environments(self) -> Iterable[SlotRef]:
        found = (one for kind in KINDS for one in self._api.find(kind, {INSTANCE: self._instance}))
        labels = (
            one["metadata"]["labels"] for one in found if one["kind"] != "Pod" or not is_terminating(one)
        )
        refs = (slot_ref({**one, SLOT: SLOTS[0]}, self._key) for one in labels if ENVIRONMENT in one)
        return tuple({(ref.pipeline, ref.environment): ref for ref in sorted(refs, key=str)}.values())


def _count(deployment: KubeObject | None) -> int:
    """The number of replicas that a Deployment is set to, 0 without one."""
    return int(deployment["spec"].get("replicas") or 0) if deployment else 0
