"""The Engine on a Kubernetes cluster: a Deployment for each slot, a Service whose selector is the switch. Implements
ports.Engine.

What the cluster does by itself is left to it: it starts crashed containers again, moves pods between nodes, and takes
what is not ready out of a Service. This engine only says what is wanted, and which slot takes the traffic.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress

from pipeline.adapters.kubernetes import capacity, diff
from pipeline.adapters.kubernetes import command as command_module
from pipeline.adapters.kubernetes import names as names_module
from pipeline.adapters.kubernetes.api import Found, KubeApi
from pipeline.adapters.kubernetes.env_sources import Sources
from pipeline.adapters.kubernetes.manifests import Maker, Manifest, selected
from pipeline.adapters.kubernetes.names import (
    COMMAND,
    DETACHED,
    INSTANCE,
    NOWHERE,
    RELEASE,
    RESULT,
    RUN,
    SPEC,
    base,
    command_name,
    slot_labels,
    slot_name,
)
from pipeline.adapters.kubernetes.ownership import Owned
from pipeline.adapters.kubernetes.pod_problems import (
    is_going,
    is_over,
    is_ready,
    last_end,
    of_deployment,
    of_pod,
)
from pipeline.adapters.kubernetes.probe import endpoints, proxy_path, set_of
from pipeline.adapters.kubernetes.readiness import Waiting
from pipeline.domain.engine_types import CommandResult, Replica, Route, SlotRef, SlotSpec
from pipeline.domain.environment import SLOTS, Slot
from pipeline.errors import EngineFailed, RequestError, TryAgain
from pipeline.lib.retry import poll
from pipeline.lib.units import bracketed
from pipeline.ports.builder import Emit
from pipeline.ports.clock import Clock, Watch

SETTLE = 5.0  # seconds in which the cluster's controllers follow: a Service's endpoints, pods that are to end
LOOK = 0.02  # seconds between two looks at that
KINDS = ("Ingress", "Service", "Deployment", "PodDisruptionBudget", "Pod", "ConfigMap", "Secret")


class KubeEngine:
    """See ``ports.Engine`` for every method's promise. ``key``: which engine this is (``Where.key``)."""

    def __init__(self, api: KubeApi, instance: str, key: str, clock: Clock) -> None:
        self._api, self._instance, self._key, self._clock = api, instance, key, clock
        self._own = Owned(api, instance)

    @property
    def _make(self) -> Maker:
        return Maker(self._instance, self._api.namespace)

    @property
    def _sources(self) -> Sources:
        return Sources(self._api, self._own, self._make)

    # --- before

    def prepare(self, ref: SlotRef, hosts: tuple[str, ...]) -> None:  # `switch` leads them here
        if self._own.get("Service", base(ref), ref):
            return
        # Whatever stands in the way is said before anything is made.
        for slot in SLOTS:
            for kind in ("Deployment", "Service"):
                self._own.get(kind, f"{base(ref)}-{slot}", ref)
        if hosts:
            self._own.get("Ingress", base(ref), ref)
        self._own.make(self._make.public(ref, NOWHERE), ref)

    def fits(self, spec: SlotSpec) -> None:
        held = self._own.mine("Deployment", slot_name(spec.ref), spec.ref)
        capacity.insist(self._api, spec.ref, self._make.deployment(spec), held)

    # --- the slot

    def start(self, spec: SlotSpec, watch: Watch) -> None:
        watch.check()
        service = self._own.get("Service", base(spec.ref), spec.ref)
        if service is None:
            raise EngineFailed(
                f"{base(spec.ref)} was not prepared: it has no Service.", advice="Deploy again."
            )
        if selected(service) != spec.ref.slot:
            self._clear_the_way(spec)
        self._fill(spec, exactly=True)

    def _clear_the_way(self, spec: SlotSpec) -> None:
        """An idle slot is taken over from whoever changed it by hand, and what failed in it is tried anew at once:
        the cluster itself would wait longer and longer."""
        found = self._own.get("Deployment", slot_name(spec.ref), spec.ref)
        if found and diff.others(found):
            self._sources.provide(spec)
            wanted = self._make.deployment(spec)
            if self._spec_of(found) != self._make.spec_hash(spec):
                wanted["spec"]["replicas"] = 0
            self._own.restore(wanted, dry=False)
        for pod in self._pods(spec.ref):
            if of_pod(pod) and not is_ready(pod):
                self._api.delete("Pod", pod["metadata"]["name"])
        self._sweep_ended(spec.ref)

    def _fill(self, spec: SlotSpec, exactly: bool) -> bool:
        """Makes the slot's Deployment what the spec says; True if it acted. Where not ``exactly``, another number of
        replicas than the spec's, that somebody chose by hand, is left."""
        found = self._own.get("Deployment", slot_name(spec.ref), spec.ref)
        if found and self._holds(found, spec, exactly):
            return self._sources.restore(spec)
        other = found is not None and self._spec_of(found) != self._make.spec_hash(spec)
        if other and self._pods(spec.ref):
            self._refuse_serving(spec.ref, "filled anew")
        if not spec.remote:
            raise EngineFailed(
                f"r{spec.release} was made before its pipeline had a `registry:`: no cluster can pull its image.",
                advice=f"Deploy its commit again: `pushlive deploy {spec.ref.pipeline} --commit {spec.commit[:7]}`.",
            )
        self._sources.provide(spec)
        if other:  # out with the old at once: it makes room, and takes no traffic
            self._api.merge("Deployment", slot_name(spec.ref), {"spec": {"replicas": 0}})
        self._api.apply(self._make.deployment(spec))
        self._sources.sweep(spec, self._commands(spec.ref))
        return True

    def _holds(self, found: Found, spec: SlotSpec, exactly: bool) -> bool:
        has = int(found["spec"].get("replicas") or 0)
        enough = has == spec.config.service.replicas if exactly else has > 0
        return enough and self._spec_of(found) == self._make.spec_hash(spec)

    def _spec_of(self, deployment: Found) -> str:
        return str(deployment["spec"]["template"]["metadata"]["labels"].get(SPEC))

    def ready(self, spec: SlotSpec, emit: Emit, watch: Watch) -> tuple[Replica, ...]:
        labels, spec_hash = slot_labels(self._instance, spec.ref), self._make.spec_hash(spec)
        Waiting(self._api, self._clock, spec, labels, spec_hash).until_ready(emit, watch)
        return self.replicas(spec.ref)

    def replicas(self, ref: SlotRef) -> tuple[Replica, ...]:
        return tuple(self._replica(pod) for pod in self._pods(ref))

    def _replica(self, pod: Found) -> Replica:
        status, end = pod.get("status", {}), last_end(pod)
        inside = self._api.cluster.inside
        port = next(iter(pod["spec"]["containers"][0].get("ports") or [{}])).get("containerPort", 0)
        state = "running" if is_ready(pod) else "starting"
        if status.get("phase") in ("Failed", "Succeeded") or (not is_ready(pod) and of_pod(pod) and end):
            state = "exited"
        return Replica(
            name=pod["metadata"]["name"],
            address=status.get("podIP", ""),
            port=int(port),
            release=int(pod["metadata"]["labels"].get(RELEASE) or 0),
            state=state,
            exit_code=end.get("exitCode") if end and state == "exited" else None,
            out_of_memory=bool(end and end.get("reason") == "OOMKilled" and state == "exited"),
            reach=status.get("podIP", "") if inside else pod["metadata"]["name"],
        )

    def missing(self, spec: SlotSpec) -> tuple[str, ...]:
        name = slot_name(spec.ref)
        found = self._api.get("Deployment", name)
        if found is None:
            return (f"the Deployment {name} is missing",)
        if self._spec_of(found) != self._make.spec_hash(spec):
            return (f"the Deployment {name} was made otherwise",)
        if not found["spec"].get("replicas"):
            return (f"the Deployment {name} was scaled to nothing",)
        problems = [t.text for t in (of_deployment(found),) if t]
        late = [pod for pod in self._pods(spec.ref) if not is_ready(pod)]
        problems += [f"{t.subject}: {t.text}" for t in map(of_pod, late) if t]
        if not self._exposed(spec):
            problems.append(f"its preview Service {name} does not know its pods")
        if self._hosts_astray(spec):
            problems.append(f"the Ingress {base(spec.ref)} does not lead its host names here")
        return tuple(problems)

    def restore(self, spec: SlotSpec) -> bool:
        acted = self._fill(spec, exactly=False)
        if not self._exposed(spec):
            self.expose(spec)
            acted = True
        if self._hosts_astray(spec):
            self._lead_hosts(spec)
            acted = True
        return acted

    def drift(self, spec: SlotSpec) -> tuple[str, ...]:
        lines: list[str] = []
        for manifest in self._manifests(spec):
            if both := self._own.restore(manifest, dry=True):
                lines += diff.changes(*both)
        return tuple(lines)

    def revert_drift(self, spec: SlotSpec) -> None:
        for manifest in self._manifests(spec):
            if self._own.get(manifest["kind"], manifest["metadata"]["name"], spec.ref):
                self._own.restore(manifest, dry=False)
                self._api.apply(manifest)  # and it is ours again, field by field

    def _manifests(self, spec: SlotSpec) -> list[Manifest]:
        """All of the slot that somebody may have changed by hand, the public Service as it is to be while it serves."""
        made = [self._make.deployment(spec), self._make.preview(spec)]
        if self.serving(spec.ref) == spec.ref.slot:
            made.append(self._make.public(spec.ref, spec.ref.slot))
            if spec.config.hosts:
                made.append(self._make.ingress(spec.ref, spec.config.hosts, spec.config.engine.ingress))
        if spec.config.service.replicas > 1:
            made.append(self._make.disruption(spec))
        return made

    # --- traffic

    def expose(self, spec: SlotSpec) -> None:
        ref, config = spec.ref, spec.config
        self._own.put(self._make.preview(spec), ref)
        if config.service.replicas > 1:
            self._own.put(self._make.disruption(spec), ref)
        else:
            self._own.drop("PodDisruptionBudget", slot_name(ref), ref)

    def _exposed(self, spec: SlotSpec) -> bool:
        found = self._api.get("Service", slot_name(spec.ref))
        chosen = (found or {}).get("spec", {}).get("selector") or {}
        return bool(chosen.get(SPEC) == self._make.spec_hash(spec))

    def preview(self, spec: SlotSpec) -> Route:
        return self._route(slot_name(spec.ref), spec)

    def public(self, spec: SlotSpec) -> Route:
        return self._route(base(spec.ref), spec)

    def _route(self, service: str, spec: SlotSpec) -> Route:
        names, full = self._names(spec), f"{self._api.namespace}/{service}"
        if not self._api.cluster.inside:
            return Route(proxy_path(self._api, service), {}, names, full)
        found = self._api.get("Service", service) or {}
        # By its address, which needs no name server; by its name for the application.
        address = found.get("spec", {}).get("clusterIP") or f"{service}.{self._api.namespace}.svc"
        address = bracketed(address)
        headers = {"Host": f"{service}.{self._api.namespace}.svc"}
        return Route(f"http://{address}", headers, names, full)

    def _names(self, spec: SlotSpec) -> tuple[str, ...]:
        """What has to answer, as the Service's endpoints are told (``set_of``)."""
        wanted = self._make.spec_hash(spec)
        alike = [p for p in self._pods(spec.ref) if p["metadata"]["labels"].get(SPEC) == wanted]
        names = {set_of(pod["metadata"]["name"]) for pod in alike}
        return tuple(sorted(names)) or (
            f"a pod of {slot_name(spec.ref)}",
        )  # never empty: that would be anybody

    def switch(self, spec: SlotSpec) -> None:
        if not self._exposed(spec):
            raise RequestError(
                f"{base(spec.ref)}: the Service {slot_name(spec.ref)} does not know r{spec.release}.",
                advice="It has to be started, ready and exposed before traffic goes there.",
            )
        self._own.put(self._make.public(spec.ref, spec.ref.slot), spec.ref)
        with suppress(TryAgain):  # the traffic has moved; what is left is a courtesy
            self._settle(spec)
        self._lead_hosts(spec)

    def _lead_hosts(self, spec: SlotSpec) -> None:
        """The Ingress belongs to the environment: it is that of the release that serves, and of no other."""
        ref, config = spec.ref, spec.config
        if config.hosts:
            self._own.put(self._make.ingress(ref, config.hosts, config.engine.ingress), ref)
        else:
            self._own.drop("Ingress", base(ref), ref)

    def _hosts_astray(self, spec: SlotSpec) -> bool:
        """True where the slot serves and its host names lead elsewhere."""
        if self.serving(spec.ref) != spec.ref.slot:
            return False
        found = self._own.mine("Ingress", base(spec.ref), spec.ref)
        there = [rule.get("host", "") for rule in (found or {}).get("spec", {}).get("rules") or ()]
        return sorted(there) != sorted(spec.config.hosts)

    def _settle(self, spec: SlotSpec) -> None:
        """Waits, a bounded time, until the Service's endpoints are those of the slot: a selector is a wish."""
        ours = set(self._names(spec))

        def settled() -> bool:
            there = set(endpoints(self._api, base(spec.ref)))
            return bool(there) and there <= ours

        self._until(settled)

    def _until(self, done: Callable[[], bool]) -> None:
        """Gives the cluster's controllers a moment to do what they were told; a bounded one."""
        poll(done, LOOK, self._clock, timeout=SETTLE)

    def unroute(self, ref: SlotRef) -> None:
        if self._own.get("Service", base(ref), ref):
            self._api.apply(self._make.public(ref, NOWHERE))

    def serving(self, ref: SlotRef) -> Slot | None:
        return selected(self._api.get("Service", base(ref)))

    def open_sessions(self, ref: SlotRef) -> int:  # noqa: ARG002
        return 0  # a Service does not tell

    def drain(self, ref: SlotRef, limit: float, watch: Watch) -> int:  # noqa: ARG002
        self._refuse_serving(ref, "drained")
        watch.check()
        return 0  # whoever ends the pods gives them time to end their requests

    def detach(self, ref: SlotRef, mark: str) -> int:
        self._refuse_serving(ref, "detached")
        found = self._own.mine("Deployment", slot_name(ref), ref)
        if found is None or (found["metadata"].get("annotations") or {}).get(DETACHED) == mark:
            return 0
        pods = self._pods(ref)
        for pod in pods:
            # With its whole period to end in: nodes may not know of the switch yet, and of a shorter one the pre-stop
            # delay would take its part from requests in flight.
            self._api.delete("Pod", pod["metadata"]["name"])
        change = {"metadata": {"annotations": {DETACHED: mark}}}
        self._api.merge("Deployment", slot_name(ref), change)
        return len(pods)

    # --- after

    def stop(self, ref: SlotRef) -> None:
        self._refuse_serving(ref, "stopped")
        # Kept at zero: what a revert needs is there, and costs nothing.
        if self._own.mine("Deployment", slot_name(ref), ref):
            self._api.merge("Deployment", slot_name(ref), {"spec": {"replicas": 0}})
        self._own.drop("Service", slot_name(ref), ref)
        self._until(lambda: not self._pods(ref))  # all of them were told to end
        self._sweep_ended(ref)

    def _refuse_serving(self, ref: SlotRef, what: str) -> None:
        if self.serving(ref) == ref.slot:
            raise RequestError(
                f"{base(ref)}: {ref.slot} takes the traffic, it cannot be {what}.",
                advice="Switch to the other slot first.",
            )

    def command(
        self,
        spec: SlotSpec,
        name: str,
        argv: tuple[str, ...],
        env: dict[str, str],
        emit: Emit,
        watch: Watch,
    ) -> CommandResult:
        def made() -> Manifest:
            self._sources.provide(spec)
            return self._make.command(spec, name, argv, env)

        full = command_name(spec, name)
        return command_module.run(self._api, self._clock, full, made, emit, watch)

    def forget_command(self, spec: SlotSpec, name: str) -> None:
        command_module.forget(self._api, self._clock, [command_name(spec, name)])

    def command_runs(self, ref: SlotRef) -> frozenset[int]:
        return frozenset(int(pod["metadata"]["labels"][RUN]) for pod in self._commands(ref))

    def forget_commands(self, ref: SlotRef, run: int) -> None:
        pods = [pod["metadata"] for pod in self._commands(ref)]
        names = [one["name"] for one in pods if one["labels"][RUN] == str(run)]
        command_module.forget(self._api, self._clock, names)

    def logs(self, ref: SlotRef, lines: int) -> tuple[str, ...]:
        pods = self._pods(ref)
        merged: list[tuple[str, str]] = []
        for number, pod in enumerate(pods, 1):
            prefix = f"{number}: " if len(pods) > 1 else ""
            output = self._api.output(pod["metadata"]["name"], lines, times=True)
            merged += [(at, prefix + text) for at, _, text in (line.partition(" ") for line in output)]
        merged.sort(key=lambda pair: pair[0])
        return tuple(text for _, text in merged[-lines:])

    def remove(self, ref: SlotRef) -> None:
        command_module.forget(
            self._api, self._clock, [pod["metadata"]["name"] for pod in self._commands(ref)]
        )
        for kind in KINDS:
            for one in self._own.all(kind, ref):
                self._api.delete(kind, one["metadata"]["name"])

    def slots(self) -> Iterable[SlotRef]:
        found = self._api.find("Deployment", {INSTANCE: self._instance})
        return sorted({names_module.slot_ref(one["metadata"]["labels"], self._key) for one in found}, key=str)

    # --- what is there

    def _pods(self, ref: SlotRef) -> list[Found]:
        """The slot's pods that are to stay, in the order of names. One that was evicted lies about for long, and
        another is there in its place."""
        found = self._api.find("Pod", slot_labels(self._instance, ref))
        staying = [pod for pod in found if not is_going(pod) and not is_over(pod)]
        return sorted(staying, key=lambda pod: pod["metadata"]["name"])

    def _sweep_ended(self, ref: SlotRef) -> None:
        for pod in self._api.find("Pod", slot_labels(self._instance, ref)):
            if is_over(pod) and not is_going(pod):
                self._api.delete("Pod", pod["metadata"]["name"])

    def _commands(self, ref: SlotRef) -> list[Found]:
        found = self._own.all("Pod", ref)
        return [pod for pod in found if COMMAND in pod["metadata"]["labels"] and not _let_go(pod)]


def _let_go(pod: Found) -> bool:
    """True for a pod that is as good as gone; one that was told to end may still hold what became of its command."""
    return is_going(pod) and RESULT not in (pod["metadata"].get("finalizers") or ())
