"""Processes beside the web one on a cluster: ``check`` refuses them there."""

from __future__ import annotations

from pipeline.adapters.kubernetes.engine_base import EngineBase
from pipeline.domain.engine_types import ProcessReplica, SlotRef, SlotSpec
from pipeline.errors import ConfigError
from pipeline.ports.builder import Emit
from pipeline.ports.clock import Watch


class KubeProcesses(EngineBase):
    """See ``ports.Processes``."""

    def start_processes(self, spec: SlotSpec, watch: Watch) -> None:  # noqa: ARG002
        if spec.config.service.processes_in_use:
            raise ConfigError(
                "`processes` run only on Docker Engines.", advice="Remove them from pipelines.yaml."
            )

    def processes_ready(self, spec: SlotSpec, emit: Emit, watch: Watch) -> None:
        pass

    def stop_processes(self, ref: SlotRef) -> None:
        pass

    def processes(self, ref: SlotRef) -> tuple[ProcessReplica, ...]:  # noqa: ARG002
        return ()

    def process_logs(self, ref: SlotRef, process: str, lines: int) -> tuple[str, ...]:  # noqa: ARG002
        return ()

    def missing_processes(self, spec: SlotSpec) -> tuple[str, ...]:  # noqa: ARG002
        return ()

    def restore_processes(self, spec: SlotSpec) -> None:
        pass
