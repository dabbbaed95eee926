"""Two hundred pushes to twenty pipelines at once, with whatever else people do and workers that die: the history is
judged afterwards."""

from __future__ import annotations

import itertools
import os
import random
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from pipeline.adapters.fake import Killed, OneEngine
from pipeline.deploy.runner import Runner
from pipeline.deploy.services import services_on
from pipeline.domain.engine_types import SlotRef
from pipeline.domain.run import Push, State
from pipeline.errors import RequestError
from pipeline.maintenance.jobs import Jobs
from pipeline.ports.adapters import Adapters
from tests.faults import checker
from tests.faults.histories import history
from tests.faults.picture import at_rest
from tests.faults.points import Pointed, Points, pointed_store
from tests.story.conftest import World, go_on

PIPELINES = tuple(f"app{number}" for number in range(20))
PUSHES = 10  # to each of them
WORKERS = 8
SENDERS = 4
DIES = 0.3  # of the times that a worker takes something up
SEED = int(os.environ.get("PUSHLIVE_TEST_SEED", "1"))
CONFIG = "pipelines:\n" + "".join(
    f"  {name}: {{service: {{health: /healthz, memory: 8MiB}}, environments: {{dev: , live: }}}}\n"
    for name in PIPELINES
)


class Many:
    """A world that many threads share. What they do to the fakes is done one after the other and written down."""

    def __init__(self, url: str, world: World) -> None:
        self.url, self.world = url, world
        self.lock, self.count = threading.RLock(), itertools.count()
        self.sent: list[dict[str, Any]] = []
        self.acts: list[dict[str, Any]] = []
        self.switches: list[dict[str, Any]] = []
        self.wrong: list[BaseException] = []
        self.over = threading.Event()

    def thread(self, act: Callable[[random.Random], None], seed: int) -> threading.Thread:
        def run() -> None:
            try:
                act(random.Random(seed))
            except BaseException as error:  # noqa: BLE001 - the test raises it
                self.wrong.append(error)

        one = threading.Thread(target=run, daemon=True)
        one.start()
        return one

    # ── the outside, shared ──────────────────────────────────────────────────

    def parts(self, points: Points, chance: random.Random, who: str = "") -> Adapters:
        world = self.world
        ports = (world.source, world.builder, world.engine, world.probe)
        source, builder, *engine = (Pointed(_Shared(self, port, chance, who), points) for port in ports)
        return Adapters(source, builder, OneEngine(*engine), world.clock, world.queue)  # type: ignore[arg-type]

    def written_down(self, name: str, first: Any, who: str) -> dict[str, Any] | None:
        """An act on the Engine, by the run that the spec names or the keeper; its end is filled in later."""
        ref = first if isinstance(first, SlotRef) else getattr(first, "ref", None)
        if ref is None or name not in ("start", "ready", "expose", "switch", "stop", "drain", "restore"):
            return None
        run = who or (f"{ref.pipeline}#{first.run}" if ref is not first else "")
        act = {
            "pipeline": ref.pipeline,
            "environment": ref.environment,
            "run": run,
            "begin": next(self.count),
        }
        return act if run else None

    def switched(self, spec: Any) -> None:
        ref = spec.ref
        holder = self.world.store.leases.holder(f"env:{ref.pipeline}/{ref.environment}")
        row = {"pipeline": ref.pipeline, "environment": ref.environment, "holder": holder}
        self.switches.append({**row, "run": spec.run, "release": spec.release})

    # ── those who work ───────────────────────────────────────────────────────

    def worker(self, chance: random.Random) -> None:
        while not self.over.is_set():
            name = f"w{next(self.count)}"
            points = Points(chance.randrange(120) if chance.random() < DIES else -1)
            points.act = points.die
            store = pointed_store(self.url, self.world.settings.instance, points)
            services = services_on(store, self.world.settings)
            runner = Runner(services, self.parts(points, chance), self.world.commands.accept, go_on)
            try:
                if not runner.work(chance.choice(PIPELINES), worker=name):
                    time.sleep(0.002)
            except Killed:
                self.falls_silent(name)
            store.client.close()

    def falls_silent(self, name: str) -> None:
        """What the dead worker held is freed, as it is once it has been silent for long enough."""
        leases = self.world.store.leases
        held = tuple(leases.beats())
        mine = [lease for lease in held if lease.startswith("run:") and leases.holder(lease) == name]
        runs = {lease.removeprefix("run:") for lease in mine}
        theirs = [lease for lease in held if lease.startswith("env:") and leases.holder(lease) in runs]
        for lease in (*theirs, *mine):
            leases.free_silent(lease, leases.beats().get(lease, ""))

    def keeper(self, chance: random.Random) -> None:
        world, points = self.world, Points()
        parts = self.parts(points, chance, "keeper")
        while not self.over.is_set():
            commands = world.commands
            back = commands.baking.take_back
            jobs = Jobs(world.services, parts, commands.accept, world.hosted, list, take_back=back)
            jobs.reconcile.run()
            time.sleep(0.02)

    # ── those who push, and ask for things ───────────────────────────────────

    def sender(self, mine: tuple[str, ...]) -> Callable[[random.Random], None]:
        def send(chance: random.Random) -> None:
            plan = [name for name in mine for _ in range(PUSHES)]
            chance.shuffle(plan)
            for name in plan:
                self.pushes(name, chance)
                if chance.random() < 0.4:
                    self.asks(name, chance)
                time.sleep(chance.random() * 0.04)

        return send

    def pushes(self, name: str, chance: random.Random) -> None:
        kind = chance.choice(["plain", "plain", "plain", "twice", "forced", "late"])
        before = [row for row in self.sent if row["pipeline"] == name]
        if kind == "forced" and before:
            commit = chance.choice(before)["commit"]
            with self.lock:
                self.world.source.repositories[name].heads["main"] = commit
            self.deliver(name, commit, forced=True)
            return
        older = self.commit(name) if kind == "late" else ""
        commit = self.commit(name)
        self.deliver(name, commit)
        if kind == "twice":
            self.deliver(name, commit, self.sent_last(name)["delivery"])
        if older:
            self.deliver(name, older)

    def commit(self, name: str) -> str:
        with self.lock:
            return self.world.commit(f"{next(self.count)}", name)

    def sent_last(self, name: str) -> dict[str, Any]:
        return next(row for row in reversed(self.sent) if row["pipeline"] == name)

    def deliver(self, name: str, commit: str, delivery: str = "", forced: bool = False) -> None:
        delivery = delivery or f"d{next(self.count)}"
        push = Push(name, name, "refs/heads/main", commit, delivery, "ann", forced=forced)
        answer = self.world.commands.accept(push)
        row = {"pipeline": name, "commit": commit, "delivery": delivery, "status": 202}
        self.sent.append({**row, "run": answer.run.number, "duplicate": answer.duplicate})

    def asks(self, name: str, chance: random.Random) -> None:
        desk = self.world.commands
        number = max(1, self.world.store.last_run(name) - chance.randrange(3))
        wishes: list[Callable[[], object]] = [
            lambda: desk.revert(name, "ann"),
            lambda: desk.hold(name, "bo"),
            lambda: desk.resume(name, "bo"),
            lambda: desk.resume(name, "bo"),
            lambda: desk.cancel(name, number, "bo"),
        ]
        with suppress(RequestError):  # refused: nothing has happened
            chance.choice(wishes)()


