"""What a slot's pods take their variables and their image from: ConfigMaps and Secrets under names that hold what is in
them, so that a revert finds those of its release."""

from __future__ import annotations

from collections.abc import Iterable

from pipeline.adapters.kubernetes.api import Found, KubeApi
from pipeline.adapters.kubernetes.manifests import Maker
from pipeline.adapters.kubernetes.names import base
from pipeline.adapters.kubernetes.ownership import Owned
from pipeline.domain.engine_types import SlotSpec
from pipeline.domain.environment import SLOTS


class Sources:
    """Those of one installation's environments in one namespace."""

    def __init__(self, api: KubeApi, own: Owned, make: Maker) -> None:
        self._api, self._own, self._make = api, own, make

    def provide(self, spec: SlotSpec) -> None:
        """Makes what is not there yet. Raises what ``spec.reveal`` and ``spec.login`` do. Twice."""
        if spec.config.service.env:
            self._own.make(self._make.config_map(spec), spec.ref)
        if spec.secrets:
            self._give_secrets(spec)
        if login := spec.login():
            self._own.put(self._make.pull_secret(spec, login.username, login.password), spec.ref)

    def _give_secrets(self, spec: SlotSpec) -> None:
        """Under a name made from versions; after a restore, or from another store, a version may be another value."""
        wanted = self._make.secret(spec, spec.reveal())
        there = self._own.get("Secret", wanted["metadata"]["name"], spec.ref)
        if there and there.get("data") != wanted["data"]:
            self._api.delete("Secret", wanted["metadata"]["name"])
        self._own.make(wanted, spec.ref)

    def restore(self, spec: SlotSpec) -> bool:
        """What pods that are there take their variables from may have been removed by hand: then they cannot start
        again. True if it acted."""
        wanted = _named(self._make.deployment(spec)["spec"]["template"]["spec"])
        if all(self._api.get(kind, name) for kind, name in wanted):
            return False
        self.provide(spec)
        return True

    def sweep(self, spec: SlotSpec, commands: Iterable[Found]) -> None:
        """Removes what neither slot and none of these pods takes anything from any more."""
        used = _named(self._make.deployment(spec)["spec"]["template"]["spec"])
        for slot in SLOTS:
            found = self._api.get("Deployment", f"{base(spec.ref)}-{slot}")
            used |= _named(found["spec"]["template"]["spec"]) if found else set()
        for pod in commands:
            used |= _named(pod["spec"])
        for kind in ("ConfigMap", "Secret"):
            for one in self._own.all(kind, spec.ref):
                if (kind, one["metadata"]["name"]) not in used:
                    self._api.delete(kind, one["metadata"]["name"])


def _named(pod: Found) -> set[tuple[str, str]]:
    """The ConfigMaps and Secrets that a pod's specification names, as kind and name."""
    found = {("Secret", str(one["name"])) for one in pod.get("imagePullSecrets") or ()}
    kinds = {"configMapRef": "ConfigMap", "secretRef": "Secret"}
    for container in pod["containers"]:
        for source in container.get("envFrom") or ():
            found |= {(kinds[key], str(one["name"])) for key, one in source.items() if key in kinds}
    return found
