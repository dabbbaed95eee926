"""Traffic on a cluster: the selector of the public Service is the switch."""

from __future__ import annotations

from contextlib import suppress

from pipeline.adapters.kubernetes import diff
from pipeline.adapters.kubernetes.api.objects import KubeObject
from pipeline.adapters.kubernetes.gateway.sharing import KubeSharing
from pipeline.adapters.kubernetes.manifests import NO_HOST
from pipeline.adapters.kubernetes.names import (
    DETACHED,
    INSTANCE,
    NOWHERE,
    SLOT,
    SPEC,
    base,
    slot_name,
    slot_ref,
)
from pipeline.adapters.kubernetes.pods.events import last_probe_failure
from pipeline.adapters.kubernetes.pods.state import is_ready, ready_since, waiting_reason
from pipeline.adapters.kubernetes.probe import proxy_path, replica_set_of, serving_replica_sets
from pipeline.adapters.kubernetes.workload.routes import entries_of
from pipeline.domain.engine_types import Answered, ReplicaHealth, Route, SlotRef, SlotSpec
from pipeline.domain.environment import SLOTS
from pipeline.domain.judging.latency.times import Timed
from pipeline.domain.visitors.maintenance import Notice
from pipeline.errors import ConfigError, RequestError, TryAgain
from pipeline.lib.units import bracketed
from pipeline.ports.clock import Watch


