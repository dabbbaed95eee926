"""Jobs on a cluster: ``check`` refuses them there."""

from __future__ import annotations

from pipeline.adapters.kubernetes.engine_base import EngineBase
from pipeline.domain.engine_types import SlotRef, SlotSpec
from pipeline.errors import ConfigError
from pipeline.ports.clock import Watch
from pipeline.ports.scheduled import Job, JobState


class KubeScheduled(EngineBase):
    """See ``ports.Scheduled``."""

    def start_job(self, spec: SlotSpec, job: Job, argv: tuple[str, ...], watch: Watch) -> None:  # noqa: ARG002
        raise ConfigError("`cron` runs only on Docker Engines.", advice="Remove it from pipelines.yaml.")

    def jobs(self, ref: SlotRef) -> tuple[JobState, ...]:  # noqa: ARG002
        return ()

    def job_output(self, ref: SlotRef, job: Job, lines: int) -> tuple[str, ...]:  # noqa: ARG002
        return ()

    def end_job(self, ref: SlotRef, job: Job) -> None:
        pass

    def forget_job(self, ref: SlotRef, job: Job) -> None:
        pass
