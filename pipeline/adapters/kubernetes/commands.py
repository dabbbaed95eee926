"""Release commands and checks on a cluster: one pod each."""

from __future__ import annotations

from pipeline.adapters.kubernetes import command_pod
from pipeline.adapters.kubernetes.api.objects import Manifest
from pipeline.adapters.kubernetes.engine_base import EngineBase
from pipeline.adapters.kubernetes.names import RUN, command_name
from pipeline.domain.engine_types import CommandResult, SlotRef, SlotSpec
from pipeline.ports.builder import Emit
from pipeline.ports.clock import Watch


class KubeCommands(EngineBase):
    """See ``ports.Commands`` for what each method promises."""

    def command(
        self,
        spec: SlotSpec,
        name: str,
        argv: tuple[str, ...],
        env: dict[str, str],
        emit: Emit,
        watch: Watch,
        *,
        entrypoint: bool = False,
    ) -> CommandResult:
        def manifest() -> Manifest:
            self._provide(spec)
            return self._permitted.command(spec, name, argv, env, entrypoint)

        return command_pod.run(self._api, self._clock, command_name(spec, name), manifest, emit, watch)

    def end_command(self, spec: SlotSpec, name: str) -> None:
        command_pod.end(self._api, command_name(spec, name))

    def forget_command(self, spec: SlotSpec, name: str) -> None:
        command_pod.remove(self._api, self._clock, [command_name(spec, name)])

    def command_runs(self, ref: SlotRef) -> frozenset[int]:
        return frozenset(int(pod["metadata"]["labels"][RUN]) for pod in self._command_pods(ref))

    def forget_commands(self, ref: SlotRef, run: int) -> None:
        pods = [pod["metadata"] for pod in self._command_pods(ref)]
        names = [pod["name"] for pod in pods if pod["labels"][RUN] == str(run)]
        command_pod.remove(self._api, self._clock, names)
