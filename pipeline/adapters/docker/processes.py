"""Processes beside the web one on Docker: containers with fixed addresses after those of the web replicas."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from pipeline.adapters.docker import containers, images
from pipeline.adapters.docker.base import is_as_wanted, name_of_environment, ref_of
from pipeline.adapters.docker.networks import NOTHING, join_all, left_by
from pipeline.adapters.docker.readiness import LINES, exited
from pipeline.adapters.docker.start import create, start
from pipeline.adapters.docker.volumes.owners import OwnedVolumes
from pipeline.adapters.docker_api import labels
from pipeline.adapters.docker_api.api import Found, name_of
from pipeline.adapters.docker_api.container_calls import UNLESS_STOPPED
from pipeline.adapters.docker_api.labels import Body
from pipeline.adapters.workload import fingerprint
from pipeline.config.settings import Settings
from pipeline.config.workload.processes import Process
from pipeline.domain.engine_types import ProcessReplica, SlotRef, SlotSpec
from pipeline.domain.environment import other
from pipeline.domain.events import Event
from pipeline.errors import AppFailed, RequestError, TimedOut
from pipeline.lib.parallel import together
from pipeline.ports.builder import Emit
from pipeline.ports.clock import Deadline, Watch

LOOK = 0.1  # seconds between two looks at a process that is to settle, and two runs of its `ready`
RESTORED_WITHIN = 60.0  # seconds, when processes are repaired: other environments wait meanwhile
STATES = {"created": "created", "running": "running", "restarting": "starting", "paused": "starting"}


class DockerProcesses(OwnedVolumes):
    """See ``ports.Processes``."""

    def start_processes(self, spec: SlotSpec, watch: Watch) -> None:
        self._refuse_others(spec.ref)
        self._fill_processes(spec, watch, repair=False)

    def _fill_processes(self, spec: SlotSpec, watch: Watch, *, repair: bool) -> None:
        wanted, found = process_bodies(self._settings, spec), self._of_slot(spec.ref)
        kept = {name_of(one): one for one in found if is_as_wanted(one, wanted.get(name_of(one)))}
        secrets = {}
        if wanted.keys() - kept.keys():
            images.provide(self._api, self._settings, self._clock, spec, watch)
            secrets = spec.reveal()
            self._provide_volumes(spec)
        ends = [partial(self._api.end, one) for one in found if name_of(one) not in kept]
        together(ends, watch.check)
        for name, body in wanted.items():
            watch.check()
            if name not in kept:
                whole = containers.with_secrets(body, secrets, spec.filled)
                create(self._api, name, containers.with_memory(whole, spec), spec.config.uses)
            if name not in kept or kept[name]["State"] == "created":
                start(self._api, name)
            if repair:
                self._api.restart_always(name)
                if found_now := self._api.container(name):
                    join_all(self._api, found_now)

    def _refuse_others(self, ref: SlotRef) -> None:
        running = [one for one in self.processes(ref) if one.slot != ref.slot and one.works]
        if running:
            raise RequestError(
                f"{name_of_environment(ref)}: {running[0].name} still runs.",
                advice="The other slot's processes have to end first.",
            )

    def processes_ready(self, spec: SlotSpec, emit: Emit, watch: Watch) -> None:
        self._until_ready(spec, processes_by_container(self._settings, spec), emit, watch)

    def _until_ready(
        self, spec: SlotSpec, which: dict[str, tuple[str, Process]], emit: Emit, watch: Watch
    ) -> None:
        """``which``: as ``processes_by_container`` returns them. Raises as ``processes_ready`` does."""
        began, left = self._clock.monotonic(), dict(which)
        before = {name: self._restarts(name) for name in which}
        while left:
            for name, (_, process) in tuple(left.items()):
                waited = self._clock.monotonic() - began
                self._refuse_ended(name, before[name])
                if self._is_ready(name, process, spec, waited):
                    self._api.restart_always(name)
                    emit(Event("line", self._clock.now(), f"{name} is ready"))
                    del left[name]
            if left:
                watch.wait(LOOK)
        for name in which:
            self._refuse_ended(name, before[name])  # the first may have ended while others settled

    def _is_ready(self, name: str, process: Process, spec: SlotSpec, waited: float) -> bool:
        if process.ready is None:
            return waited >= process.settle
        code, output = self._api.execute(name, process.ready.run)
        if code and waited >= spec.config.service.ready:
            words = " ".join(process.ready.run)
            raise AppFailed(
                f"{name} is not ready after {waited:.1f} s: {words} exited with {code}.",
                advice=f"`{spec.ref.output_command}` prints its output; `ready` in pipelines.yaml limits the wait.",
                facts=(f"exit code {code}",),
                evidence=(*output.splitlines()[-LINES:], *self._api.output(name, LINES)),
            )
        return not code

    def _restarts(self, name: str) -> int:
        """How often Docker has started it again, which may be long ago: the same release may be deployed again."""
        return int((self._api.container(name) or {}).get("RestartCount") or 0)

    def _refuse_ended(self, name: str, restarts: int) -> None:
        found = self._api.container(name)
        if found is None:
            raise AppFailed(f"{name} was removed while it started.", advice="Deploy again.")
        state, again = found["State"], int(found.get("RestartCount") or 0)
        if not state["Running"] or state.get("Restarting") or again > restarts:
            raise exited(found, name, self._api.output(name, LINES))

    def stop_processes(self, ref: SlotRef) -> None:
        together([partial(self._api.stop, one) for one in self._of_slot(ref)])

    def processes(self, ref: SlotRef) -> tuple[ProcessReplica, ...]:
        return tuple(self._process(one) for one in self._process_containers(ref))

    def _process(self, found: Found) -> ProcessReplica:
        inspected, has = self._api.container(found["Id"]) or {}, found["Labels"]
        status, restarts = inspected.get("State", {}), int(inspected.get("RestartCount") or 0)
        # Not the listed state: between the two questions a container that has ended may run again.
        now = status.get("Status", found["State"])
        code, memory = status.get("ExitCode"), bool(status.get("OOMKilled"))
        if now in ("running", "created", "paused"):
            code, memory = self._api.last_end(inspected) if restarts else (None, False)
        return ProcessReplica(
            name_of(found),
            has[labels.SLOT],
            has[labels.PROCESS],
            int(has.get(labels.RELEASE) or 0),
            STATES.get(now, "exited"),
            code,
            restarts,
            memory,
            now == "paused",
        )

    def process_logs(self, ref: SlotRef, process: str, lines: int) -> tuple[str, ...]:
        found = [one for one in self._of_slot(ref) if one["Labels"][labels.PROCESS] == process]
        merged: list[tuple[str, str]] = []
        for one in found:
            prefix = f"{name_of(one).rpartition('-')[2]}: " if len(found) > 1 else ""
            stamped = (line.partition(" ") for line in self._api.output(one["Id"], lines, times=True))
            merged += [(at, prefix + text) for at, _, text in stamped]
        merged.sort(key=lambda pair: pair[0])
        return tuple(text for _, text in merged[-lines:])

    def missing_processes(self, spec: SlotSpec) -> tuple[str, ...]:
        wanted = process_bodies(self._settings, spec)
        found = {name_of(one): one for one in self._of_slot(spec.ref)}
        problems = [f"{name} does not belong there" for name in found if name not in wanted]
        for name, body in wanted.items():
            problems += self._process_problems(found.get(name), name, body)
        return tuple(problems)

    def _process_problems(self, one: Found | None, name: str, body: Body) -> Iterator[str]:
        if one is None:
            yield f"{name} is missing"
        elif one["State"] not in ("running", "restarting"):
            yield f"{name} is {one['State']}"
        elif not is_as_wanted(one, body):
            yield f"{name} has other settings"
        elif (self._api.container(name) or {}).get("HostConfig", {}).get("RestartPolicy", {}).get(
            "Name"
        ) != UNLESS_STOPPED["Name"]:
            yield f"{name} would not be started again after it exits"
        elif left := left_by(self._api.container(name) or NOTHING):
            yield f"{name} is not in the network {left[0]}"

    def restore_processes(self, spec: SlotSpec) -> None:
        self.stop_processes(replace(spec.ref, slot=other(spec.ref.slot)))
        watch = Deadline(self._clock, RESTORED_WITHIN, "Starting processes again")
        try:
            self._fill_processes(spec, watch, repair=True)
        except TimedOut as error:
            raise AppFailed(error.message, advice=error.advice) from error

    def _process_containers(self, ref: SlotRef) -> list[Found]:
        """Those of the environment, in the order of their names."""
        found = [one for one in self._in_environment(ref) if labels.PROCESS in one["Labels"]]
        return sorted(found, key=name_of)

    def _of_slot(self, ref: SlotRef) -> list[Found]:
        return [one for one in self._process_containers(ref) if ref_of(one, ref.engine) == ref]


def process_bodies(settings: Settings, spec: SlotSpec) -> dict[str, Body]:
    """The containers of the spec's processes as they should be, by name, still without secrets."""
    places = enumerate(processes_by_container(settings, spec).items(), spec.config.service.web_replicas + 1)
    return {name: _body(settings, spec, *process, place) for place, (name, process) in places}


def processes_by_container(settings: Settings, spec: SlotSpec) -> dict[str, tuple[str, Process]]:
    """The process of each container, with its own name, by the container's name."""
    base = f"{containers.network_name(settings, spec.ref)}-{spec.ref.slot}-r{spec.release}"
    return {
        f"{base}-{name}-{number}": (name, process)
        for name, process in spec.config.service.processes_in_use.items()
        for number in range(1, process.replicas + 1)
    }


def _body(settings: Settings, spec: SlotSpec, name: str, process: Process, place: int) -> Body:
    """As a web replica at that place, except for what it runs."""
    body = containers.slot_body(settings, spec, place)
    own = {label: text for label, text in body.pop("Labels").items() if label not in _OF_WEB}
    stop = max(1, round(process.stop))
    body |= {"Cmd": list(process.command), "StopTimeout": stop}
    what = {**body, "Secrets": spec.secrets} if spec.secrets else body
    own |= {labels.PROCESS: name, labels.STOP: str(stop), labels.SPEC: fingerprint(what)}
    return {**body, "Labels": own}


_OF_WEB = (labels.REPLICA, labels.PORT)
