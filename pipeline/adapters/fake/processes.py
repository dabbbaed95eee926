"""Processes in memory, and those that run by a schedule."""

from __future__ import annotations

from dataclasses import replace

from pipeline.adapters.fake.engine_state import EngineState, environment_key
from pipeline.domain.engine_types import ProcessReplica, SlotRef, SlotSpec
from pipeline.domain.environment import other
from pipeline.domain.events import Event
from pipeline.domain.volumes import volumes_of
from pipeline.errors import AppFailed, RequestError
from pipeline.ports.builder import Emit
from pipeline.ports.clock import Watch
from pipeline.ports.scheduled import Job, JobState


class FakeProcesses(EngineState):
    """Refuses to start processes in a slot that does not serve, or while the other slot's run."""

    def start_processes(self, spec: SlotSpec, watch: Watch) -> None:
        with self.call("start_processes", spec, watch=watch):
            if any(one.works for one in self.beside.get(_other(spec.ref), {}).values()):
                raise RequestError("The other slot's processes still run.")
            self._require_image(spec)
            spec.reveal()
            wanted, found = _wanted(spec), self.beside.get(spec.ref, {})
            kept = {name: one for name, one in found.items() if name in wanted and one.works}
            self.beside[spec.ref] = self._broken(wanted, "exited") | kept

    def processes_ready(self, spec: SlotSpec, emit: Emit, watch: Watch) -> None:
        with self.call("processes_ready", spec, watch=watch):
            for name, one in self.beside.get(spec.ref, {}).items():
                if one.state != "running":
                    raise AppFailed(
                        f"{name}: it exited with code {one.exit_code}.",
                        facts=(f"exit code {one.exit_code}",),
                        evidence=self.printed,
                    )
                emit(Event("line", 0.0, f"{name} is ready"))

    def crash_process(self, ref: SlotRef, process: str, *, starting: bool = False) -> None:
        """Its containers exit, and the engine starts them again; ``starting``: it has not yet."""
        state = "starting" if starting else "running"
        self.beside[ref] = {
            name: replace(one, state=state, exit_code=3, restarts=one.restarts + 1)
            if one.process == process
            else one
            for name, one in self.beside[ref].items()
        }

    def stop_processes(self, ref: SlotRef) -> None:
        with self.call("stop_processes", ref):
            self._halt_processes(ref)

    def processes(self, ref: SlotRef) -> tuple[ProcessReplica, ...]:
        with self.call("processes", ref):
            slots = [of for of in self.beside if environment_key(of) == environment_key(ref)]
            return tuple(one for of in slots for one in self.beside[of].values())

    def process_logs(self, ref: SlotRef, process: str, lines: int) -> tuple[str, ...]:
        with self.call("process_logs", ref, process, lines):
            there = any(one.process == process for one in self.beside.get(ref, {}).values())
            return self.printed[-lines:] if there else ()

    def missing_processes(self, spec: SlotSpec) -> tuple[str, ...]:
        with self.call("missing_processes", spec):
            found = self.beside.get(spec.ref, {})
            return tuple(
                f"{name} is {found[name].state if name in found else 'missing'}"
                for name in _wanted(spec)
                if name not in found or not found[name].works
            )

    def restore_processes(self, spec: SlotSpec) -> None:
        with self.call("restore_processes", spec):
            self._require_image(spec)
            spec.reveal()
            self._halt_processes(_other(spec.ref))
            self.beside[spec.ref] = self._broken(_wanted(spec), "starting")  # again and again

    def _broken(self, found: dict[str, ProcessReplica], state: str) -> dict[str, ProcessReplica]:
        return {
            name: replace(one, state=state, exit_code=3) if one.process in self.fragile else one
            for name, one in found.items()
        }


class FakeScheduled(EngineState):
    """Never starts a job a second time."""

    def start_job(self, spec: SlotSpec, job: Job, argv: tuple[str, ...], watch: Watch) -> None:
        with self.call("start_job", spec, job, argv, watch=watch):
            self._require_prepared(spec.ref)
            if job in self._jobs_of(spec.ref):
                return
            self._insist_on_room(spec.config.service.memory, job.process)
            self._require_image(spec)
            spec.reveal()
            self.mounting[_name_of(job)] = volumes_of(spec)
            self._jobs_of(spec.ref)[job] = JobState(job, spec.release, self.now())

    def finish(self, ref: SlotRef, job: Job, code: int = 0) -> None:
        """The job's command exits."""
        found = self._jobs_of(ref)
        self.mounting.pop(_name_of(job), None)
        found[job] = replace(found[job], ended=self.now(), exit_code=code)

    def jobs(self, ref: SlotRef) -> tuple[JobState, ...]:
        with self.call("jobs", ref):
            return tuple(self._jobs_of(ref).values())

    def job_output(self, ref: SlotRef, job: Job, lines: int) -> tuple[str, ...]:
        with self.call("job_output", ref, job, lines):
            return self.printed[-lines:] if job in self._jobs_of(ref) else ()

    def end_job(self, ref: SlotRef, job: Job) -> None:
        with self.call("end_job", ref, job):
            one = self._jobs_of(ref).get(job)
            if one and one.exit_code is None:
                self.finish(ref, job, 143)

    def forget_job(self, ref: SlotRef, job: Job) -> None:
        with self.call("forget_job", ref, job):
            self._jobs_of(ref).pop(job, None)

    def _jobs_of(self, ref: SlotRef) -> dict[Job, JobState]:
        return self.scheduled.setdefault(environment_key(ref), {})


def _name_of(job: Job) -> str:
    return f"{job.process}-{job.at}"


def _other(ref: SlotRef) -> SlotRef:
    return replace(ref, slot=other(ref.slot))


def _wanted(spec: SlotSpec) -> dict[str, ProcessReplica]:
    ref = spec.ref
    names = {
        f"{ref.environment}-{ref.slot}-r{spec.release}-{name}-{number}": name
        for name, process in spec.config.service.processes_in_use.items()
        for number in range(1, process.replicas + 1)
    }
    return {
        container: ProcessReplica(container, ref.slot, process, spec.release, "running")
        for container, process in names.items()
    }