class KubeTraffic(KubeSharing):
    """See ``ports.Traffic`` for what each method promises."""

    def expose(self, spec: SlotSpec) -> None:
        ref = spec.ref
        self._owned.apply(self._manifests.preview(spec), ref)
        if self._has_budget(spec):
            self._owned.apply(self._manifests.disruption(spec), ref)
        else:
            self._owned.delete("PodDisruptionBudget", slot_name(ref), ref)

    def _budget_blocks(self, spec: SlotSpec) -> bool:
        """True for the PodDisruptionBudget of an earlier version, as long as no one else has set this."""
        found = self._owned.get_if_owned("PodDisruptionBudget", slot_name(spec.ref), spec.ref)
        return found is not None and "unhealthyPodEvictionPolicy" not in found["spec"]

    def preview(self, spec: SlotSpec) -> Route:
        return self._route(slot_name(spec.ref), spec)

    def public(self, spec: SlotSpec) -> Route:
        return self._route(base(spec.ref), spec)

    def _route(self, service: str, spec: SlotSpec) -> Route:
        expected, full_name = self._replica_sets(spec), f"{self._api.namespace}/{service}"
        if not self._api.cluster.inside:
            return Route(proxy_path(self._api, service), spec.visitor_headers, expected, full_name)
        found = self._api.get("Service", service) or {}
        host = f"{service}.{self._api.namespace}.svc"
        # The request goes to the IP address, which needs no DNS.
        address = bracketed(found.get("spec", {}).get("clusterIP") or host)
        return Route(f"http://{address}", spec.visitor_headers, expected, full_name)

    def _replica_sets(self, spec: SlotSpec) -> tuple[str, ...]:
        """The ReplicaSets that must answer. Never empty, since that would accept any."""
        found = {replica_set_of(pod["metadata"]["name"]) for pod in self._pods_of(spec)}
        return tuple(sorted(found)) or (f"a pod of {slot_name(spec.ref)}",)

    def switch(self, spec: SlotSpec) -> None:
        if not self._is_exposed(spec):
            raise RequestError(
                f"{base(spec.ref)}: the Service {slot_name(spec.ref)} does not select the pods of r{spec.release}.",
                advice="Start and expose the slot before switching to it.",
            )
        options = spec.config.service.kubernetes.service
        self._owned.apply(self._manifests.public(spec.ref, spec.ref.slot, options), spec.ref)
        with suppress(TryAgain):  # the traffic has moved already
            self._settle(spec)
        self._apply_ingress(spec)
        self._unshare_after(spec.ref)

    def _settle(self, spec: SlotSpec) -> None:
        """Waits a limited time until the Service's endpoints follow its selector."""
        expected = set(self._replica_sets(spec))

        def settled() -> bool:
            serving = set(serving_replica_sets(self._api, base(spec.ref)))
            return bool(serving) and serving <= expected

        self._wait_until(settled)

    def _apply_ingress(self, spec: SlotSpec) -> None:
        """The environment has one Ingress: that of the release that serves. Without host names it is deleted, unless
        others set something in it, such as TLS: then it stays, and routes nothing."""
        ref, ingress_class = spec.ref, spec.config.engine.ingress
        if spec.hosts:
            options = spec.config.service.kubernetes.ingress
            self._owned.apply(self._manifests.ingress(ref, spec.hosts, ingress_class, options), ref)
            self._take_from_others(spec)
        elif self._keeps_ingress(ref):
            self._owned.apply(self._manifests.ingress(ref, (), ingress_class), ref)

    def _keeps_ingress(self, ref: SlotRef) -> bool:
        """True if there is an Ingress that has to stay without host names. One that is Pushlive's alone is deleted."""
        found = self._owned.get_if_owned("Ingress", base(ref), ref)
        if found and not diff.has_foreign_parts(found):
            self._api.delete("Ingress", base(ref))
            return False
        return found is not None

    def _take_from_others(self, spec: SlotSpec) -> None:
        """Of two Ingresses with one host name most controllers follow the older one: after a move, that of the
        environment which no longer has it."""
        for found in self._api.find("Ingress", {INSTANCE: self._instance}):
            other = slot_ref({SLOT: SLOTS[0], **found["metadata"]["labels"]}, self._key)
            if (other.pipeline, other.environment) == (spec.ref.pipeline, spec.ref.environment):
                continue
            has = entries_of(found)
            left = tuple(host for host in has if host not in spec.hosts)
            if left != has and (left or self._keeps_ingress(other)):
                # Its annotations and certificate are those of its own release.
                rules = self._manifests.ingress(other, left, "")["spec"]["rules"]
                self._api.merge("Ingress", base(other), {"spec": {"rules": rules}})

    def _hosts_missing(self, spec: SlotSpec) -> bool:
        """True if the slot serves, and the Ingress does not have exactly its host names."""
        if self.serving(spec.ref) != spec.ref.slot:
            return False
        found = self._owned.get_if_owned("Ingress", base(spec.ref), spec.ref)
        hosts = set(entries_of(found)) if found else set()
        return hosts - {NO_HOST} != set(spec.hosts)

    def unroute(self, ref: SlotRef) -> None:
        if self._owned.get("Service", base(ref), ref):
            # Its type stays: another one would give up the address of a load balancer.
            self._api.merge("Service", base(ref), {"spec": {"selector": {SLOT: NOWHERE}}})
            self._unshare_after(ref)

    def pause(self, ref: SlotRef, seconds: float) -> bool:  # noqa: ARG002 - an Ingress controller does not wait
        self.unroute(ref)
        return False

    def can_have_notice(self, ref: SlotRef) -> None:
        raise ConfigError(
            f"{base(ref)} cannot be put in maintenance: on Kubernetes the Ingress controller answers visitors.",
            advice="Lead them to a page of yours: for ingress-nginx annotate the Ingress "
            f"`kubectl annotate ingress {base(ref)} nginx.ingress.kubernetes.io/temporal-redirect=URL`; the same with "
            "`nginx.ingress.kubernetes.io/temporal-redirect-` ends it. Or let the application answer 503.",
        )

    def set_notice(self, ref: SlotRef, notice: Notice | None) -> None:
        if notice:
            self.can_have_notice(ref)

    def has_notice(self, ref: SlotRef, notice: Notice | None) -> bool:  # noqa: ARG002
        return notice is None

    def waited(self, ref: SlotRef) -> int:  # noqa: ARG002
        return 0

    def answered(self, ref: SlotRef) -> Answered | None:  # noqa: ARG002 - a Service counts nothing
        return None

    def sent(self, ref: SlotRef) -> int | None:  # noqa: ARG002 - nor any bytes
        return None

    def timed(self, ref: SlotRef) -> Timed | None:  # noqa: ARG002 - nor does it measure
        return None

    def renew_checks(self, spec: SlotSpec) -> None:
        """The pods have their readiness probes from the start."""

    def health(self, spec: SlotSpec) -> tuple[ReplicaHealth, ...]:
        if not self._is_exposed(spec):
            return ()
        return tuple(self._health(pod) for pod in self._pods_of(spec))

    def _health(self, pod: KubeObject) -> ReplicaHealth:
        name, since = pod["metadata"]["name"], ready_since(pod)
        if is_ready(pod):
            return ReplicaHealth(name, True, since)
        failure = last_probe_failure(self._api.events("Pod", name))
        return ReplicaHealth(name, False, since, failure.message if failure else waiting_reason(pod))

    def _pods_of(self, spec: SlotSpec) -> list[KubeObject]:
        wanted = self._manifests.spec_hash(spec)
        return [pod for pod in self._pods(spec.ref) if pod["metadata"]["labels"].get(SPEC) == wanted]

    def open_sessions(self, ref: SlotRef) -> int:  # noqa: ARG002
        return 0  # a Service does not count connections

    def drain(self, ref: SlotRef, limit: float, watch: Watch) -> int:  # noqa: ARG002
        self._refuse_serving(ref, "drained")
        watch.check()
        return 0  # pods get time to finish their requests when they are deleted

    def detach(self, ref: SlotRef, mark: str) -> int:
        self._refuse_serving(ref, "detached")
        found = self._owned.get_if_owned("Deployment", slot_name(ref), ref)
        if found is None or (found["metadata"].get("annotations") or {}).get(DETACHED) == mark:
            return 0
        if not self._is_left(ref):
            raise TryAgain(f"{slot_name(ref)}: the Service {base(ref)} still sends connections to its pods.")
        pods = self._pods(ref)
        for pod in pods:
            # With their full termination period: nodes may not have seen the switch yet, and with a shorter one the
            # pre-stop delay would take time from requests in flight.
            self._api.delete("Pod", pod["metadata"]["name"])
        self._api.merge("Deployment", slot_name(ref), {"metadata": {"annotations": {DETACHED: mark}}})
        return len(pods)
