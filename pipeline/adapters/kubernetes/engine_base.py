"""What the four ports of a cluster share: the API, the manifests, and the pods of a slot."""

from __future__ import annotations

from collections.abc import Callable

from pipeline.adapters.kubernetes.api.kube_api import KubeApi
from pipeline.adapters.kubernetes.api.objects import KubeObject, Manifest
from pipeline.adapters.kubernetes.cpu_rules import read_rules
from pipeline.adapters.kubernetes.env_sources import EnvSources
from pipeline.adapters.kubernetes.manifests import Manifests, selected_slot
from pipeline.adapters.kubernetes.names import COMMAND, CRON, HTTP_ROUTE, RESULT, SPEC, base, slot_labels
from pipeline.adapters.kubernetes.ownership import OwnedObjects
from pipeline.adapters.kubernetes.pods.state import is_finished, is_terminating
from pipeline.adapters.kubernetes.probe import replica_set_of, serving_replica_sets
from pipeline.adapters.kubernetes.workload import accessory_objects
from pipeline.adapters.kubernetes.workload.claims import Claims
from pipeline.adapters.kubernetes.workload.volume_helpers import VolumeHelpers
from pipeline.config.settings import Settings
from pipeline.domain.engine_types import SlotRef, SlotSpec
from pipeline.domain.environment import Slot
from pipeline.errors import RequestError
from pipeline.lib.retry import poll
from pipeline.ports.clock import Clock

VOLUME_IMAGE = Settings.model_fields["volume_image"].default
ACTIVATOR_IMAGE = Settings.model_fields["activator_image"].default
SETTLE_WITHIN = 5.0  # seconds for the cluster's controllers to follow a change
CHECK_EVERY = 0.02  # seconds between two looks at whether they have


class EngineBase:
    """``key``: which engine this is (``Where.key``); ``volume_image``: of pods that read and write volumes;
    ``activator_image``: of pods that wake what sleeps."""

    def __init__(
        self,
        api: KubeApi,
        instance: str,
        key: str,
        clock: Clock,
        volume_image: str = VOLUME_IMAGE,
        activator_image: str = ACTIVATOR_IMAGE,
    ) -> None:
        self._volume_image, self._activator_image = volume_image, activator_image
        self._api, self._instance, self._key, self._clock = api, instance, key, clock
        self._owned = OwnedObjects(api, instance)

    @property
    def _manifests(self) -> Manifests:
        return Manifests(self._instance, self._api.namespace)

    @property
    def _permitted(self) -> Manifests:
        """Manifests of pods that the namespace's LimitRanges permit, and that reach their accessories. Reads both."""
        return Manifests(self._instance, self._api.namespace, read_rules(self._api), self._aliases)

    def _aliases(self, spec: SlotSpec) -> list[Manifest]:
        return accessory_objects.host_aliases(self._api, self._instance, spec)

    @property
    def _sources(self) -> EnvSources:
        return EnvSources(self._api, self._owned, self._manifests)

    @property
    def _claims(self) -> Claims:
        return Claims(self._api, self._instance, self._clock, self._volume_helpers.settle)

    @property
    def _volume_helpers(self) -> VolumeHelpers:
        return VolumeHelpers(self._api, self._instance, self._clock, self._volume_image)

    def _has_budget(self, spec: SlotSpec) -> bool:
        """True if a drained node is to leave some of the slot's pods: it has several, or may be given them."""
        return spec.replicas > 1 or spec.config.service.autoscaled

    def _provide(self, spec: SlotSpec) -> None:
        """Creates what the release's pods need before they can be created. Idempotent."""
        accessory_objects.insist_on_services(self._api, self._instance, spec)
        self._sources.create(spec)
        self._claims.ensure_all(spec)

    def serving(self, ref: SlotRef) -> Slot | None:
        return selected_slot(self._api.get("Service", base(ref)))

    def _marked_route(self, ref: SlotRef) -> tuple[str, Slot]:
        """The HTTPRoute that has divided the environment's visitors, and the slot that it gives a part of them now, ""
        if it gives it none."""
        found = self._api.get("Service", base(ref)) or {"metadata": {}}
        route, _, slot = str((found["metadata"].get("annotations") or {}).get(HTTP_ROUTE, "")).partition("/")
        return route, slot

    def _refuse_serving(self, ref: SlotRef, what: str) -> None:
        if self.serving(ref) == ref.slot or self._marked_route(ref)[1] == ref.slot:
            raise RequestError(
                f"{base(ref)}: {ref.slot} takes the traffic, so it cannot be {what}.",
                advice="Switch to the other slot first.",
            )

    def _all_pods(self, ref: SlotRef) -> list[KubeObject]:
        """The slot's pods, sorted by name. An evicted pod stays here for long, although another has replaced it."""
        found = self._api.find("Pod", slot_labels(self._instance, ref))
        return sorted(found, key=lambda pod: pod["metadata"]["name"])

    def _pods(self, ref: SlotRef) -> list[KubeObject]:
        """Those that are neither finished nor being deleted."""
        return [pod for pod in self._all_pods(ref) if not is_terminating(pod) and not is_finished(pod)]

    def _command_pods(self, ref: SlotRef) -> list[KubeObject]:
        """The pods of the environment's commands, except those whose result nothing keeps any more."""
        found = self._owned.all("Pod", ref)
        return [pod for pod in found if COMMAND in pod["metadata"]["labels"] and not _is_released(pod)]

    def _job_pods(self, ref: SlotRef) -> list[KubeObject]:
        """The pods of the environment's runs by a schedule, with the same exception."""
        found = self._owned.all("Pod", ref)
        return [pod for pod in found if CRON in pod["metadata"]["labels"] and not _is_released(pod)]

    def _spec_of(self, deployment: KubeObject) -> str:
        """The hash of the pods that a Deployment creates."""
        return str(deployment["spec"]["template"]["metadata"]["labels"].get(SPEC))

    def _is_left(self, ref: SlotRef) -> bool:
        """True once the public Service sends new connections to no pod of that slot, which does not serve: nodes can
        follow the cluster's controllers, and not the selector. Waits for that, for a limited time."""
        pods = {replica_set_of(pod["metadata"]["name"]) for pod in self._pods(ref)}
        return self._wait_until(lambda: not pods & set(serving_replica_sets(self._api, base(ref))))

    def _wait_until(self, done: Callable[[], bool]) -> bool:
        """Gives the cluster's controllers a limited time to follow a change; whether they have."""
        return bool(poll(done, CHECK_EVERY, self._clock, timeout=SETTLE_WITHIN))


def _is_released(pod: KubeObject) -> bool:
    """True for a pod that is being deleted and that no finalizer of ours keeps."""
    return is_terminating(pod) and RESULT not in (pod["metadata"].get("finalizers") or ())
