"""The domain's story on strict fakes and a real store: every rule of who goes where, without Docker."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.adapters.fake import (
    FakeBuilder,
    FakeClock,
    FakeEngine,
    FakePost,
    FakeProbe,
    FakeQueue,
    FakeRepositories,
    FakeSource,
    OneEngine,
)
from pipeline.config.models import Config
from pipeline.config.place.repository import ConfigRepository, Place
from pipeline.config.settings import Settings
from pipeline.deploy.configuring.taking import Taking
from pipeline.deploy.data.moves import VolumeMoves
from pipeline.deploy.parity.looking import Looked, Looking
from pipeline.deploy.runner import Runner
from pipeline.deploy.services import services_on
from pipeline.domain.audit_chain import Who
from pipeline.domain.engine_types import SlotRef, SlotSpec
from pipeline.domain.environment import Environment
from pipeline.domain.events import Event, Said
from pipeline.domain.parity.by_hand import ByHand
from pipeline.domain.run import Push, Run
from pipeline.errors import DamagedRecord
from pipeline.lib.push_notes import Note, Update
from pipeline.maintenance.adopt import adopt
from pipeline.maintenance.fix import fix
from pipeline.maintenance.gc import gc
from pipeline.maintenance.job import Aside
from pipeline.maintenance.jobs import Jobs
from pipeline.maintenance.loop import Keeper
from pipeline.notify.delivery import Delivery
from pipeline.ports.adapters import Adapters
from pipeline.service.accessories import Accessories
from pipeline.service.app.backups import Backups
from pipeline.service.app.evidence import Evidence
from pipeline.service.baking import Baking
from pipeline.service.commands import Commands
from pipeline.service.sleep.sleeping import Sleeping
from pipeline.service.tools import Tools
from pipeline.service.visitors.maintenance import MaintenanceCommands
from pipeline.store import Store
from pipeline.store import store as stores
from pipeline.store.connection import Client
from tests.support.fake_store import client as fake_store
from tests.support.valkey import running

CONFIG = """\
pipelines:
  hello:
    service: {health: /healthz}
    smoke: [{get: /, contains: r}]
    environments: {dev: , qa: , live: {replicas: 2}}
"""


FAKE = os.environ.get("PUSHLIVE_TEST_STORE") == "fake"  # `scripts/test quick`


@pytest.fixture(scope="session")
def valkey() -> Iterator[str]:
    """The URL of a real store for the whole session. Every test has a prefix of its own in it, and test_store.py tests
    what is on disk after a crash."""
    with running() as url:
        yield url


@pytest.fixture(scope="session", autouse=True)
def fake_stores() -> Iterator[None]:
    """A store whose URL says so is in memory."""
    with fake_store.in_memory():
        yield


@pytest.fixture(scope="session")
def shared_store(request: pytest.FixtureRequest) -> str:
    """The store of what several tests share: in memory with ``FAKE``, else real."""
    return f"{fake_store.SCHEME}shared" if FAKE else request.getfixturevalue("valkey")


@pytest.fixture
def store_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """The test's store: in memory and its own with ``FAKE``, else real, and so is that of a test with the mark
    ``real_store``."""
    if not FAKE or request.node.get_closest_marker("real_store"):
        yield request.getfixturevalue("valkey")
        return
    url = f"{fake_store.SCHEME}{secrets.token_hex(4)}"
    yield url
    fake_store.end(url)


@pytest.fixture(autouse=True)
def connections(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What the test's stores have opened is closed with it. The garbage collector would do that in the middle of
    another test, and in any order: a socket that goes before its connection is a warning, so an error."""
    opened: list[Client] = []
    make = stores.connect

    def connecting(*arguments: Any, **named: Any) -> Client:
        opened.append(make(*arguments, **named))
        return opened[-1]

    monkeypatch.setattr(stores, "connect", connecting)
    yield
    for one in opened:
        one.close()