class _Shared:
    """A fake for many threads: one call at a time, each with a little time around it for others to come in between."""

    def __init__(self, many: Many, port: Any, chance: random.Random, who: str) -> None:
        self._many, self._port, self._chance, self._who = many, port, chance, who

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any, **named: Any) -> Any:
            act = self._many.written_down(name, arguments[0] if arguments else None, self._who)
            if self._chance.random() < 0.2:
                time.sleep(self._chance.random() * 0.003)
            try:
                with self._many.lock:
                    if name == "switch":
                        self._many.switched(arguments[0])
                    return getattr(self._port, name)(*arguments, **named)
            finally:
                if act:
                    self._many.acts.append({**act, "end": next(self._many.count)})

        return call


def drained(many: Many) -> None:
    """Everybody has stopped: what is due is carried, what is held is let go. A head that was superseded by a late
    delivery of an older commit, which somebody then cancelled, is found by the keeper alone."""
    world = many.world
    for name in PIPELINES:
        with suppress(RequestError):
            world.commands.resume(name, "bo")
    for _ in range(4):
        for name in PIPELINES:
            world.work(name)
        world.clock.sleep(10)
        world.keeper.tick()
    world.keeper.stop()


def test_fault_09_35_two_hundred_pushes_to_twenty_pipelines_at_once(valkey, tmp_path):
    many = Many(valkey, World(valkey, tmp_path, CONFIG))
    others = [many.thread(many.worker, SEED * 100 + number) for number in range(WORKERS)]
    others.append(many.thread(many.keeper, SEED * 100 + 50))
    senders = [many.thread(many.sender(PIPELINES[n::SENDERS]), SEED * 100 + 60 + n) for n in range(SENDERS)]
    for one in senders:
        one.join(120)
    many.over.set()
    for one in others:
        one.join(60)
    for error in many.wrong:
        raise error
    drained(many)
    found = history(many.world.store, PIPELINES, many.sent, many.world.engine)
    heads = [{"pipeline": name, "commit": many.world.heads(name)["main"]} for name in PIPELINES]
    assert checker.judge({**found, "heads": heads, "acts": many.acts, "switches": many.switches}) == []
    assert [wrong for name in PIPELINES for wrong in at_rest(many.world, name)] == []
    assert len(many.sent) >= len(PIPELINES) * PUSHES
    assert all(run["state"] != State.RUNNING for run in found["runs"])
