"""The ConfigMaps and Secrets that a slot's pods take their variables and their image from. Their names contain a hash
of their content, so that a revert finds those of its release."""

from __future__ import annotations

from collections.abc import Iterable

from pipeline.adapters.kubernetes.api.kube_api import KubeApi
from pipeline.adapters.kubernetes.api.objects import KubeObject, Manifest
from pipeline.adapters.kubernetes.manifests import Manifests, has_secrets, plain_env
from pipeline.adapters.kubernetes.names import base
from pipeline.adapters.kubernetes.ownership import OwnedObjects
from pipeline.domain.engine_types import SlotSpec
from pipeline.domain.environment import SLOTS
from pipeline.errors import ConfigError, EngineFailed


class EnvSources:
    """Those of one installation's environments in one namespace."""

    def __init__(self, api: KubeApi, owned: OwnedObjects, manifests: Manifests) -> None:
        self._api, self._owned, self._manifests = api, owned, manifests

    def create(self, spec: SlotSpec) -> None:
        """Creates the missing ones. Raises what ``spec.reveal`` and ``spec.login`` raise. Idempotent."""
        if plain_env(spec):
            self._owned.create(self._manifests.config_map(spec), spec.ref)
        if has_secrets(spec):
            self._create_secret(spec)
        if login := spec.login():
            self._owned.apply(self._manifests.pull_secret(spec, login.username, login.password), spec.ref)

    def _create_secret(self, spec: SlotSpec) -> None:
        """Its name is made of the secrets' versions. After a restore of the store, or with another store, a version may
        have another value, and a reference may since it was filled in last: then the Secret is replaced."""
        wanted = self._manifests.secret(spec, spec.reveal())
        name = wanted["metadata"]["name"]
        current = self._owned.get("Secret", name, spec.ref)
        if current and current.get("data") != wanted["data"]:
            self._api.delete("Secret", name)
        self._owned.create(wanted, spec.ref)

    def restore(self, spec: SlotSpec) -> bool:
        """Creates those that were deleted by hand, and renews the registry's login: without them the slot's pods could
        not restart, or not on another node. True if any was missing or outdated."""
        needed = _references(self._manifests.deployment(spec)["spec"]["template"]["spec"])
        if all(self._api.get(kind, name) for kind, name in needed):
            return self._renew_login(spec)
        self.create(spec)
        return True

    def has_old_login(self, spec: SlotSpec) -> bool:
        """True if the nodes' login for the registry is not the newest one."""
        return self._outdated(spec) is not None

    def _renew_login(self, spec: SlotSpec) -> bool:
        wanted = self._outdated(spec)
        if wanted:
            self._owned.apply(wanted, spec.ref)
        return wanted is not None

    def _outdated(self, spec: SlotSpec) -> Manifest | None:
        """The Secret with the registry's login as it should be; None if it is so. A login that cannot be read concerns
        the next release: what runs has one."""
        try:
            login = spec.login()
        except (ConfigError, EngineFailed):
            return None
        if login is None:
            return None
        wanted = self._manifests.pull_secret(spec, login.username, login.password)
        found = self._owned.get_if_owned("Secret", wanted["metadata"]["name"], spec.ref)
        return None if found and found.get("data") == wanted["data"] else wanted

    def sweep(self, spec: SlotSpec, command_pods: Iterable[KubeObject]) -> None:
        """Deletes those that neither slot and none of these pods refers to any more."""
        used = _references(self._manifests.deployment(spec)["spec"]["template"]["spec"])
        for slot in SLOTS:
            deployment = self._api.get("Deployment", f"{base(spec.ref)}-{slot}")
            used |= _references(deployment["spec"]["template"]["spec"]) if deployment else set()
        for pod in command_pods:
            used |= _references(pod["spec"])
        for kind in ("ConfigMap", "Secret"):
            for one in self._owned.all(kind, spec.ref):
                if (kind, one["metadata"]["name"]) not in used:
                    self._api.delete(kind, one["metadata"]["name"])


def _references(pod_spec: KubeObject) -> set[tuple[str, str]]:
    """The ConfigMaps and Secrets that a pod's spec refers to, as kind and name."""
    found = {("Secret", str(one["name"])) for one in pod_spec.get("imagePullSecrets") or ()}
    kinds = {"configMapRef": "ConfigMap", "secretRef": "Secret"}
    for container in pod_spec["containers"]:
        for source in container.get("envFrom") or ():
            found |= {(kinds[key], str(one["name"])) for key, one in source.items() if key in kinds}
    return found
