"""What is ours on a cluster: nothing of anybody else's is taken over, changed or removed."""

from __future__ import annotations

from pipeline.adapters.kubernetes import diff
from pipeline.adapters.kubernetes.api import Found, KubeApi
from pipeline.adapters.kubernetes.manifests import Manifest
from pipeline.adapters.kubernetes.names import INSTANCE, environment_labels
from pipeline.domain.engine_types import SlotRef
from pipeline.errors import ConfigError, TryAgain

TRIES = 5  # at an object that somebody else writes, too


class Owned:
    """One installation's (``instance``) objects in one namespace."""

    def __init__(self, api: KubeApi, instance: str) -> None:
        self._api, self._instance = api, instance

    def get(self, kind: str, name: str, ref: SlotRef) -> Found | None:
        """The environment's object of that name, None where there is none. Raises ConfigError where it is somebody
        else's."""
        found = self._api.get(kind, name)
        if found is None or self._is_ours(found, ref):
            return found
        raise self._foreign(found, kind, name)

    def mine(self, kind: str, name: str, ref: SlotRef) -> Found | None:
        """The same, and None where it is somebody else's: for cleaning up."""
        found = self._api.get(kind, name)
        return found if found and self._is_ours(found, ref) else None

    def _foreign(self, found: Found, kind: str, name: str) -> ConfigError:
        theirs = (found["metadata"].get("labels") or {}).get(INSTANCE)
        whose = f"belongs to Pushlive's instance {theirs}" if theirs else "was not made by Pushlive"
        if theirs == self._instance:
            whose = "belongs to another environment"
        namespace = self._api.namespace
        return ConfigError(
            f"{kind} {name} in the namespace {namespace} is there already and {whose}; it is left alone.",
            advice="Give the environment another namespace (`engine: {namespace: …}`), or remove it: "
            f"`kubectl -n {namespace} delete {kind.lower()} {name}`.",
        )

    def all(self, kind: str, ref: SlotRef) -> list[Found]:
        """Every object of that kind in the environment."""
        return self._api.find(kind, environment_labels(self._instance, ref))

    def put(self, manifest: Manifest, ref: SlotRef) -> None:
        """Applies it. Raises ConfigError as ``get``. Twice."""
        self.get(manifest["kind"], manifest["metadata"]["name"], ref)
        self._api.apply(manifest)

    def make(self, manifest: Manifest, ref: SlotRef) -> None:
        """Makes what never changes under its name. Raises ConfigError as ``get``. Twice."""
        if not self._api.create(manifest):
            self.get(manifest["kind"], manifest["metadata"]["name"], ref)

    def drop(self, kind: str, name: str, ref: SlotRef) -> None:
        """Removes it where it is there and ours. Twice."""
        if self.mine(kind, name, ref):
            self._api.delete(kind, name)

    def restore(self, manifest: Manifest, dry: bool) -> tuple[Found, Found] | None:
        """Writes an object as it is to be, whoever changed it (``kube_diff.restored``): as it was, and as it is (or
        with ``dry`` would be) after it; None where there is none. The cluster writes its status into it all the time,
        so it may take a few tries."""
        for left in reversed(range(TRIES)):
            live = self._api.get(manifest["kind"], manifest["metadata"]["name"])
            if live is None:
                return None
            try:
                return live, self._api.put(diff.restored(live, manifest), dry)
            except TryAgain:
                if not left:
                    raise
        return None

    def _is_ours(self, found: Found, ref: SlotRef) -> bool:
        labels = found["metadata"].get("labels") or {}
        return environment_labels(self._instance, ref).items() <= labels.items()
