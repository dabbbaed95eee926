"""Two slots of an environment share its visitors, by an HTTPRoute that people have made."""

from __future__ import annotations

from contextlib import suppress

from pipeline.adapters.kubernetes.engine_base import EngineBase
from pipeline.adapters.kubernetes.gateway.http_routes import HttpRoutes
from pipeline.adapters.kubernetes.gateway.weights import Backends, backends_of
from pipeline.adapters.kubernetes.names import HTTP_ROUTE, SPEC, base, slot_name
from pipeline.domain.engine_types import Share, SlotRef, SlotSpec
from pipeline.errors import EngineFailed, RequestError, TryAgain


class KubeSharing(EngineBase):
    """See ``ports.Traffic`` for what each method promises."""

    def can_share(self, ref: SlotRef, route: str, percent: float) -> None:
        self._routes.check(route, self._backends(ref), Share(ref.slot, percent))

    def share(self, spec: SlotSpec, percent: float, route: str = "") -> None:
        ref = spec.ref
        if not self._is_exposed(spec):
            raise RequestError(
                f"{base(ref)}: the Service {slot_name(ref)} does not select the pods of r{spec.release}.",
                advice="Start and expose the slot before it gets a part of the visitors.",
            )
        if self.serving(ref) in (None, ref.slot):
            raise RequestError(
                f"{base(ref)}: there is no other release to share the traffic with {ref.slot}.",
                advice="Switch to the other slot first.",
            )
        if not route:
            raise EngineFailed(
                f"{base(ref)}: a Service cannot divide the traffic between two releases.",
                advice="Name an HTTPRoute that can: `shift: {steps: […], route: NAME}` in pipelines.yaml.",
            )
        # First, so that a share is found whatever dies after it was given.
        self._mark_route(ref, f"{route}/{ref.slot}")
        self._routes.divide(route, self._backends(ref), Share(ref.slot, percent))

    def unshare(self, ref: SlotRef) -> None:
        route, slot = self._marked_route(ref)
        if route:
            self._routes.restore(route, self._backends(ref))
        if slot:
            self._mark_route(ref, route)

    def shared(self, ref: SlotRef) -> Share | None:
        route, slot = self._marked_route(ref)
        if not route:
            return None
        try:
            found = self._routes.shared(route, self._backends(ref))
        except EngineFailed:
            if slot:
                raise
            return None  # this account may no longer read it, and has given no share that has to end
        return found or (Share(slot, 0.0) if slot else None)

    def _unshare_after(self, ref: SlotRef) -> None:
        """Once all traffic goes to one slot or to none. If it fails, reconciliation ends the share."""
        with suppress(TryAgain, EngineFailed):
            self.unshare(ref)

    def _backends(self, ref: SlotRef) -> Backends:
        return backends_of(self._api.namespace, base(ref))

    @property
    def _routes(self) -> HttpRoutes:
        return HttpRoutes(self._api, self._clock)

    def _mark_route(self, ref: SlotRef, mark: str) -> None:
        if "/".join(filter(None, self._marked_route(ref))) != mark:
            self._api.merge("Service", base(ref), {"metadata": {"annotations": {HTTP_ROUTE: mark}}})

    def _is_exposed(self, spec: SlotSpec) -> bool:
        found = self._api.get("Service", slot_name(spec.ref))
        labels = (found or {}).get("spec", {}).get("selector") or {}
        return bool(labels.get(SPEC) == self._manifests.spec_hash(spec))
