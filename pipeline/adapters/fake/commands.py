"""Release commands and checks in memory."""

from __future__ import annotations

from pipeline.adapters.fake.engine_state import EngineState, environment_key
from pipeline.domain.engine_types import CommandResult, SlotRef, SlotSpec
from pipeline.domain.events import Event
from pipeline.errors import OutcomeUnknown
from pipeline.ports.builder import Emit
from pipeline.ports.clock import Watch


class FakeCommands(EngineState):
    """Refuses a command in an environment that was not prepared. One that died has an unknown outcome."""

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
        key = (spec.ref, spec.release, name)
        started = key in self.done
        with self.call("command", spec, name, argv, env, watch=watch):
            self._require_prepared(spec.ref)
            if not started:
                self._require_image(spec)
                self.given[name] = spec.reveal()
                self.through[name] = entrypoint
                self.done[key], self.started[key] = None, (spec.ref, spec.run)
                result = self.commands(spec, argv)
                for line in result.output.splitlines():
                    emit(Event("line", 0.0, line))
                self.done[key] = result
            known = self.done[key]
            if known is None:
                raise OutcomeUnknown(f"The command {name} started, but its result is unknown.")
            return known

    def end_command(self, spec: SlotSpec, name: str) -> None:
        with self.call("end_command", spec, name):
            self.ended.append(name)

    def forget_command(self, spec: SlotSpec, name: str) -> None:
        with self.call("forget_command", spec, name):
            self.done.pop((spec.ref, spec.release, name), None)
            self.started.pop((spec.ref, spec.release, name), None)

    def command_runs(self, ref: SlotRef) -> frozenset[int]:
        with self.call("command_runs", ref):
            key = environment_key(ref)
            return frozenset(run for of, run in self.started.values() if environment_key(of) == key)

    def forget_commands(self, ref: SlotRef, run: int) -> None:
        with self.call("forget_commands", ref, run):
            for key, (of, of_run) in tuple(self.started.items()):
                if of_run == run and environment_key(of) == environment_key(ref):
                    del self.started[key]
                    self.done.pop(key, None)