@pytest.fixture(autouse=True)
def nothing_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the keeper does in a thread happens within its round: what is counted or killed comes in one order, and
    nothing is at work once a test has ended."""
    monkeypatch.setattr(Aside, "begin", lambda _, act: act())


def go_on() -> bool:
    """The worker is not to stop."""
    return False


class Operations:
    """``service.operations.Operations`` on the fakes."""

    def __init__(self, world: World) -> None:
        self._world = world

    def doctor(self) -> list[dict[str, Any]]:
        return []

    def replaced(self) -> str:
        return self._world.replaced

    def gc(self, serving: frozenset[str] | None = None) -> tuple[Said, ...]:
        return gc(self._world.jobs, serving)

    def fix(self) -> tuple[str, ...]:
        return self._world.fix()

    def adopt(self, by: Who) -> tuple[str, ...]:
        return adopt(self._world.jobs, by)

    def message(self, repository: str, commit: str) -> str:
        return self._world.hosted.message(repository, commit)

    def output(self, ref: SlotRef, lines: int) -> tuple[str, ...]:
        return self._world.engine.logs(ref, lines)

    def head(self, repository: str, branch: str) -> str:
        return self._world.hosted.heads(repository).get(branch, "")

    def insist_on_commit(self, pipeline: str, commit: str) -> None:
        _, config = self._world.services.configurations.current()
        source = config.pipelines[pipeline].source
        if not source.url:
            self._world.source.commit(pipeline, source, commit)

    def scaled(self, ref: SlotRef) -> int:
        return self._world.engine.scaled(ref)

    def taking(self) -> Taking:
        return self._world.taking()

    def volumes(self) -> VolumeMoves:
        return VolumeMoves(self._world.services, self._world.adapters)

    def look(self, config: Config, pipeline: str, environment: str) -> Looked:
        return Looking(self._world.services, self._world.adapters).now(config, pipeline, environment)

    def compare(self, spec: SlotSpec) -> tuple[ByHand, ...]:
        return self._world.engine.drift(spec)


class World:
    """A service without processes: what workers and the keeper would do is done by calling ``work``."""

    def __init__(
        self, redis: str, data: Path, config: str = CONFIG, instance: str = "", place: Place | None = None
    ) -> None:
        self.settings = Settings(
            data=data,
            config=place or data / "pipelines.yaml",
            instance=instance or f"t{secrets.token_hex(4)}",
        )
        if place is None:
            self.configure(config)
        self.redis, self.store = redis, Store(redis, self.settings.instance)
        self.store.origin.mark()
        self.replaced = ""  # how the code of the service was, while it runs
        self.clock, self.queue = FakeClock(), FakeQueue()
        self.source, self.builder, self.engine = FakeSource(), FakeBuilder(), FakeEngine()
        self.engine.now = self.clock.now
        self.hosted = FakeRepositories(self.source)
        self.probe = FakeProbe(self.engine)
        self.engines = OneEngine(self.engine, self.probe)
        self.adapters = Adapters(self.source, self.builder, self.engines, self.clock, self.queue)
        self.services = services_on(self.store, self.settings)
        parts = (self.services, self.queue, self.clock, Operations(self))
        self.commands = Commands(*parts)
        self.tools = self.commands.tools = Tools(*parts, self.engines)
        self.accessories = self.commands.accessories = Accessories(*parts, self.engines)
        self.commands.baking = Baking(*parts)
        self.backups = self.commands.backups = Backups(*parts, lambda: self.adapters)
        self.sleeping = self.commands.sleeping = Sleeping(*parts, lambda: self.adapters)
        self.evidence = self.commands.evidence = Evidence(*parts, lambda: self.adapters)
        self.maintenance = MaintenanceCommands(*parts, lambda: self.adapters)
        self.commands.maintenance = self.maintenance
        self.runner = Runner(self.services, self.adapters, self.commands.accept, go_on)
        self.jobs = self.another_process()
        self.keeper = self.keeper_of(self.jobs)

    def taking(self) -> Taking:
        place = self.settings.config
        assert isinstance(place, ConfigRepository)
        return Taking(self.services, place, self.source, self.hosted, self.clock)

    def another_process(self, settings: Settings | None = None) -> Jobs:
        """The maintenance jobs of another process."""
        services = services_on(self.store, settings or self.settings)
        return Jobs(
            services,
            self.adapters,
            self.commands.accept,
            self.hosted,
            list,
            take_back=self.commands.baking.take_back,
        )

    def keeper_of(self, jobs: Jobs) -> Keeper:
        return Keeper(jobs, self.store, self.clock)

    def another_keeper(self) -> Keeper:
        """That of another process."""
        return self.keeper_of(self.another_process())

    def told(self) -> list[dict[str, Any]]:
        """The messages that wait, delivered to receivers that take them all."""
        post = FakePost()
        messenger = Delivery(self.store, post, self.clock, self.settings)
        while receivers := messenger.due():
            for receiver in receivers:
                messenger.deliver(receiver.id)
        return [json.loads(post.bodies[name]) for names in post.taken.values() for name in names]

    def reconcile(self) -> list[str]:
        return self.jobs.reconcile.run()

    def gc(self) -> tuple[str, ...]:
        return tuple(one.text for one in gc(self.jobs))

    def fix(self) -> tuple[str, ...]:
        return fix(self.jobs)

    def configure(self, text: str) -> None:
        self.settings.config.write_text(text)

    def heads(self, repository: str) -> dict[str, str]:
        return self.hosted.heads(repository)

    def commit(self, text: str = "", pipeline: str = "hello", files: dict[str, bytes] | None = None) -> str:
        """A commit that ann pushes; ``accept`` is what the hook does then."""
        commit = self.head(text, pipeline, files)
        updates = (Update("0" * 40, commit, "refs/heads/main"),)
        self.hosted.note(pipeline, Note(secrets.token_hex(16), "ann", "developer", "", updates))
        return commit

    def head(
        self,
        text: str = "",
        pipeline: str = "hello",
        files: dict[str, bytes] | None = None,
        branch: str = "main",
    ) -> str:
        """A head that was not pushed through the service."""
        content = {"Dockerfile": b"FROM scratch\n", "text": text.encode()}
        return self.source.push(pipeline, content if files is None else files, text or "a change", branch)

    def accept(self, commit: str, pipeline: str = "hello", delivery: str = "") -> Run:
        push = Push(pipeline, pipeline, "refs/heads/main", commit, delivery or secrets.token_hex(8), "ann")
        run = self.commands.accept(push).run
        for note in self.hosted.noted(pipeline):
            if any(update.after == commit for update in note.updates):
                self.hosted.forget(pipeline, note.push)
        return run

    def push(self, text: str = "", pipeline: str = "hello") -> Run:
        """A commit, accepted, and carried as far as it goes."""
        number = self.accept(self.commit(text or secrets.token_hex(4), pipeline), pipeline).number
        self.work(pipeline)
        return self.run(number, pipeline)

    def work(self, pipeline: str = "hello") -> None:
        """Until nothing is due; what is due later comes when its time has come."""
        while self.runner.work(pipeline) is not None or self._later(pipeline):
            pass

    def _later(self, pipeline: str) -> bool:
        for number in self.store.due(pipeline):
            with suppress(DamagedRecord):
                if self.run(number, pipeline).again > self.clock.now():
                    self.clock.sleep(0.5)
                    return True
        return False

    def run(self, number: int, pipeline: str = "hello") -> Run:
        return self.store.run(pipeline, number)

    def environment(self, name: str, pipeline: str = "hello") -> Environment:
        found = self.store.environment(pipeline, name)
        assert found is not None
        return found

    def serving(self, pipeline: str = "hello") -> dict[str, int | None]:
        return {name: e.serving for name, e in self.store.environments(pipeline).items()}

    def events(self, run: Run, kind: str = "") -> list[Event]:
        found = [event for _, event in self.store.events.read(run.id)]
        return [event for event in found if kind in ("", event.kind)]

    def revert(self, **what: object) -> Run:
        run = self.commands.revert("hello", "ann", **what)  # type: ignore[arg-type]
        self.work()
        return self.run(run.number)

    def break_app(self, release: int, path: str = "/") -> None:
        """From now on that release answers 500 there."""
        before = self.engine.answers

        def answers(spec: object, asked: str) -> object:
            answer = before(spec, asked)  # type: ignore[arg-type]
            bad = spec.release == release and asked == path  # type: ignore[attr-defined]
            return replace(answer, status=500, body=b"oops") if bad else answer

        self.engine.answers = answers  # type: ignore[assignment]


@pytest.fixture
def world(store_url: str, tmp_path: Path) -> World:
    return World(store_url, tmp_path)


@pytest.fixture
def make_world(store_url: str, tmp_path: Path):
    return lambda config=CONFIG, **more: World(store_url, tmp_path, config, **more)
