"""Jobs on a cluster: a pod for each, named by the time of the schedule.

The keeper decides what runs, as on Docker, so no CronJob does. The finalizer of command pods keeps a job's pod, and
with it the name, also if its node is drained: nothing can run it a second time.
"""

from __future__ import annotations

import hashlib
from datetime import datetime

from pipeline.adapters.kubernetes import command_pod
from pipeline.adapters.kubernetes.api.objects import KubeObject, Manifest
from pipeline.adapters.kubernetes.engine_base import EngineBase
from pipeline.adapters.kubernetes.names import COMMAND, CRON, CRON_AT, RELEASE, SLOT, base
from pipeline.adapters.kubernetes.pods.state import (
    app_containers,
    is_finished,
    is_terminating,
    last_termination,
)
from pipeline.domain.engine_types import SlotRef, SlotSpec
from pipeline.domain.naming import LONGEST
from pipeline.errors import EngineFailed
from pipeline.lib.retry import poll
from pipeline.ports.clock import Watch
from pipeline.ports.scheduled import Job, JobState

KILLED = 137  # of a pod that the cluster ended without telling how its container did
LOOK = 0.2  # seconds between two looks


class KubeScheduled(EngineBase):
    """See ``ports.Scheduled``."""

    def start_job(self, spec: SlotSpec, job: Job, argv: tuple[str, ...], watch: Watch) -> None:
        watch.check()
        if self._api.get("Pod", _job_name(spec.ref, job)) is None:
            self._provide(spec)
            self._api.create(self._job_pod(spec, job, argv))  # another keeper may have been faster

    def _job_pod(self, spec: SlotSpec, job: Job, argv: tuple[str, ...]) -> Manifest:
        manifest = self._permitted.command(spec, "cron", argv, {}, entrypoint=True)
        labels = {key: text for key, text in manifest["metadata"]["labels"].items() if key != COMMAND}
        labels |= {SLOT: "cron", CRON: job.process, CRON_AT: str(job.at)}
        metadata = {**manifest["metadata"], "name": _job_name(spec.ref, job), "labels": labels}
        return {**manifest, "metadata": metadata}

    def jobs(self, ref: SlotRef) -> tuple[JobState, ...]:
        """Also those that wait for a node or an image: a run counts from when its pod was made."""
        return tuple(_state(pod) for pod in self._job_pods(ref))

    def job_output(self, ref: SlotRef, job: Job, lines: int) -> tuple[str, ...]:
        return self._api.output(_job_name(ref, job), lines)

    def end_job(self, ref: SlotRef, job: Job) -> None:
        name = _job_name(ref, job)
        command_pod.end(self._api, name)
        pod = self._api.get("Pod", name)
        if pod is None:
            return
        grace = int(pod["spec"]["terminationGracePeriodSeconds"]) + command_pod.KUBELET_WITHIN
        poll(lambda: self._is_over(name), LOOK, self._clock, timeout=grace)
        if not self._is_over(name):
            raise EngineFailed(
                f"{name} has not ended {grace} s after it was told to.",
                advice=f"See whether its node is lost: `kubectl -n {self._api.namespace} get pod {name} -o wide`.",
            )

    def _is_over(self, name: str) -> bool:
        pod = self._api.get("Pod", name)
        return pod is None or _has_ended(pod)

    def forget_job(self, ref: SlotRef, job: Job) -> None:
        command_pod.remove(self._api, self._clock, [_job_name(ref, job)])


def _state(pod: KubeObject) -> JobState:
    has = pod["metadata"]["labels"]
    job = Job(has[CRON], int(has[CRON_AT]))
    release, started = int(has.get(RELEASE) or 0), _moment(pod["metadata"]["creationTimestamp"])
    if not _has_ended(pod):
        return JobState(job, release, started)
    end = last_termination(pod) or {}
    ended = _moment(end["finishedAt"]) if end.get("finishedAt") else started
    return JobState(job, release, started, max(ended, started), int(end.get("exitCode", KILLED)))


def _has_ended(pod: KubeObject) -> bool:
    """Also if it was deleted before any node had it."""
    never = is_terminating(pod) and not pod["spec"].get("nodeName")
    over = any("terminated" in (one.get("state") or {}) for one in app_containers(pod))
    return never or over or is_finished(pod)


def _job_name(ref: SlotRef, job: Job) -> str:
    name = f"{base(ref)}-cron-{job.process}-{job.at}"
    if len(name) <= LONGEST:
        return name
    tail = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{base(ref)}-cron-{tail}-{job.at}"


def _moment(stamp: object) -> float:
    return datetime.fromisoformat(str(stamp)).timestamp()
