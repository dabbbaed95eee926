"""A strict Engine in memory, and a Probe that is answered by what it serves."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from pipeline.adapters.fake.script import Script, insist
from pipeline.adapters.haproxy.config import backend, server_name
from pipeline.config.engines import DOCKER, kind_of
from pipeline.domain.engine_types import Answer, CommandResult, Login, Replica, Route, SlotRef, SlotSpec
from pipeline.domain.environment import SLOTS, Slot
from pipeline.domain.events import Event
from pipeline.errors import AppFailed, DoesNotFit, EngineFailed, OutcomeUnknown, TryAgain
from pipeline.lib.secret import Secret
from pipeline.ports.builder import Emit
from pipeline.ports.clock import Watch
from pipeline.ports.engine import Engine, WholeEngine, engine_of
from pipeline.ports.probe import Probe

Answers = Callable[[SlotSpec, str], Answer]
Commands = Callable[[SlotSpec, tuple[str, ...]], CommandResult]
Key = tuple[str, str]  # pipeline and environment


@dataclass
class _Slot:
    spec: SlotSpec
    ready: bool = False
    exposed: bool = False
    alive: bool = True
    exit_code: int | None = None
    sessions: int = 0
    secrets: dict[str, Secret] = field(default_factory=dict)  # what its containers were given


def healthy(spec: SlotSpec, path: str) -> Answer:
    """What a fake application says unless the test says otherwise."""
    return Answer(200, {"content-type": "text/plain"}, f"r{spec.release} {path}".encode(), 0.001)


def succeeds(_spec: SlotSpec, argv: tuple[str, ...]) -> CommandResult:
    """What a fake command does unless the test says otherwise."""
    return CommandResult(0, " ".join(argv) + "\n", 0.001)


class FakeEngine(Script):
    """See ``ports.Engine``. ``memory``: bytes it has; ``gone``: digests that it does not have any more."""

    def __init__(self, memory: int = 8 << 30) -> None:
        super().__init__()
        self.memory = memory
        self.gone: set[str] = set()
        self.answers: Answers = healthy
        self.commands: Commands = succeeds
        self.hosts: dict[Key, tuple[str, ...]] = {}
        self.active: dict[Key, Slot | None] = {}
        self.held: dict[SlotRef, _Slot] = {}
        self.done: dict[tuple[SlotRef, int, str], CommandResult | None] = {}
        self.begun: dict[tuple[SlotRef, int, str], tuple[SlotRef, int]] = {}  # of the same: place and run
        self.given: dict[str, dict[str, Secret]] = {}  # what a command's container was given, by its name
        self.logins: dict[str, Login | None] = {}  # with what an image was taken from a registry
        self.changed: dict[SlotRef, tuple[str, ...]] = {}  # what somebody changed by hand
        self.printed = ("a fake's last words",)  # the applications' own output

    # --- what a test does to it

    def exit(self, ref: SlotRef, code: int = 1) -> None:
        """The slot's containers die."""
        self.held[ref].alive, self.held[ref].exit_code = False, code

    def vanish(self, ref: SlotRef) -> None:
        """Somebody removes the slot's containers by hand."""
        del self.held[ref]

    def sessions(self, ref: SlotRef, count: int) -> None:
        """So many requests are open in the slot; draining ends one each time it looks."""
        self.held[ref].sessions = count

    # --- the port

    def prepare(self, ref: SlotRef, hosts: tuple[str, ...]) -> None:
        with self.call("prepare", ref, hosts):
            self.hosts[_key(ref)] = hosts
            self.active.setdefault(_key(ref), None)

    def fits(self, spec: SlotSpec) -> None:
        with self.call("fits", spec):
            held = sum(_memory(one.spec) for ref, one in self.held.items() if ref != spec.ref)
            if held + _memory(spec) > self.memory:
                raise DoesNotFit(f"{spec.ref.environment}: {_memory(spec)} bytes beside {held}.")

    def start(self, spec: SlotSpec, watch: Watch) -> None:
        with self.call("start", spec, watch=watch):
            self._insist_prepared(spec.ref)
            there = self.held.get(spec.ref)
            if there and _same(there.spec, spec) and there.alive:
                return
            insist(not there or not self._serves(spec.ref) or not there.alive, "start into the serving slot")
            self._insist_image(spec)
            self.held[spec.ref] = _Slot(spec, secrets=spec.reveal())

    def ready(self, spec: SlotSpec, emit: Emit, watch: Watch) -> tuple[Replica, ...]:
        with self.call("ready", spec, watch=watch):
            there = self._insist_held(spec, "ready before start")
            if not there.alive:
                code = there.exit_code
                raise AppFailed(f"it exited with code {code}.", evidence=(f"exit code {code}",))
            status = self.answers(spec, spec.config.service.health).status
            if not 200 <= status < 400:
                raise AppFailed(f"it is not ready: its health path answered {status}.")
            there.ready = True
            emit(Event("line", 0.0, "ready"))
            return self._replicas(spec.ref)

    def expose(self, spec: SlotSpec) -> None:
        with self.call("expose", spec):
            insist(self._insist_held(spec, "expose before start").ready, "expose before ready")
            self.held[spec.ref].exposed = True

    def preview(self, spec: SlotSpec) -> Route:
        with self.call("preview", spec):
            name = backend(spec.ref.index, spec.ref.slot)
            return Route("http://preview.fake", {"X-Pushlive-Slot": name}, self._servers(spec))

    def public(self, spec: SlotSpec) -> Route:
        with self.call("public", spec):
            return Route(f"http://e{spec.ref.index}.fake", {}, self._servers(spec))

    def switch(self, spec: SlotSpec) -> None:
        with self.call("switch", spec):
            insist(self._insist_held(spec, "switch to an empty slot").exposed, "switch before expose")
            self.active[_key(spec.ref)] = spec.ref.slot

    def unroute(self, ref: SlotRef) -> None:
        with self.call("unroute", ref):
            if _key(ref) in self.active:
                self.active[_key(ref)] = None

    def serving(self, ref: SlotRef) -> Slot | None:
        with self.call("serving", ref):
            return self.active.get(_key(ref))

    def replicas(self, ref: SlotRef) -> tuple[Replica, ...]:
        with self.call("replicas", ref):
            return self._replicas(ref)

    def missing(self, spec: SlotSpec) -> tuple[str, ...]:
        with self.call("missing", spec):
            there = self.held.get(spec.ref)
            if there is None or not _same(there.spec, spec):
                return ("its containers are missing",)
            found = [
                (there.alive, "its containers have ended"),
                (there.exposed, "the proxy does not know it"),
            ]
            return tuple(text for well, text in found if not well)

    def restore(self, spec: SlotSpec) -> bool:
        with self.call("restore", spec):
            self._insist_prepared(spec.ref)
            there = self.held.get(spec.ref)
            if there and there.alive and there.exposed and _same(there.spec, spec):
                return False
            self._insist_image(spec)
            self.held[spec.ref] = _Slot(spec, ready=True, exposed=True, secrets=spec.reveal())
            return True

    def drift(self, spec: SlotSpec) -> tuple[str, ...]:
        with self.call("drift", spec):
            return self.changed.get(spec.ref, ())

    def revert_drift(self, spec: SlotSpec) -> None:
        with self.call("revert_drift", spec):
            self._insist_held(spec, "straighten of another release")
            self.changed.pop(spec.ref, None)

    def open_sessions(self, ref: SlotRef) -> int:
        with self.call("open_sessions", ref):
            return self.held[ref].sessions if ref in self.held else 0

    def drain(self, ref: SlotRef, limit: float, watch: Watch) -> int:
        with self.call("drain", ref, limit, watch=watch):
            insist(not self._serves(ref), "drain of the serving slot")
            there = self.held.get(ref)
            if there is None:
                return 0
            for _ in range(int(limit / 0.05)):
                if not there.sessions:
                    break
                watch.wait(0.05)
                there.sessions -= 1
            closed, there.sessions = there.sessions, 0
            return closed

    def detach(self, ref: SlotRef, mark: str) -> int:
        with self.call("detach", ref, mark):
            insist(not self._serves(ref), "detach of the serving slot")
            return 0

    def stop(self, ref: SlotRef) -> None:
        with self.call("stop", ref):
            insist(not self._serves(ref), "stop of the serving slot")
            self.held.pop(ref, None)

    def command(
        self,
        spec: SlotSpec,
        name: str,
        argv: tuple[str, ...],
        env: dict[str, str],
        emit: Emit,
        watch: Watch,
    ) -> CommandResult:
        key = (spec.ref, spec.release, name)
        begun = key in self.done
        with self.call("command", spec, name, argv, env, watch=watch):
            self._insist_prepared(spec.ref)
            if not begun:
                self._insist_image(spec)
                self.given[name] = spec.reveal()
                self.done[key], self.begun[key] = None, (spec.ref, spec.run)
                result = self.commands(spec, argv)
                for line in result.output.splitlines():
                    emit(Event("line", 0.0, line))
                self.done[key] = result
            known = self.done[key]
            if known is None:
                raise OutcomeUnknown(f"{name} was begun, and nobody knows how it ended.")
            return known

    def forget_command(self, spec: SlotSpec, name: str) -> None:
        with self.call("forget_command", spec, name):
            self.done.pop((spec.ref, spec.release, name), None)
            self.begun.pop((spec.ref, spec.release, name), None)

    def command_runs(self, ref: SlotRef) -> frozenset[int]:
        with self.call("command_runs", ref):
            return frozenset(run for held, run in self.begun.values() if _key(held) == _key(ref))

    def forget_commands(self, ref: SlotRef, run: int) -> None:
        with self.call("forget_commands", ref, run):
            for key, (held, of) in tuple(self.begun.items()):
                if of == run and _key(held) == _key(ref):
                    del self.begun[key]
                    self.done.pop(key, None)

    def logs(self, ref: SlotRef, lines: int) -> tuple[str, ...]:
        with self.call("logs", ref, lines):
            return self.printed[-lines:] if ref in self.held else ()

    def remove(self, ref: SlotRef) -> None:
        with self.call("remove", ref):
            self.hosts.pop(_key(ref), None)
            self.active.pop(_key(ref), None)
            for slot in SLOTS:
                self.held.pop(replace(ref, slot=slot), None)

    def slots(self) -> Iterable[SlotRef]:
        with self.call("slots"):
            return list(self.held)

    # --- what it is made of

    def answer(self, index: int, slot: Slot | None, path: str) -> Answer:
        """What the proxy would give: by slot for the preview, by the active one for the public."""
        for ref, one in self.held.items():
            if ref.index == index and ref.slot == slot and one.exposed and one.alive:
                return replace(self.answers(one.spec, path), served_by=self._servers(one.spec)[0])
        return Answer(503, {"retry-after": "5"}, b"503", 0.001)

    def active_at(self, index: int) -> Slot | None:
        keys = {_key(ref) for ref in self.held if ref.index == index}
        return next((self.active.get(key) for key in keys), None)

    def _serves(self, ref: SlotRef) -> bool:
        return self.active.get(_key(ref)) == ref.slot

    def _insist_prepared(self, ref: SlotRef) -> None:
        insist(_key(ref) in self.active, f"{ref.pipeline}/{ref.environment} was not prepared")

    def _insist_held(self, spec: SlotSpec, what: str) -> _Slot:
        there = self.held.get(spec.ref)
        insist(there is not None and _same(there.spec, spec), what)
        return self.held[spec.ref]

    def _insist_image(self, spec: SlotSpec) -> None:
        if spec.image in self.gone:
            raise EngineFailed(f"the image {spec.image[:19]} is not on this machine any more.")
        if not kind_of(spec.ref.engine).local:
            if not spec.remote:
                raise EngineFailed(f"r{spec.release} was made before its pipeline had a registry.")
            self.logins[spec.remote] = spec.login()

    def _replicas(self, ref: SlotRef) -> tuple[Replica, ...]:
        there = self.held.get(ref)
        if there is None:
            return ()
        port, state = there.spec.config.service.port, "running" if there.alive else "exited"
        return tuple(
            Replica(f"{ref.environment}-{n}", host, port, there.spec.release, state, there.exit_code)
            for n, host in enumerate(_addresses(there.spec), 1)
        )

    def _servers(self, spec: SlotSpec) -> tuple[str, ...]:
        port = spec.config.service.port
        return tuple(server_name(spec.ref.index, spec.ref.slot, (host, port)) for host in _addresses(spec))


