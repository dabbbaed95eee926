"""The pods that read and write claims, and what a killed one has left: files that were changing places."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from pipeline.adapters.kubernetes.api.kube_api import KubeApi
from pipeline.adapters.kubernetes.api.objects import KubeObject
from pipeline.adapters.kubernetes.cpu_rules import read_rules
from pipeline.adapters.kubernetes.names import HELPER, INSTANCE, SWAP_BEGUN
from pipeline.adapters.kubernetes.pods.claims import claims_of
from pipeline.adapters.kubernetes.pods.state import is_finished, is_terminating
from pipeline.adapters.kubernetes.workload import volume_pod
from pipeline.adapters.kubernetes.workload.accessory_objects import SUBFOLDER
from pipeline.adapters.kubernetes.workload.claims import KIND, claim_name, swap_of
from pipeline.adapters.kubernetes.workload.volume_pod import ACCESS, COPIES, WAITING, VolumePod
from pipeline.adapters.volume_scripts import GIVE_UP, SWAP_WITHIN
from pipeline.domain.volumes import VolumeRef
from pipeline.errors import TryAgain
from pipeline.lib.retry import poll
from pipeline.ports.clock import Clock, Deadline

GONE_WITHIN = 60.0  # seconds in which pods that are ending have ended
# Seconds that a swap usually takes at most: one that is younger may still be at work.
SWAP_USUAL = 20.0
KINDS = (ACCESS, COPIES)


class VolumeHelpers:
    """Those of one installation (``instance``) in one namespace, from that image."""

    def __init__(self, api: KubeApi, instance: str, clock: Clock, image: str) -> None:
        self._api, self._instance, self._clock, self._image = api, instance, clock, image

    def pod(self, ref: VolumeRef, script: str = WAITING, source: VolumeRef | None = None) -> VolumePod:
        """``source``: another volume that it reads."""
        for one in self._api.find("Pod", {INSTANCE: self._instance}):
            if is_helper(one) and is_finished(one) and self._is_old(one):  # what made it has died
                self._api.delete("Pod", pod_name(one), grace=0)
        return self.unmade(ref, script, users_of_claims(self._api, ending=True), source)

    def unmade(
        self,
        ref: VolumeRef,
        script: str,
        users: dict[str, list[KubeObject]],
        source: VolumeRef | None = None,
    ) -> VolumePod:
        """``users``: the pods that have each claim: it runs on their node."""
        claim = claim_name(self._instance, ref)
        nodes = [str(pod["spec"].get("nodeName") or "") for pod in users.get(claim, ())]
        wanted = volume_pod.manifest(
            self._instance,
            self._api.namespace,
            claim,
            self._image,
            script,
            next(filter(None, nodes), ""),
            read_rules(self._api),
            SUBFOLDER if ref.kind == "accessory" else "",
            claim_name(self._instance, source) if source else "",
        )
        return VolumePod(self._api, self._clock, wanted)

    def forget(self, ref: VolumeRef) -> None:
        """Ends those that a killed process has left at the volume. Raises TryAgain if one does not end."""
        self._end(ref, self._of(ref))

    def forget_copies(self, ref: VolumeRef) -> None:
        """The same for a copy of the volume: its disk may be on one node at a time, and what starts goes to any."""
        self._end(ref, self._of(ref, COPIES))

    def _end(self, ref: VolumeRef, left: list[str]) -> None:
        for name in left:
            self._api.delete("Pod", name, grace=1)
        if not poll(lambda: not self._there(left), 0.1, self._clock, timeout=GONE_WITHIN):
            name, space = self._there(left)[0], self._api.namespace
            raise TryAgain(
                f"{name}, which has the volume {ref}, was told to end {GONE_WITHIN:.0f} s ago and is still "
                "there.",
                advice=f"`kubectl -n {space} describe pod {name}` says where it is. If its node is gone for good: "
                f"`kubectl -n {space} delete pod --force {name}`.",
            )

    def _is_old(self, pod: KubeObject) -> bool:
        """So old that nothing waits for its result any more."""
        made = datetime.fromisoformat(pod["metadata"]["creationTimestamp"]).timestamp()
        return self._clock.now() - made > volume_pod.LONGEST

    def _of(self, ref: VolumeRef, *kinds: str) -> list[str]:
        claim = claim_name(self._instance, ref)
        return [
            pod_name(pod)
            for name, pod in with_claims(self._api)
            if name == claim and is_helper(pod) and pod["metadata"]["labels"][HELPER] in (kinds or KINDS)
        ]

    def _there(self, names: list[str]) -> list[str]:
        return [name for name in names if self._api.get("Pod", name)]

    # ── files that change places ─────────────────────────────────────────────

    @contextmanager
    def swapping(self, ref: VolumeRef) -> Iterator[None]:
        """While files of the volume change places: what ends before that has ended leaves it to ``settle``."""
        self._mark(ref, f"{self._clock.now():.3f}")
        yield
        self._mark(ref, None)

    def settle(self, ref: VolumeRef) -> None:
        """Before anything starts with the volume, or reads it: if a process died while a restore let files change
        places, all of them are the restored ones then, or all are those from before. Idempotent. Raises TryAgain."""
        begun = self._begun(ref)
        if not begun:
            return
        left = SWAP_USUAL - (self._clock.now() - float(begun))
        if self._of(ref) and left > 0:
            poll(lambda: not self._begun(ref), 0.3, self._clock, timeout=min(left, SWAP_USUAL))
        if not self._begun(ref):
            return
        self.forget(ref)
        with self.pod(ref) as pod:
            limit = Deadline(self._clock, SWAP_WITHIN, f"Replacing the files of the volume {ref}")
            pod.run(GIVE_UP, limit)
        self._mark(ref, None)

    def _begun(self, ref: VolumeRef) -> str:
        found = self._api.get(KIND, claim_name(self._instance, ref))
        return swap_of(found) if found else ""

    def _mark(self, ref: VolumeRef, text: str | None) -> None:
        change = {"metadata": {"annotations": {SWAP_BEGUN: text}}}
        self._api.merge(KIND, claim_name(self._instance, ref), change)


# ── the pods that have claims ────────────────────────────────────────────────


def with_claims(api: KubeApi) -> list[tuple[str, KubeObject]]:
    """Each claim that a pod of the namespace has, with the pod, sorted by its name: also one that has ended."""
    pods = sorted(api.find("Pod", {}), key=pod_name)
    return [(name, pod) for pod in pods for name in claims_of(pod)]


def users_of_claims(api: KubeApi, *, ending: bool = False) -> dict[str, list[KubeObject]]:
    """The pods that have each claim, those of applications that have not ended. ``ending``: also those that are being
    deleted."""
    found: dict[str, list[KubeObject]] = {}
    for name, pod in with_claims(api):
        if not is_finished(pod) and not is_helper(pod) and (ending or not is_terminating(pod)):
            found.setdefault(name, []).append(pod)
    return found


def pod_name(pod: KubeObject) -> str:
    return str(pod["metadata"]["name"])


def is_helper(pod: KubeObject) -> bool:
    return HELPER in (pod["metadata"].get("labels") or {})
