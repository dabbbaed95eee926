"""Accessories on a cluster: a StatefulSet each, with a Service, a Secret and a claim."""

from __future__ import annotations

import base64
from collections.abc import Iterable

from pipeline.adapters.kubernetes import capacity
from pipeline.adapters.kubernetes.api.objects import KubeObject, Manifest
from pipeline.adapters.kubernetes.cpu_rules import read_rules
from pipeline.adapters.kubernetes.names import ACCESSORY, ADDRESS, ATTACHED, INSTANCE, MADE, SPEC
from pipeline.adapters.kubernetes.pods.state import app_containers, app_spec, last_termination, restarts
from pipeline.adapters.kubernetes.workload.accessory_objects import (
    AccessoryManifests,
    accessory_labels,
    accessory_name,
    accessory_ref,
    written,
)
from pipeline.adapters.kubernetes.workload.accessory_pod import await_started, insist_on_image, why_unready
from pipeline.adapters.kubernetes.workload.accessory_service import SET, AccessoryServices
from pipeline.adapters.kubernetes.workload.process_objects import find_sets
from pipeline.domain.accessories import (
    AccessoryRef,
    AccessorySpec,
    AccessoryState,
    Attachment,
    FoundAccessory,
    made_of,
)
from pipeline.errors import TryAgain
from pipeline.lib import codec
from pipeline.lib.retry import poll
from pipeline.lib.secret import Secret
from pipeline.ports.clock import Watch

ENDING = 60.0  # seconds beyond its own limit until its pod is gone


