"""Environments that sleep, in memory."""

from __future__ import annotations

from pipeline.adapters.fake.engine_state import EngineState, SlotContent, environment_key, same_containers
from pipeline.adapters.fake.script import require
from pipeline.domain.engine_types import Answered, SlotRef, SlotSpec
from pipeline.errors import AppFailed, RequestError
from pipeline.ports.clock import Watch
from pipeline.ports.sleep.sleeping import Activity


class FakeSleeping(EngineState):
    """Refuses to end what serves while its requests do not wait. ``counted`` and ``sessions`` are its activity."""

    def can_sleep(self, ref: SlotRef) -> None:
        with self.call("can_sleep", ref):
            pass

    def activity(self, ref: SlotRef) -> Activity | None:
        with self.call("activity", ref):
            content = self.contents.get(ref)
            return Activity(
                str(self.counted.get(ref, Answered(0, 0)).requests), content.sessions if content else 0
            )

    def await_request(self, ref: SlotRef, seconds: float) -> None:
        with self.call("await_request", ref, seconds):
            key = environment_key(ref)
            require(key in self.active, "sleep before prepare")
            self.active[key] = None
            self.paused.discard(key)
            self.shares.pop(key, None)
            self.sleeping.add(key)

    def end_sleeping(self, spec: SlotSpec) -> None:
        with self.call("end_sleeping", spec):
            if environment_key(spec.ref) not in self.sleeping:
                raise RequestError(f"{spec.ref.environment}: its requests do not wait.")
            if spec.ref in self.contents:
                self.halt(spec.ref)
                self.contents[spec.ref].exposed = False
            self._halt_processes(spec.ref)

    def wake(self, spec: SlotSpec, watch: Watch) -> None:
        with self.call("wake", spec, watch=watch):
            current = self.contents.get(spec.ref)
            if current is None or not same_containers(current.spec, spec):
                self._require_image(spec)
                current = self.contents[spec.ref] = SlotContent(spec, secrets=spec.reveal())
            current.alive, current.stopped, current.exit_code = True, False, None
            status = self.answers(spec, spec.config.service.health.path).status
            if not 200 <= status < 400:
                raise AppFailed(f"it is not ready: its health path answered {status}.")
            current.ready, current.exposed, current.passwords = True, True, spec.passwords()

    def awaits_request(self, ref: SlotRef) -> bool:
        with self.call("awaits_request", ref):
            return environment_key(ref) in self.sleeping

    def is_wanted(self, ref: SlotRef) -> bool:
        with self.call("is_wanted", ref):
            return environment_key(ref) in self.knocking

    def still_awake(self, spec: SlotSpec) -> tuple[str, ...]:
        with self.call("still_awake", spec):
            web = [one.name for one in self._replicas(spec.ref) if one.state == "running"]
            beside = [name for name, one in self.beside.get(spec.ref, {}).items() if one.works]
            return (*web, *beside)
