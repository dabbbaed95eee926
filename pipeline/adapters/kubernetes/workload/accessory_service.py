"""The Service of an accessory: its address is what pods know, so it stays whatever becomes of the Service."""

from __future__ import annotations

from pipeline.adapters.kubernetes.api.client import status_of
from pipeline.adapters.kubernetes.api.objects import KubeObject
from pipeline.adapters.kubernetes.engine_base import EngineBase
from pipeline.adapters.kubernetes.names import ADDRESS, SPEC
from pipeline.adapters.kubernetes.workload.accessory_objects import (
    AccessoryManifests,
    accessory_name,
    addresses_of,
    former_ids,
    is_accessory,
)
from pipeline.domain.accessories import AccessoryRef, AccessorySpec
from pipeline.errors import ConfigError, EngineFailed
from pipeline.lib.retry import poll

SET = "StatefulSet"
FREED_WITHIN = 2.0  # seconds in which the cluster gives back the address of a Service that was deleted
TAKEN = 422  # the API's answer to an address that something else has


class AccessoryServices(EngineBase):
    """For those that make accessories: the Service, and how their objects are found."""

    @property
    def _accessory_manifests(self) -> AccessoryManifests:
        return AccessoryManifests(self._instance, self._api.namespace)

    def accessory_hash(self, spec: AccessorySpec) -> str:
        return self._accessory_manifests.spec_hash(spec)

    def _keep_service(self, spec: AccessorySpec, found: KubeObject | None) -> tuple[str, bool]:
        """Its address, and whether it had to be made. One that is made again has the address that pods know, unless
        something else has it by now."""
        name, manifests = accessory_name(self._instance, spec.ref), self._accessory_manifests
        service, acted = self._own("Service", name, spec.ref), False
        wanted = manifests.service(spec)
        if service is None:
            before = _noted_address(found) or self._given_up(spec)
            self._create_service(manifests.service(spec, before), wanted)
            service, acted = self._own("Service", name, spec.ref), True
        elif not set(spec.formerly) <= set(former_ids(service)) or (
            _ports(service) != _ports(wanted)
            and (found is None or found["metadata"]["labels"].get(SPEC) == self.accessory_hash(spec))
        ):
            self._api.apply(wanted)
            acted = True
        address = next(iter(addresses_of(service)), "")
        if not address:
            raise EngineFailed(
                f"the Service {name} has no address.",
                advice=f"Delete it (`kubectl -n {self._api.namespace} delete service {name}`): it is made again.",
            )
        return address, acted

    def _given_up(self, spec: AccessorySpec) -> str:
        """The address of the one whose data and place it takes: what runs knows it. A Service that has it goes."""
        if not spec.moved_from:
            return ""
        name, _, environment = spec.moved_from.partition("/")
        old = AccessoryRef(name, environment, spec.ref.engine)
        service, found = self._own("Service", accessory_name(self._instance, old), old), self._set(old)
        if service:
            self._api.delete("Service", service["metadata"]["name"])
        return next(iter(addresses_of(service)), "") or _noted_address(found)

    def _create_service(self, with_address: KubeObject, wanted: KubeObject) -> None:
        # The address of a Service that was deleted a moment ago may not be free yet.
        created = poll(lambda: self._has_created(with_address), 0.2, self._clock, timeout=FREED_WITHIN)
        if not created:
            self._api.create(wanted)

    def _has_created(self, manifest: KubeObject) -> bool:
        """False if something else has its address."""
        try:
            self._api.create(manifest)
        except EngineFailed as error:
            if status_of(error) != TAKEN:
                raise
            return False
        return True

    def _set(self, ref: AccessoryRef) -> KubeObject | None:
        return self._own(SET, accessory_name(self._instance, ref), ref)

    def _accessory_pod(self, ref: AccessoryRef) -> KubeObject | None:
        """Also one that is ending."""
        return self._own("Pod", f"{accessory_name(self._instance, ref)}-0", ref)

    def _own(self, kind: str, name: str, ref: AccessoryRef) -> KubeObject | None:
        """Raises ConfigError if another object has its name."""
        found = self._api.get(kind, name)
        if found and not is_accessory(found, self._instance, ref):
            namespace = self._api.namespace
            raise ConfigError(
                f"{kind} {name} exists in the namespace {namespace}, and it is not that of the accessory {ref.id}; it "
                "was left alone.",
                advice=f"Look at it (`kubectl -n {namespace} describe {kind.lower()} {name}`), and rename it, or the "
                "accessory in pipelines.yaml.",
            )
        return found


def _noted_address(found: KubeObject | None) -> str:
    """That of its Service, as its StatefulSet remembers it."""
    return str(((found or {}).get("metadata", {}).get("annotations") or {}).get(ADDRESS, ""))


def _ports(service: KubeObject) -> set[int]:
    return {int(one["port"]) for one in service["spec"].get("ports") or ()}