class KubeAccessories(AccessoryServices):
    """See ``ports.Accessories``."""

    def keep_accessory(self, spec: AccessorySpec, watch: Watch) -> bool:
        found = self._set(spec.ref)
        if found is None and not self._has_data(spec):
            # Nothing is made from an image that no node can pull: the next run takes a corrected one.
            insist_on_image(self._api, self._clock, self._instance, spec, watch, nothing_else=True)
        address, acted = self._keep_service(spec, found)
        if found is None:
            self._create(spec, address, watch)
            return True
        notes = found["metadata"].get("annotations") or {}
        wanted = {ATTACHED: written(spec.attached), ADDRESS: address}
        change: KubeObject = {}
        if any(notes.get(name) != text for name, text in wanted.items()):
            change["metadata"] = {"annotations": wanted}
        if not found["spec"].get("replicas"):
            if spec.config.volume:
                self._volume_helpers.forget_copies(spec.ref.volume)
                self._volume_helpers.settle(spec.ref.volume)
            change["spec"] = {"replicas": 1}
        acted |= self._keep_secret(spec, found)
        if change:
            watch.check()
            self._api.merge(SET, accessory_name(self._instance, spec.ref), change)
        if "spec" in change:
            self._await_started(spec.ref, found, watch)
        return acted or bool(change)

    def provide_accessory(self, spec: AccessorySpec, watch: Watch) -> None:
        found = self._set(spec.ref)
        spec.reveal()
        self._insist_on_room(spec, found)
        if found is None or app_spec(found["spec"]["template"]["spec"])["image"] != spec.config.image:
            insist_on_image(self._api, self._clock, self._instance, spec, watch)

    def replace_accessory(self, spec: AccessorySpec, watch: Watch) -> None:
        found = self._set(spec.ref)
        if found and spec.config.volume:
            self._claims.ensure(spec.ref.volume, spec.config.kubernetes.volume)
        if found and found["metadata"]["labels"].get(SPEC) != self.accessory_hash(spec):
            if found["spec"].get("replicas"):  # what is in the way is noticed while it still runs
                self.provide_accessory(spec, watch)
            watch.check()
            self.halt_accessory(spec.ref)
            address, _ = self._keep_service(spec, found)
            self._create(spec, address, watch)
            self._forget_secrets(spec.ref, self._accessory_manifests.secret_name(spec))
        self.keep_accessory(spec, watch)

    def halt_accessory(self, ref: AccessoryRef) -> None:
        found, name = self._set(ref), accessory_name(self._instance, ref)
        if found is None:
            return
        if found["spec"].get("replicas"):
            self._api.merge(SET, name, {"spec": {"replicas": 0}})
        limit = int(found["spec"]["template"]["spec"].get("terminationGracePeriodSeconds") or 30)
        if not poll(lambda: self._accessory_pod(ref) is None, 0.1, self._clock, timeout=limit + ENDING):
            pod = f"{name}-0"
            raise TryAgain(
                f"{pod} was told to end {limit + ENDING:.0f} s ago and is still there.",
                advice=f"`kubectl -n {self._api.namespace} describe pod {pod}` says where it is. If its node is gone "
                f"for good: `kubectl -n {self._api.namespace} delete pod --force {pod}`.",
            )

    def remove_accessory(self, ref: AccessoryRef) -> None:
        self.halt_accessory(ref)
        name = accessory_name(self._instance, ref)
        if self._set(ref):
            self._api.delete(SET, name)
        if self._own("Service", name, ref):
            self._api.delete("Service", name)
        self._forget_secrets(ref, "")

    def detach_accessory(self, ref: AccessoryRef, attachment: Attachment) -> None:
        found = self._set(ref)
        if found is None:
            return
        left = tuple(one for one in _attached(found) if one.pipeline != attachment.pipeline)
        change = {"metadata": {"annotations": {ATTACHED: written(left)}}}
        self._api.merge(SET, accessory_name(self._instance, ref), change)

    def restart_accessory(self, spec: AccessorySpec, watch: Watch) -> None:
        watch.check()
        self.halt_accessory(spec.ref)
        self.keep_accessory(spec, watch)

    def accessory_state(self, ref: AccessoryRef) -> AccessoryState:
        found, name = self._set(ref), f"{accessory_name(self._instance, ref)}-0"
        if found is None:
            return AccessoryState(name, "missing")
        pod, made = self._accessory_pod(ref), found["metadata"]["labels"].get(SPEC, "")
        if pod is None:
            return AccessoryState(name, "starting" if found["spec"].get("replicas") else "exited", made)
        running = any("running" in (one.get("state") or {}) for one in app_containers(pod))
        end = last_termination(pod)
        return AccessoryState(
            name,
            "running" if running else "starting",
            made,
            int(end["exitCode"]) if end else None,
            bool(end and end.get("reason") == "OOMKilled"),
            restarts(pod),
            str(app_spec(pod["spec"])["image"]),
        )

    def accessory_unready(self, spec: AccessorySpec) -> str:
        name = accessory_name(self._instance, spec.ref)
        found = self._set(spec.ref)
        if found is None:
            return f"the StatefulSet {name} does not exist"
        if not found["spec"].get("replicas"):
            return f"the StatefulSet {name} is stopped"
        return why_unready(self._api, self._clock, found, self._accessory_pod(spec.ref))

    def accessory_output(self, ref: AccessoryRef, lines: int) -> tuple[str, ...]:
        pod = self._accessory_pod(ref)
        if pod is None:
            return ()
        name = pod["metadata"]["name"]
        return self._api.output(name, lines) or (
            self._api.output(name, lines, previous=True) if restarts(pod) else ()
        )

    def accessories(self) -> Iterable[AccessoryRef]:
        return sorted((accessory_ref(one, self._key) for one in self._sets()), key=lambda ref: ref.id)

    def accessories_found(self) -> Iterable[FoundAccessory]:
        for one in self._sets():
            labels, notes = one["metadata"]["labels"], one["metadata"].get("annotations") or {}
            container = app_spec(one["spec"]["template"]["spec"])
            env = {each["name"]: Secret(_plain(each.get("value"))) for each in container.get("env") or ()}
            for source in container.get("envFrom") or ():
                secret = self._api.get("Secret", source["secretRef"]["name"]) or {}
                for name, text in (secret.get("data") or {}).items():
                    env[name] = Secret(base64.b64decode(text).decode())
            yield FoundAccessory(
                accessory_ref(one, self._key),
                labels.get(SPEC, ""),
                _attached(one),
                env,
                made_of(notes.get(MADE)),
            )

    # ── its objects ──────────────────────────────────────────────────────────

    def _create(self, spec: AccessorySpec, address: str, watch: Watch) -> None:
        """Its claim, its Secret, then what runs it. Idempotent."""
        wanted = self._permitted_set(spec, address)
        self._insist_on_room(spec, self._set(spec.ref))
        if spec.config.volume:
            self._claims.ensure(spec.ref.volume, spec.config.kubernetes.volume)
        if spec.secrets:
            self._put_secret(spec)
        watch.check()
        self._await_started(spec.ref, self._api.apply(wanted), watch)

    def _has_data(self, spec: AccessorySpec) -> bool:
        return bool(spec.config.volume) and self._claims.get(spec.ref.volume) is not None

    def _await_started(self, ref: AccessoryRef, found: KubeObject, watch: Watch) -> None:
        await_started(self._api, self._clock, found, lambda: self._accessory_pod(ref), watch)

    def _permitted_set(self, spec: AccessorySpec, address: str) -> Manifest:
        rules = read_rules(self._api)
        return AccessoryManifests(self._instance, self._api.namespace, rules).stateful_set(spec, address)

    def _insist_on_room(self, spec: AccessorySpec, current: KubeObject | None) -> None:
        wanted = self._permitted_set(spec, "")
        capacity.check_fits(self._api, f"the accessory {spec.ref.id}", "it", wanted, current)

    def _keep_secret(self, spec: AccessorySpec, found: KubeObject) -> bool:
        """Without it its pod could not start again. One that was made from another definition has another."""
        if not spec.secrets or found["metadata"]["labels"].get(SPEC) != self.accessory_hash(spec):
            return False
        if self._own("Secret", self._accessory_manifests.secret_name(spec), spec.ref):
            return False
        self._put_secret(spec)
        return True

    def _put_secret(self, spec: AccessorySpec) -> None:
        """After a restore of the store a version may have another value: then it is replaced."""
        wanted = self._accessory_manifests.secret(spec, spec.reveal())
        name = wanted["metadata"]["name"]
        found = self._own("Secret", name, spec.ref)
        if found and found.get("data") != wanted["data"]:
            self._api.delete("Secret", name)
        self._api.create(wanted)

    def _forget_secrets(self, ref: AccessoryRef, but: str) -> None:
        for one in self._api.find("Secret", accessory_labels(self._instance, ref)):
            if one["metadata"]["name"] != but:
                self._api.delete("Secret", one["metadata"]["name"])

    def _sets(self) -> list[KubeObject]:
        found = find_sets(self._api, {INSTANCE: self._instance})
        return [one for one in found if ACCESSORY in one["metadata"]["labels"]]


def _attached(found: KubeObject) -> tuple[Attachment, ...]:
    text = (found["metadata"].get("annotations") or {}).get(ATTACHED)
    return codec.load(tuple[Attachment, ...], text) if text else ()


def _plain(text: str | None) -> str:
    """What ``manifests.literal`` was given."""
    return (text or "").replace("$$", "$")
