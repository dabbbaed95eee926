"""What runs on a cluster, from the labels and annotations of Services and Deployments."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

from pipeline.adapters.kubernetes.api.objects import KubeObject
from pipeline.adapters.kubernetes.engine_base import EngineBase
from pipeline.adapters.kubernetes.manifests import awaits_request, leads_to
from pipeline.adapters.kubernetes.names import (
    ASLEEP,
    COMMIT,
    CRON,
    CRON_AT,
    ENVIRONMENT,
    INDEX,
    INSTANCE,
    MADE,
    PIPELINE,
    RELEASE,
    ROUTE,
    RUN,
    SLOT,
    is_slots_own,
    slot_ref,
)
from pipeline.adapters.kubernetes.pods.state import app_spec
from pipeline.adapters.kubernetes.workload.process_objects import workloads_of
from pipeline.domain.adoption import FoundEnvironment, FoundSlot, made_of, runs_by_schedule_alone
from pipeline.domain.engine_types import SlotSpec


class KubeAdoption(EngineBase):
    """See ``ports.Adoption``. A Deployment without replicas is an empty slot, or what serves and sleeps."""

    def survey(self) -> Iterator[FoundEnvironment]:
        deployments = self._api.find("Deployment", {INSTANCE: self._instance})
        web = list(filter(is_slots_own, deployments))
        yield from self._without_web(web)
        for service in self._api.find("Service", {INSTANCE: self._instance, ROUTE: "public"}):
            labels = service["metadata"]["labels"]
            pipeline, name = labels[PIPELINE], labels[ENVIRONMENT]
            serving = leads_to(service)
            asleep = serving if awaits_request(service) else None
            own = [
                self._slot(one, [one])
                for one in web
                if _environment(one) == (pipeline, name)
                and (one["spec"].get("replicas") or one["metadata"]["labels"][SLOT] == asleep)
            ]
            index = int(labels.get(INDEX) or 0)
            yield FoundEnvironment(pipeline, name, index, self._key, True, serving, tuple(own))

    def _without_web(self, web: list[KubeObject]) -> Iterator[FoundEnvironment]:
        """Environments whose processes alone run: their Deployment of the web process has no replicas, and remembers
        what the slot was made from."""
        routed = self._api.find("Service", {INSTANCE: self._instance, ROUTE: "public"})
        known = {_environment(one) for one in routed}
        for key in sorted({_environment(one) for one in web} - known):
            slots = list[FoundSlot]()
            for one in (one for one in web if _environment(one) == key):
                ref = slot_ref(one["metadata"]["labels"], self._key)
                beside = workloads_of(self._api, self._instance, ref)
                if mine := [each for each in beside if each["spec"].get("replicas")]:
                    slots.append(self._slot(one, mine))
                elif self._served_last(one):
                    slots.append(replace(self._slot(one, []), well=True))
            if slots:
                yield FoundEnvironment(*key, slots[0].ref.index, self._key, False, None, tuple(slots))

    def _served_last(self, found: KubeObject) -> bool:
        """Whether its environment has schedules alone, and the newest run by one was of its release."""
        meta = found["metadata"]
        made = made_of((meta.get("annotations") or {}).get(MADE))
        if made is None or not runs_by_schedule_alone(made.config):
            return False
        own = {name: meta["labels"][name] for name in (INSTANCE, PIPELINE, ENVIRONMENT)}
        jobs = [one for one in self._api.find("Pod", own) if CRON in one["metadata"]["labels"]]
        newest = max((one["metadata"] for one in jobs), key=_made_at, default=None)
        return newest is not None and newest["labels"].get(RELEASE) == meta["labels"].get(RELEASE)

    def _slot(self, found: KubeObject, runs: list[KubeObject]) -> FoundSlot:
        """``runs``: the Deployments that show whether it works."""
        meta = found["metadata"]
        labels, notes = meta["labels"], meta.get("annotations") or {}
        wanted = int(found["spec"].get("replicas") or notes.get(ASLEEP) or 1)
        return FoundSlot(
            ref=slot_ref(labels, self._key),
            release=int(labels.get(RELEASE) or 0),
            run=int(notes.get(RUN) or 0),
            commit=notes.get(COMMIT, ""),
            spec=self._spec_of(found),
            replicas=wanted,
            well=all(map(_is_ready, runs)),
            created=_seconds(meta["creationTimestamp"]),
            remote=app_spec(found["spec"]["template"]["spec"])["image"],
            made=made_of(notes.get(MADE)),
        )

    def spec_hash(self, spec: SlotSpec, replica: int) -> str:  # noqa: ARG002 - pods of a slot are alike
        return self._manifests.spec_hash(spec)


def _made_at(job: KubeObject) -> tuple[str, int]:
    """``job``: the metadata of a pod. Its time of creation has whole seconds."""
    return str(job["creationTimestamp"]), int(job["labels"][CRON_AT])


def _environment(found: KubeObject) -> tuple[str, str]:
    labels = found["metadata"]["labels"]
    return labels[PIPELINE], labels[ENVIRONMENT]


def _is_ready(deployment: KubeObject) -> bool:
    ready = int((deployment.get("status") or {}).get("readyReplicas") or 0)
    return ready >= int(deployment["spec"].get("replicas") or 0)


def _seconds(stamp: object) -> float:
    """Seconds since the epoch from a timestamp of the API."""
    found = (
        stamp if isinstance(stamp, datetime) else datetime.fromisoformat(str(stamp).replace("Z", "+00:00"))
    )
    return found.timestamp()
