"""What a fake engine runs, and what a test does to it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from pipeline.adapters.fake.script import Script, require
from pipeline.adapters.haproxy.config import server_name
from pipeline.config.engines import kind_of
from pipeline.config.parity.properties import Value
from pipeline.domain.accessories import AccessoryRef
from pipeline.domain.capacity.room import Room
from pipeline.domain.engine_types import (
    Answer,
    Answered,
    CommandResult,
    Login,
    ProcessReplica,
    Replica,
    Share,
    SlotRef,
    SlotSpec,
    Written,
)
from pipeline.domain.environment import Slot
from pipeline.domain.judging.latency.times import Timed
from pipeline.domain.parity.by_hand import ByHand
from pipeline.domain.visitors.maintenance import Notice
from pipeline.domain.volumes import VolumeRef
from pipeline.errors import DoesNotFit, EngineFailed
from pipeline.lib.secret import Secret
from pipeline.ports.scheduled import Job, JobState

EMPTY = b"\0" * 1024  # a tar of nothing

Answers = Callable[[SlotSpec, str], Answer]
CommandResults = Callable[[SlotSpec, tuple[str, ...]], CommandResult]
EnvironmentKey = tuple[str, str]  # pipeline and environment
OUT_OF_MEMORY = 137  # the exit code of what the kernel kills
CommandKey = tuple[SlotRef, int, str]  # slot, release and name


@dataclass
class SlotContent:
    """What runs in a slot. ``secrets``: what its containers were given; ``passwords``: what its proxy was."""

    spec: SlotSpec
    ready: bool = False
    exposed: bool = False
    alive: bool = True
    exit_code: int | None = None
    stopped: bool = False
    restarts: int = 0
    sessions: int = 0
    secrets: dict[str, Secret] = field(default_factory=dict)
    passwords: dict[str, Secret] = field(default_factory=dict)
    written: tuple[Written, ...] = ()
    sick: dict[str, str] = field(default_factory=dict)  # what the check found, by the replica's name


def healthy(spec: SlotSpec, path: str) -> Answer:
    """What a fake application answers by default."""
    return Answer(200, {"content-type": "text/plain"}, f"r{spec.release} {path}".encode(), 0.001)


def succeeds(_spec: SlotSpec, argv: tuple[str, ...]) -> CommandResult:
    """What a fake command returns by default."""
    return CommandResult(0, " ".join(argv) + "\n", 0.001)


class EngineState(Script):
    """``memory``: bytes that the engine has; ``gone``: digests of images that it has lost."""

    def __init__(self, memory: int = 8 << 30) -> None:
        super().__init__()
        self.memory = memory
        self.has_room = Room(100 << 30, 60 << 30, memory // 2, 0.5, {"images": 12 << 30, "volumes": 3 << 30})
        self.gone: set[str] = set()
        self.answers: Answers = healthy
        self.commands: CommandResults = succeeds
        self.hosts: dict[EnvironmentKey, tuple[str, ...]] = {}
        self.wanted: dict[EnvironmentKey, tuple[str, ...]] = {}  # hosts that come with the next switch
        self.active: dict[EnvironmentKey, Slot | None] = {}
        self.paused: set[EnvironmentKey] = set()  # where requests wait
        self.shares: dict[EnvironmentKey, Share] = {}
        self.notices: dict[EnvironmentKey, Notice] = {}  # that visitors get
        self.sleeping: set[EnvironmentKey] = set()  # where requests wait until it is woken
        self.knocking: set[EnvironmentKey] = set()  # where one waits now
        self.contents: dict[SlotRef, SlotContent] = {}
        self.bytes: dict[SlotRef, int] = {}  # that people were sent
        self.counted: dict[SlotRef, Answered] = {}  # what people's requests got
        self.times: dict[SlotRef, Timed | None] = {}  # how long they took
        self.revivals: list[str] = []  # replicas that were started again
        self.beside: dict[SlotRef, dict[str, ProcessReplica]] = {}  # processes by name
        self.scheduled: dict[EnvironmentKey, dict[Job, JobState]] = {}
        self.now: Callable[[], float] = time.time
        self.fragile: set[str] = set()  # processes that exit as soon as they start
        self.networks: dict[EnvironmentKey, SlotRef] = {}
        self.visitors: dict[EnvironmentKey, str] = {}  # a container of others in the environment's network
        self.done: dict[CommandKey, CommandResult | None] = {}
        self.started: dict[CommandKey, tuple[SlotRef, int]] = {}  # slot and run of each command
        self.people: dict[str, Any] = {}  # what people run, by session: a ``FakeSession`` each
        self.given: dict[str, dict[str, Secret]] = {}  # by command: what its container was given
        self.through: dict[str, bool] = {}  # by command: whether the image's ENTRYPOINT was given it
        self.ended: list[str] = []  # commands that were ended
        self.logins: dict[str, Login | None] = {}  # by image: the login with which it was pulled
        self.changed: dict[SlotRef, tuple[ByHand, ...]] = {}  # drift
        self.found: dict[SlotRef, dict[str, Value | None]] = {}  # what runs instead, by property
        self.version = "a fake 1.0"  # of the engine
        self.blocked: dict[SlotRef, tuple[str, ...]] = {}  # obstacles
        self.running: dict[AccessoryRef, Any] = {}  # a ``FakeAccessory`` each
        self.mounting: dict[
            str, tuple[VolumeRef, ...]
        ] = {}  # by session or job: the volumes of one that runs
        self.stored: dict[VolumeRef, bytes] = {}  # volumes: a tar each
        self.assisting: dict[str, tuple[VolumeRef, ...]] = {}  # helpers, with the volumes of each
        self.printed = ("a fake's last words",)  # the applications' output

    # ── what a test does to it ───────────────────────────────────────────────

    def exit(self, ref: SlotRef, code: int = 1) -> None:
        """The slot's containers exit."""
        self.contents[ref].alive, self.contents[ref].exit_code = False, code

    def crash(self, ref: SlotRef, code: int = 1, times: int = 1) -> None:
        """The slot's containers exit that often, and each time the engine starts them again."""
        self.contents[ref].restarts += times
        self.contents[ref].exit_code = code

    def halt(self, ref: SlotRef) -> None:
        """The slot's containers are stopped, as together with a Docker daemon."""
        self.contents[ref].alive, self.contents[ref].stopped = False, True

    def resume(self, ref: SlotRef) -> None:
        """They run again."""
        self.contents[ref].alive, self.contents[ref].stopped = True, False

    def vanish(self, ref: SlotRef) -> None:
        """The slot's containers are removed by hand."""
        del self.contents[ref]

    def sicken(self, ref: SlotRef, number: int, said: str) -> None:
        """The checks of that replica fail; they pass again for ``said`` = ""."""
        self.contents[ref].sick[self._replicas(ref)[number - 1].name] = said

    def scale(self, ref: SlotRef, count: int) -> None:
        """The slot is set to that many replicas by hand."""
        self.contents[ref].spec = replace(self.contents[ref].spec, at_least=count)

    def sessions(self, ref: SlotRef, count: int) -> None:
        """That many requests are open in the slot; draining ends one each time it looks."""
        self.contents[ref].sessions = count

    # ── what a probe sees ────────────────────────────────────────────────────

    def answer(self, index: int, slot: Slot | None, path: str) -> Answer:
        """The answer of that environment's slot, 503 if it is None or not exposed."""
        for ref, one in self.contents.items():
            if ref.index == index and ref.slot == slot and one.exposed and one.alive:
                return replace(self.answers(one.spec, path), served_by=self._servers(one.spec)[0])
        return Answer(503, {"retry-after": "5"}, b"503", 0.001)

    def active_at(self, index: int) -> Slot | None:
        """The slot that takes that environment's traffic."""
        keys = {environment_key(ref) for ref in self.contents if ref.index == index}
        return next((self.active.get(key) for key in keys), None)

    # ── memory ───────────────────────────────────────────────────────────────

    def _insist_on_room(self, wanted: int, what: str, apart: SlotRef | AccessoryRef | None = None) -> None:
        """Raises DoesNotFit unless ``wanted`` bytes are there beside what runs, without that slot or accessory."""
        slots = (memory_of(one.spec) for ref, one in self.contents.items() if ref != apart)
        beside = (one.spec.config.memory for ref, one in self.running.items() if ref != apart and one.alive)
        used = sum(slots) + sum(beside)
        if used + wanted > self.memory:
            raise DoesNotFit(f"{what}: {wanted} bytes do not fit beside {used}.")

    # ── what the ports share ─────────────────────────────────────────────────

    def _serves(self, ref: SlotRef) -> bool:
        key = environment_key(ref)
        share = self.shares.get(key)
        return self.active.get(key) == ref.slot or (share is not None and share.slot == ref.slot)

    def _require_prepared(self, ref: SlotRef) -> None:
        require(environment_key(ref) in self.active, f"{ref.pipeline}/{ref.environment} was not prepared")

    def _require_content(self, spec: SlotSpec, what: str) -> SlotContent:
        current = self.contents.get(spec.ref)
        require(current is not None and same_containers(current.spec, spec), what)
        return self.contents[spec.ref]

    def _require_image(self, spec: SlotSpec) -> None:
        if spec.image in self.gone:
            raise EngineFailed(f"The image {spec.image[:19]} is no longer on this machine.")
        if not kind_of(spec.ref.engine).local:
            if not spec.remote:
                raise EngineFailed(f"r{spec.release} was made before its pipeline had a registry.")
            self.logins[spec.remote] = spec.login()

    def _halt_processes(self, ref: SlotRef) -> None:
        """They end; what keeps the stopped keeps them."""
        found = self.beside.get(ref, {})
        if not kind_of(ref.engine).keeps_stopped:
            self.beside.pop(ref, None)
            return
        for name, one in found.items():
            if one.works:
                found[name] = replace(one, state="exited", exit_code=143)

    def _replicas(self, ref: SlotRef) -> tuple[Replica, ...]:
        current = self.contents.get(ref)
        if current is None:
            return ()
        spec, state = current.spec, "running" if current.alive else "exited"
        port, code, stopped = spec.config.service.port, current.exit_code, current.stopped
        return tuple(
            Replica(
                f"{ref.environment}-{n}",
                host,
                port,
                spec.release,
                state,
                code,
                stopped=stopped,
                restarts=current.restarts,
                out_of_memory=code == OUT_OF_MEMORY,
            )
            for n, host in enumerate(addresses(spec), 1)
        )

    def _servers(self, spec: SlotSpec) -> tuple[str, ...]:
        port = spec.config.service.port
        return tuple(server_name(spec.ref.index, spec.ref.slot, (host, port)) for host in addresses(spec))


def memory_of(spec: SlotSpec) -> int:
    """Bytes that the slot needs."""
    processes = sum(one.replicas for one in spec.config.service.processes_in_use.values())
    return spec.config.service.memory * (spec.replicas + processes)


def environment_key(ref: SlotRef) -> EnvironmentKey:
    return ref.pipeline, ref.environment


def same_containers(one: SlotSpec, two: SlotSpec) -> bool:
    """True if another run of the same release would reuse the containers."""
    return replace(one, run=0, at_least=0) == replace(two, run=0, at_least=0)


def addresses(spec: SlotSpec) -> list[str]:
    """The IP addresses of the slot's replicas."""
    base = {"blue": 1, "green": 16}[spec.ref.slot]
    return [f"10.0.{spec.ref.index}.{base + n}" for n in range(1, spec.replicas + 1)]
