"""Jobs on Docker: a container for each, with one of the addresses that no slot uses."""

from __future__ import annotations

from datetime import datetime

from pipeline.adapters.docker import containers, images
from pipeline.adapters.docker.start import create, start
from pipeline.adapters.docker.tools.one_off import at, with_free_address
from pipeline.adapters.docker.volumes.owners import OwnedVolumes
from pipeline.adapters.docker_api import labels
from pipeline.adapters.docker_api.api import NEVER, Found
from pipeline.adapters.docker_api.errors import DockerRefused
from pipeline.adapters.docker_api.labels import Body
from pipeline.domain.engine_types import SlotRef, SlotSpec
from pipeline.errors import AppFailed
from pipeline.ports.clock import Watch
from pipeline.ports.scheduled import Job, JobState

NAME_TAKEN = 409


class DockerScheduled(OwnedVolumes):
    """See ``ports.Scheduled``."""

    def start_job(self, spec: SlotSpec, job: Job, argv: tuple[str, ...], watch: Watch) -> None:
        name = self._job_name(spec.ref, job)
        if self._api.container(name) is None:
            images.provide(self._api, self._settings, self._clock, spec, watch)
            self._provide_volumes(spec)
            self._fits_one_more(
                spec,
                f"cron {job.process}",
                "Lower `memory`, or use a larger machine; `pushlive stats` shows use.",
            )
            body = containers.with_memory(_job_body(self._as_replica(spec), job, argv), spec)
            body = containers.with_secrets(body, spec.reveal(), spec.filled)
            network = containers.network_name(self._settings, spec.ref)

            def begin(address: str) -> None:
                try:
                    create(self._api, name, at(body, network, address), spec.config.uses)
                except DockerRefused as error:
                    if error.status != NAME_TAKEN:  # else another keeper was faster
                        raise
                self._start_job(name)

            with_free_address(self._api, self._settings, spec.ref, begin)
        else:
            self._start_job(name)

    def _start_job(self, name: str) -> None:
        """Unless it was started. One that cannot start is removed: the next call makes it again, with an address that
        is free then."""
        found = self._api.container(name)
        if found is None or found["State"]["StartedAt"] != NEVER:
            return
        try:
            start(self._api, name)
        except AppFailed:
            self._api.remove(name)
            raise
        except DockerRefused as error:
            if error.address_in_use:
                self._api.remove(name)
            raise

    def _as_replica(self, spec: SlotSpec) -> Body:
        return containers.slot_body(self._settings, spec, 1)

    def jobs(self, ref: SlotRef) -> tuple[JobState, ...]:
        found = [one for one in self._in_environment(ref) if labels.CRON in one["Labels"]]
        states = (self._job(one) for one in found)
        return tuple(one for one in states if one)

    def _job(self, listed: Found) -> JobState | None:
        found, has = self._api.container(listed["Id"]), listed["Labels"]
        if found is None or found["State"]["StartedAt"] == NEVER:
            return None
        state, job = found["State"], Job(has[labels.CRON], int(has[labels.CRON_AT]))
        release, started = int(has.get(labels.RELEASE) or 0), _moment(state["StartedAt"])
        if state["Running"]:
            return JobState(job, release, started)
        return JobState(job, release, started, _moment(state["FinishedAt"]), int(state["ExitCode"]))

    def job_output(self, ref: SlotRef, job: Job, lines: int) -> tuple[str, ...]:
        name = self._job_name(ref, job)
        return self._api.output(name, lines) if self._api.container(name) else ()

    def end_job(self, ref: SlotRef, job: Job) -> None:
        for one in self._listed(ref, job):
            self._api.stop(one)

    def forget_job(self, ref: SlotRef, job: Job) -> None:
        for one in self._listed(ref, job):
            self._api.remove(one["Id"])

    def _listed(self, ref: SlotRef, job: Job) -> list[Found]:
        which = (job.process, str(job.at))
        found = self._in_environment(ref)
        return [
            one
            for one in found
            if (one["Labels"].get(labels.CRON), one["Labels"].get(labels.CRON_AT)) == which
        ]

    def _job_name(self, ref: SlotRef, job: Job) -> str:
        return f"{containers.network_name(self._settings, ref)}-cron-{job.process}-{job.at}"


def _job_body(replica: Body, job: Job, argv: tuple[str, ...]) -> Body:
    """As a web replica, except for what it runs."""
    own = {key: text for key, text in replica["Labels"].items() if key not in _OF_WEB}
    return {
        **replica,
        "Cmd": list(argv),
        "Labels": {**own, labels.CRON: job.process, labels.CRON_AT: str(job.at)},
    }


_OF_WEB = (labels.REPLICA, labels.ADDRESS, labels.PORT, labels.SPEC)


def _moment(stamp: str) -> float:
    return datetime.fromisoformat(stamp[:19] + "+00:00").timestamp()
