"""Sleep on a cluster: what serves has no pods, and its activator takes the connections meanwhile.

While an environment may go to sleep, its public Service selects the activator of the slot that serves: a Service counts
nothing, and so whatever comes is counted. ``Traffic.switch`` leads the Service to the pods again, and the next look at
the activity back to the activator, so a deployment knows nothing of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from pipeline.adapters.kubernetes.api.client import status_of
from pipeline.adapters.kubernetes.api.objects import KubeObject
from pipeline.adapters.kubernetes.cpu_rules import read_rules
from pipeline.adapters.kubernetes.drift import KubeDrift
from pipeline.adapters.kubernetes.manifests import awaits_request, is_marked, selected_label
from pipeline.adapters.kubernetes.names import (
    ACTIVATOR,
    ASLEEP,
    SLOT,
    SPEC,
    activator_name,
    base,
    environment_labels,
    slot_name,
)
from pipeline.adapters.kubernetes.ownership import INVALID
from pipeline.adapters.kubernetes.pods.problems import pod_problem
from pipeline.adapters.kubernetes.pods.state import is_finished, is_ready, is_terminating
from pipeline.adapters.kubernetes.sleep import account, manifest
from pipeline.adapters.kubernetes.workload.process_objects import pods_of, scale_down, workloads_of
from pipeline.domain.engine_types import SlotRef, SlotSpec
from pipeline.errors import ConfigError, EngineFailed, RequestError, TryAgain
from pipeline.lib.retry import poll
from pipeline.ports.clock import Watch
from pipeline.ports.sleep.sleeping import Activity

WAIT = 50.0  # seconds that a request waits at most, until `await_request` says another time
READY_WITHIN = 30.0  # seconds in which an activator that is made or changed has to be ready
LOOK = 0.2  # seconds between two looks at whether it is
LINES = 20  # of its output, the last of which is its count


class KubeSleeping(KubeDrift):
    """See ``ports.sleep.Sleeping``."""

    def can_sleep(self, ref: SlotRef) -> None:
        if why := account.problem(self._api):
            raise ConfigError(f"{base(ref)} cannot sleep: {why}.", advice=account.ADVICE)
        for pod in self._activator_pods(ref):
            if problem := pod_problem(pod):
                raise EngineFailed(
                    f"{base(ref)} cannot sleep: {problem.subject}: {problem.text}.",
                    advice=f"PUSHLIVE_ACTIVATOR_IMAGE is {self._activator_image}: name an image with Python 3.11 or "
                    f"newer that the nodes can pull. {problem.advice}",
                )

    # ── awake ────────────────────────────────────────────────────────────────

    def activity(self, ref: SlotRef) -> Activity | None:
        """Lets the connections come by the activator first, if they do not yet; nothing is known at that look."""
        service = self._api.get("Service", base(ref))
        label = selected_label(service)
        if label == ref.slot:
            self.can_sleep(ref)
            if self._keep_activator(ref):
                self._select(ref, label, ref.slot + ACTIVATOR, slept=is_marked(service))
            return None
        if label != ref.slot + ACTIVATOR:
            return None
        pods = [pod for pod in self._activator_pods(ref) if is_ready(pod)]
        if not pods:  # until there is one again, nobody has to wait for it
            self._select(ref, label, ref.slot)
            return None
        return self._said(pods)

    def _said(self, pods: list[KubeObject]) -> Activity | None:
        found = [(pod["metadata"]["name"], *self._count(pod["metadata"]["name"])) for pod in pods]
        if any(count < 0 for _, count, _ in found):
            return None
        return Activity(" ".join(f"{name}:{count}" for name, count, _ in found), sum(one[2] for one in found))

    def _count(self, pod: str) -> tuple[int, int]:
        """What an activator has counted, and the requests that have no answer yet; (-1, 0) if it does not say."""
        for line in reversed(self._api.output(pod, LINES)):
            try:
                said = json.loads(line)
                return int(said["count"]), int(said["open"])
            except (ValueError, KeyError, TypeError):
                continue  # what it said of waking, or of the cluster
        return -1, 0

    def _select(self, ref: SlotRef, before: str, after: str, *, slept: bool = False) -> None:
        """Changes what the public Service selects, unless someone has changed it since that was read. ``slept``: the
        mark of its last sleep is still there."""
        path = f"/spec/selector/{_escaped(SLOT)}"
        changes: list[dict[str, str]] = [
            {"op": "test", "path": path, "value": before},
            {"op": "replace", "path": path, "value": after},
        ]
        if slept:
            changes.append({"op": "remove", "path": f"/metadata/annotations/{_escaped(ASLEEP)}"})
        try:
            self._api.patch("Service", base(ref), changes)
        except EngineFailed as error:
            if status_of(error) != INVALID:
                raise

    # ── the activator ────────────────────────────────────────────────────────

    def _keep_activator(self, ref: SlotRef, wait: float | None = None) -> bool:
        """Makes it as it should be; True once it is ready like that. ``wait``: seconds, None for what it has."""
        found = self._owned.get("Deployment", activator_name(ref), ref)
        has = _settings_of(found)
        before, scales = has.get("scales", {}), dict[str, int]()
        for one in self._workloads(ref):
            path = f"{self._api.path(one['kind'], one['metadata']['name'])}/scale"
            # What has ended gets as many as it had when that was looked at last.
            scales[path] = int(one["spec"].get("replicas") or before.get(path, 1))
        given = manifest.settings(ref, scales, wait or has.get("wait", WAIT))
        cpu, image = read_rules(self._api), self._activator_image
        wanted = manifest.deployment(self._instance, self._api.namespace, ref, image, given, cpu)
        if (
            found is None
            or self._spec_of(found) != self._spec_of(wanted)
            or not found["spec"].get("replicas")
        ):
            self._owned.apply(wanted, ref)
        spec = self._spec_of(wanted)
        return any(
            is_ready(pod) and pod["metadata"]["labels"].get(SPEC) == spec for pod in self._activator_pods(ref)
        )

    def _workloads(self, ref: SlotRef) -> list[KubeObject]:
        """Of the slot's web process, and of those beside it."""
        web = self._owned.get("Deployment", slot_name(ref), ref)
        return [*([web] if web else []), *workloads_of(self._api, self._instance, ref)]

    def _activator_pods(self, ref: SlotRef) -> list[KubeObject]:
        labels = {**environment_labels(self._instance, ref), SLOT: ref.slot + ACTIVATOR}
        found = sorted(self._api.find("Pod", labels), key=lambda pod: str(pod["metadata"]["name"]))
        return [pod for pod in found if not is_terminating(pod) and not is_finished(pod)]

    # ── asleep ───────────────────────────────────────────────────────────────

    def await_request(self, ref: SlotRef, seconds: float) -> None:
        self.can_sleep(ref)
        if not poll(lambda: self._keep_activator(ref, seconds), LOOK, self._clock, timeout=READY_WITHIN):
            self.can_sleep(ref)
            raise EngineFailed(
                f"{base(ref)} cannot sleep: {activator_name(ref)} is not ready after {READY_WITHIN:.0f} s.",
                advice=f"`kubectl -n {self._api.namespace} logs deployment/{activator_name(ref)}` says why.",
            )
        if self.awaits_request(ref):
            return
        # It may still say so from the last time, if a deployment has woken it.
        self._api.merge("Deployment", slot_name(ref), {"metadata": {"annotations": {ASLEEP: None}}})
        change = {
            "metadata": {"annotations": {ASLEEP: ref.slot}},
            "spec": {"selector": {SLOT: ref.slot + ACTIVATOR}},
        }
        self._api.merge("Service", base(ref), change)

    def end_sleeping(self, spec: SlotSpec) -> None:
        ref = spec.ref
        if not self.awaits_request(ref):
            raise RequestError(
                f"{base(ref)}: its requests do not wait, so nothing that serves is ended.",
                advice="`pushlive status` shows what serves.",
            )
        if not self._is_left(ref):
            raise TryAgain(f"{slot_name(ref)}: the Service {base(ref)} still sends connections to its pods.")
        # Both at once: from now on a number of replicas means that it was woken.
        if count := self.scaled(ref):
            change = {"metadata": {"annotations": {ASLEEP: str(count)}}, "spec": {"replicas": 0}}
            self._api.merge("Deployment", slot_name(ref), change)
        scale_down(self._api, self._instance, ref)
        self._wait_until(lambda: not self.still_awake(spec))

    def wake(self, spec: SlotSpec, watch: Watch) -> None:
        self.start(spec, watch)
        self.ready(spec, lambda _: None, watch)
        self.expose(spec)
        self._api.merge("Deployment", slot_name(spec.ref), {"metadata": {"annotations": {ASLEEP: None}}})

    def awaits_request(self, ref: SlotRef) -> bool:
        """False without its activator: then nothing takes the requests."""
        if not awaits_request(self._api.get("Service", base(ref))):
            return False
        found = self._owned.get_if_owned("Deployment", activator_name(ref), ref)
        return bool(found and found["spec"].get("replicas"))

    def is_wanted(self, ref: SlotRef) -> bool:
        if not awaits_request(self._api.get("Service", base(ref))):
            return False
        return self._was_woken(ref) or any(open_ for _, open_ in self._counts(ref))

    def _counts(self, ref: SlotRef) -> Iterable[tuple[int, int]]:
        return (self._count(pod["metadata"]["name"]) for pod in self._activator_pods(ref))

    def _was_woken(self, ref: SlotRef) -> bool:
        """By its activator, since it was ended."""
        found = self._owned.get_if_owned("Deployment", slot_name(ref), ref)
        notes = ((found or {}).get("metadata") or {}).get("annotations") or {}
        return bool(found and ASLEEP in notes and found["spec"].get("replicas"))

    def still_awake(self, spec: SlotSpec) -> tuple[str, ...]:
        """Nothing of it once a request has woken it: what runs then has to."""
        if self._was_woken(spec.ref):
            return ()
        beside = pods_of(self._api, self._instance, spec.ref)
        pods = [
            *self._pods(spec.ref),
            *(pod for pod in beside if not is_terminating(pod) and not is_finished(pod)),
        ]
        return tuple(sorted(str(pod["metadata"]["name"]) for pod in pods))


def _escaped(key: str) -> str:
    """As a part of a JSON pointer (RFC 6901)."""
    return key.replace("~", "~0").replace("/", "~1")


def _settings_of(found: KubeObject | None) -> dict[str, Any]:
    """What an activator was told; {} without one."""
    if found is None:
        return {}
    variables = found["spec"]["template"]["spec"]["containers"][0].get("env") or ()
    told = next((one["value"] for one in variables if one["name"] == manifest.VARIABLE), "{}")
    settings: dict[str, Any] = json.loads(told.replace("$$", "$"))
    return settings
