"""Commands on Docker: each in a container of its own, started once and found again after a crash."""

from __future__ import annotations

from pipeline.adapters import output_lines
from pipeline.adapters.docker import containers, images
from pipeline.adapters.docker.start import create, start
from pipeline.adapters.docker.volumes.owners import OwnedVolumes
from pipeline.adapters.docker_api import labels
from pipeline.adapters.docker_api.api import NEVER, Found, name_of
from pipeline.domain.engine_types import CommandResult, SlotRef, SlotSpec
from pipeline.errors import OutcomeUnknown
from pipeline.ports.builder import Emit
from pipeline.ports.clock import Watch

LOST = 255  # the exit code that dockerd writes for a container that ended while dockerd did not run


class DockerCommands(OwnedVolumes):
    """See ``ports.Commands``."""

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
        images.provide(self._api, self._settings, self._clock, spec, watch)
        container = containers.command_name(self._settings, spec, name)
        began = self._clock.monotonic()
        earlier = self._api.container(container)
        if earlier is None:
            self._provide_volumes(spec)
            body = containers.command_body(self._settings, spec, name, argv, env, entrypoint)
            body = containers.with_secrets(body, spec.reveal(), spec.filled)
            create(self._api, container, body, spec.config.uses)
        if earlier is None or earlier["State"]["StartedAt"] == NEVER:
            start(self._api, container)
            earlier = None
        stream = self._api.follow(container)
        output = output_lines.follow(stream, stream.close, container, self._clock, emit, watch)
        ended = self._ended(container, watch)
        if ended is None or (earlier and _is_lost(earlier)):
            raise OutcomeUnknown(f"{container}: the command started, but its result is unknown.")
        return CommandResult(int(ended["State"]["ExitCode"]), output, self._clock.monotonic() - began)

    def _ended(self, container: str, watch: Watch) -> Found | None:
        """The container once it has ended, milliseconds after its output; None if it was removed."""
        while (found := self._api.container(container)) and found["State"]["Running"]:
            watch.wait(0.01)
        return found

    def end_command(self, spec: SlotSpec, name: str) -> None:
        container = containers.command_name(self._settings, spec, name)
        for one in self._commands(spec.ref):
            if name_of(one) == container:
                self._api.stop(one)

    def forget_command(self, spec: SlotSpec, name: str) -> None:
        self._api.remove(containers.command_name(self._settings, spec, name))

    def command_runs(self, ref: SlotRef) -> frozenset[int]:
        return frozenset(int(one["Labels"][labels.RUN]) for one in self._commands(ref))

    def forget_commands(self, ref: SlotRef, run: int) -> None:
        for one in self._commands(ref):
            if one["Labels"][labels.RUN] == str(run):
                self._api.remove(one["Id"])

    def _commands(self, ref: SlotRef) -> list[Found]:
        return [one for one in self._in_environment(ref) if labels.COMMAND in one["Labels"]]


def _is_lost(earlier: Found) -> bool:
    state = earlier["State"]
    return bool(state["Dead"] or (not state["Running"] and state["ExitCode"] == LOST))
