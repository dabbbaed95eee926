"""Slots in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from pipeline.adapters.fake.engine_state import (
    EMPTY,
    EngineState,
    SlotContent,
    environment_key,
    memory_of,
    same_containers,
)
from pipeline.adapters.fake.script import require
from pipeline.config.address.entries import covers
from pipeline.config.engines import kind_of
from pipeline.domain.engine_types import Replica, SlotRef, SlotSpec, Written
from pipeline.domain.environment import SLOTS
from pipeline.domain.events import Event
from pipeline.domain.volumes import volumes_of
from pipeline.errors import AppFailed
from pipeline.ports.builder import Emit
from pipeline.ports.clock import Watch


class FakeSlots(EngineState):
    """Refuses to start in an environment that was not prepared or into the serving slot, to wait for a slot that was
    not started, and to stop the serving slot."""

    def prepare(self, ref: SlotRef, hosts: tuple[str, ...], *, routes: bool = True) -> None:
        with self.call("prepare", ref, hosts):
            key = environment_key(ref)
            if not routes:
                self.networks[key] = ref
                self.active.setdefault(key, None)
                return
            others = {other: names for other, names in self.hosts.items() if other != key}
            there = {host for other, names in others.items() if self.active.get(other) for host in names}
            new = [host for host in hosts if host not in self.hosts.get(key, ())]
            served = there | {host for host in new if any(covers(wide, host) for wide in there)}
            self.hosts[key] = tuple(host for host in hosts if host not in served)
            self.wanted[key] = tuple(host for host in hosts if host in served)
            self.active.setdefault(environment_key(ref), None)
            self.networks[environment_key(ref)] = ref

    def fits(self, spec: SlotSpec) -> None:
        with self.call("fits", spec):
            self._insist_on_room(memory_of(spec), spec.ref.environment, spec.ref)

    def start(self, spec: SlotSpec, watch: Watch) -> None:
        with self.call("start", spec, watch=watch):
            self._require_prepared(spec.ref)
            current = self.contents.get(spec.ref)
            if current and same_containers(current.spec, spec) and current.alive:
                fewer = spec.config.service.autoscaled and spec.at_least < current.spec.at_least
                current.spec = current.spec if fewer else replace(current.spec, at_least=spec.at_least)
                return
            replaces_live = current and self._serves(spec.ref) and current.alive
            require(not replaces_live, "start into the serving slot")
            self._require_image(spec)
            self.contents[spec.ref] = SlotContent(spec, secrets=spec.reveal())
            self.stored |= {ref: self.stored.get(ref, EMPTY) for ref in volumes_of(spec)}

    def ready(self, spec: SlotSpec, emit: Emit, watch: Watch) -> tuple[Replica, ...]:
        with self.call("ready", spec, watch=watch):
            current = self._require_content(spec, "ready before start")
            if not current.alive:
                code = current.exit_code
                raise AppFailed(f"it exited with code {code}.", facts=(f"exit code {code}",))
            status = self.answers(spec, spec.config.service.health.path).status if spec.web else 200
            if not 200 <= status < 400:
                raise AppFailed(f"it is not ready: its health path answered {status}.")
            current.ready = True
            emit(Event("line", 0.0, "ready"))
            return self._replicas(spec.ref)

    def scaled(self, ref: SlotRef) -> int:
        with self.call("scaled", ref):
            current = self.contents.get(ref)
            return current.spec.replicas if current and kind_of(ref.engine).scaled_by_others else 0

    def replicas(self, ref: SlotRef) -> tuple[Replica, ...]:
        with self.call("replicas", ref):
            return self._replicas(ref)

    def logs(self, ref: SlotRef, lines: int) -> tuple[str, ...]:
        with self.call("logs", ref, lines):
            return self.printed[-lines:] if ref in self.contents else ()

    def written(self, ref: SlotRef) -> tuple[Written, ...]:
        with self.call("written", ref):
            return self.contents[ref].written if ref in self.contents else ()

    def written_tar(self, ref: SlotRef, paths: tuple[str, ...]) -> Iterator[bytes]:
        with self.call("written_tar", ref, paths):
            yield "\n".join(paths).encode()

    def stop_and_keep(self, ref: SlotRef) -> None:
        with self.call("stop_and_keep", ref):
            require(not self._serves(ref), "stop of the serving slot")
            if not kind_of(ref.engine).keeps_stopped:
                self.contents.pop(ref, None)
            elif ref in self.contents:
                self.halt(ref)
                self.contents[ref].exposed = False
            self._halt_processes(ref)

    def stop(self, ref: SlotRef) -> None:
        with self.call("stop", ref):
            require(not self._serves(ref), "stop of the serving slot")
            self.contents.pop(ref, None)
            self.beside.pop(ref, None)

    def remove(self, ref: SlotRef) -> str:
        with self.call("remove", ref):
            key = environment_key(ref)
            self.hosts.pop(key, None)
            self.active.pop(key, None)
            self.notices.pop(key, None)
            self.shares.pop(key, None)
            for slot in SLOTS:
                self.contents.pop(replace(ref, slot=slot), None)
                self.beside.pop(replace(ref, slot=slot), None)
            if other := self.visitors.get(key):
                return f"the network stays, because {other} is in it"
            self.networks.pop(key, None)
            return ""

    def slots(self) -> Iterable[SlotRef]:
        with self.call("slots"):
            return list(self.contents)

    def environments(self) -> Iterable[SlotRef]:
        with self.call("environments"):
            there = {environment_key(ref): ref for ref in self.contents}
            return list({**self.networks, **there}.values())
