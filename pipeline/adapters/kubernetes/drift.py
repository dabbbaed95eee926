"""What differs between a slot on a cluster and its spec, and how it is brought back."""

from __future__ import annotations

from pipeline.adapters.kubernetes import diff
from pipeline.adapters.kubernetes.api.objects import Manifest
from pipeline.adapters.kubernetes.manifests import selected_label
from pipeline.adapters.kubernetes.names import base, slot_name
from pipeline.adapters.kubernetes.parity import seen
from pipeline.adapters.kubernetes.pods.problems import deployment_problem
from pipeline.adapters.kubernetes.pods.state import is_ready
from pipeline.adapters.kubernetes.slots import KubeSlots
from pipeline.adapters.kubernetes.traffic import KubeTraffic
from pipeline.adapters.kubernetes.workload.claim_problems import ClaimProblems
from pipeline.config.parity.properties import TLS, VERSION, Value, plain
from pipeline.domain.engine_types import SlotSpec
from pipeline.domain.parity.by_hand import ByHand
from pipeline.domain.parity.seen import Seen
from pipeline.errors import AppFailed


class KubeDrift(KubeSlots, KubeTraffic):
    """See ``ports.Drift`` for what each method promises."""

    def missing(self, spec: SlotSpec) -> tuple[str, ...]:
        name = slot_name(spec.ref)
        found = self._api.get("Deployment", name)
        if found is None:
            return (f"the Deployment {name} is missing",)
        if self._spec_of(found) != self._manifests.spec_hash(spec):
            return (f"the Deployment {name} has another release or configuration",)
        if not spec.web:
            return ()
        if not found["spec"].get("replicas"):
            return (f"the Deployment {name} was scaled to 0",)
        texts = []
        if not self._is_exposed(spec):
            texts.append(f"its preview Service {name} does not select its pods")
        if self._hosts_missing(spec):
            texts.append(f"the Ingress {base(spec.ref)} does not route its host names")
        if self._budget_blocks(spec):
            texts.append(
                f"the PodDisruptionBudget {name} keeps nodes from being drained of pods that are not ready"
            )
        if self._sources.has_old_login(spec):
            texts.append("the nodes' login for the registry is not the newest")
        return tuple(texts)

    def obstacles(self, spec: SlotSpec) -> tuple[str, ...]:
        deployment = self._api.get("Deployment", slot_name(spec.ref))
        problem = deployment_problem(deployment) if deployment else None
        texts = [problem.text] if problem else []
        unready = [pod for pod in self._pods(spec.ref) if not is_ready(pod)]
        # What the application itself does is said by its health.
        problems = map(ClaimProblems(self._api, self._clock).of, unready)
        found = [one for one in problems if one and not issubclass(one.kind, AppFailed)]
        texts += [f"{one.subject}: {one.text}" for one in found]
        return tuple(texts)

    def restore(self, spec: SlotSpec) -> bool:
        acted = self._fill(spec, exactly=False)
        if not spec.web:
            return acted
        if not self._is_exposed(spec):
            self.expose(spec)
            acted = True
        if self._hosts_missing(spec):
            self._apply_ingress(spec)
            acted = True
        if self._budget_blocks(spec):
            self._owned.apply(self._manifests.disruption(spec), spec.ref)
            acted = True
        return acted

    def drift(self, spec: SlotSpec) -> tuple[ByHand, ...]:
        lines: list[ByHand] = []
        for manifest in self._slot_manifests(spec):
            if before_and_after := self._owned.restore(manifest, dry_run=True):
                lines += diff.changes(*before_and_after)
        return tuple(lines)

    def revert_drift(self, spec: SlotSpec) -> None:
        for manifest in self._slot_manifests(spec):
            if self._owned.get(manifest["kind"], manifest["metadata"]["name"], spec.ref):
                self._owned.restore(manifest, dry_run=False)
                self._api.apply(manifest)  # our field manager owns each field again

    def seen(self, spec: SlotSpec) -> Seen:
        version = self._api.request_json("GET", "/version", "reading the cluster's version")
        around = {VERSION: plain(f"Kubernetes {version.get('gitVersion', '')}".strip())}
        ingress = self._api.get("Ingress", base(spec.ref)) if spec.web else None
        if spec.web:
            around[TLS] = seen.tls(ingress, spec)
        found = self._owned.get_if_owned("Deployment", slot_name(spec.ref), spec.ref)
        if found is None or self._spec_of(found) != self._manifests.spec_hash(spec):
            return Seen({}, around)
        # As the cluster would have it: with its defaults, so that they are no differences.
        both = self._owned.restore(self._as_made(spec, found), dry_run=True)
        if both is None:
            return Seen({}, around)
        inside: dict[str, Value | None] = seen.inside(spec, *both)
        return Seen(inside | (seen.hosts(ingress, spec.hosts) if spec.web else {}), around)

    def _slot_manifests(self, spec: SlotSpec) -> list[Manifest]:
        """Every object of the slot that can be changed by hand; while it serves, the public Service and the Ingress,
        too."""
        found = self._api.get("Deployment", slot_name(spec.ref))
        manifests = [self._as_made(spec, found), self._manifests.preview(spec)]
        if self.serving(spec.ref) == spec.ref.slot:
            options, where = spec.config.service.kubernetes, spec.config.engine
            selected = selected_label(self._api.get("Service", base(spec.ref)))
            manifests.append(self._manifests.public(spec.ref, selected, options.service))
            if spec.hosts:
                manifests.append(
                    self._manifests.ingress(spec.ref, spec.hosts, where.ingress, options.ingress)
                )
        if self._has_budget(spec):
            manifests.append(self._manifests.disruption(spec))
        return manifests