class OneEngine:
    """ports.Engines: the same engine under every key."""

    def __init__(self, adapter: WholeEngine, probe: Probe) -> None:
        self._engine = engine_of(adapter, probe)

    def of(self, key: str) -> Engine:  # noqa: ARG002
        return self._engine

    def in_use(self) -> tuple[str, ...]:
        return (DOCKER,)


class FakeProbe(Script):
    """See ``ports.Probe``: asks the FakeEngine that it was made with."""

    def __init__(self, engine: FakeEngine) -> None:
        super().__init__()
        self._engine = engine

    def get(self, route: Route, path: str, timeout: float) -> Answer:
        with self.call("get", route, path, timeout):
            index, _, slot = route.headers.get("X-Pushlive-Slot", "").partition("-")
            if slot:
                return self._engine.answer(int(index[1:]), slot, path)
            number = int(route.url.removeprefix("http://e").removesuffix(".fake"))
            return self._engine.answer(number, self._engine.active_at(number), path)

    def tcp(self, address: str, port: int, timeout: float) -> float:
        with self.call("tcp", address, port, timeout):
            for one in self._engine.held.values():
                if one.alive and one.spec.config.service.port == port and address in _addresses(one.spec):
                    return 0.001
            raise TryAgain(f"TCP {address}:{port}: connection refused, nothing listens there.")


def _key(ref: SlotRef) -> Key:
    return ref.pipeline, ref.environment


def _same(one: SlotSpec, two: SlotSpec) -> bool:
    """The same containers: another run of the same release finds them."""
    return replace(one, run=0) == replace(two, run=0)


def _memory(spec: SlotSpec) -> int:
    return spec.config.service.memory * spec.config.service.replicas


def _addresses(spec: SlotSpec) -> list[str]:
    base = {"blue": 1, "green": 16}[spec.ref.slot]
    return [f"10.0.{spec.ref.index}.{base + n}" for n in range(1, spec.config.service.replicas + 1)]
