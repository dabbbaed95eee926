"""The objects on a cluster that Pushlive manages. It never takes over, changes or deletes any other."""

from __future__ import annotations

from pipeline.adapters.kubernetes import diff
from pipeline.adapters.kubernetes.api.client import status_of
from pipeline.adapters.kubernetes.api.kube_api import KubeApi
from pipeline.adapters.kubernetes.api.objects import KubeObject, Manifest
from pipeline.adapters.kubernetes.names import INSTANCE, environment_labels
from pipeline.domain.engine_types import SlotRef
from pipeline.errors import ConfigError, EngineFailed, TryAgain

INVALID = 422  # the status of a refused value
TRIES = 5  # to write an object that others write at the same time


class OwnedObjects:
    """The objects of one installation (``instance``) in one namespace."""

    def __init__(self, api: KubeApi, instance: str) -> None:
        self._api, self._instance = api, instance

    def get(self, kind: str, name: str, ref: SlotRef) -> KubeObject | None:
        """The environment's object of that name, None if it does not exist. Raises ConfigError if an object of that
        name is not managed by Pushlive, or belongs to another environment."""
        found = self._api.get(kind, name)
        if found is None or self._is_owned(found, ref):
            return found
        raise self._not_owned(found, kind, name)

    def get_if_owned(self, kind: str, name: str, ref: SlotRef) -> KubeObject | None:
        """Like ``get``, but None instead of ConfigError: for cleaning up."""
        found = self._api.get(kind, name)
        return found if found and self._is_owned(found, ref) else None

    def _not_owned(self, found: KubeObject, kind: str, name: str) -> ConfigError:
        instance = (found["metadata"].get("labels") or {}).get(INSTANCE)
        owner = f"belongs to the Pushlive instance {instance}" if instance else "is not managed by Pushlive"
        if instance == self._instance:
            owner = "belongs to another environment"
        namespace = self._api.namespace
        return ConfigError(
            f"{kind} {name} already exists in the namespace {namespace} and {owner}; it was left alone.",
            advice="Give the environment another namespace (`engine: {namespace: …}`), or delete the object: "
            f"`kubectl -n {namespace} delete {kind.lower()} {name}`.",
        )

    def all(self, kind: str, ref: SlotRef) -> list[KubeObject]:
        """Every object of that kind in the environment."""
        return self._api.find(kind, environment_labels(self._instance, ref))

    def apply(self, manifest: Manifest, ref: SlotRef) -> None:
        """Creates or updates an object. Fields that others set stay, unless they exclude ours. Raises ConfigError like
        ``get``. Idempotent."""
        found = self.get(manifest["kind"], manifest["metadata"]["name"], ref)
        try:
            self._api.apply(manifest)
        except EngineFailed as error:
            if status_of(error) != INVALID or found is None or "spec" not in manifest:
                raise
            self.restore(manifest, dry_run=False)
            self._api.apply(manifest)

    def create(self, manifest: Manifest, ref: SlotRef) -> None:
        """Creates an object whose content never changes under its name. Raises ConfigError like ``get``. Idempotent."""
        if not self._api.create(manifest):
            self.get(manifest["kind"], manifest["metadata"]["name"], ref)

    def delete(self, kind: str, name: str, ref: SlotRef) -> None:
        """Deletes the object if it exists and is owned. Idempotent."""
        if self.get_if_owned(kind, name, ref):
            self._api.delete(kind, name)

    def restore(
        self, manifest: Manifest, dry_run: bool, *, whole: bool = False
    ) -> tuple[KubeObject, KubeObject] | None:
        """Writes the object's ``spec`` as the manifest says, over any changes (``diff.restored``). Returns it before
        and after, or as it would be with ``dry_run``; None if it does not exist. Tries several times, since the cluster
        keeps writing the object's status."""
        for left in reversed(range(TRIES)):
            live = self._api.get(manifest["kind"], manifest["metadata"]["name"])
            if live is None:
                return None
            try:
                return live, self._replace(live, manifest, dry_run, whole)
            except TryAgain:
                if not left:
                    raise
        return None

    def _replace(self, live: KubeObject, manifest: Manifest, dry_run: bool, whole: bool) -> KubeObject:
        """A field of others that excludes one of ours, such as `minAvailable`, makes the object invalid: then the
        fields of others go."""
        try:
            return self._api.replace(diff.restored(live, manifest, whole=whole), dry_run)
        except EngineFailed as error:
            if whole or status_of(error) != INVALID:
                raise
            return self._api.replace(diff.restored(live, manifest, whole=True), dry_run)

    def _is_owned(self, found: KubeObject, ref: SlotRef) -> bool:
        labels = found["metadata"].get("labels") or {}
        return environment_labels(self._instance, ref).items() <= labels.items()
