"""A worker killed, or robbed of its lease, at every single one of its calls to the outside."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.domain.engine_types import CommandResult, Route
from tests.faults.picture import at_rest, picture, still_serves
from tests.faults.points import Points, carry, leases_end, worker
from tests.faults.snapshot import Snapshot
from tests.story.conftest import World

ONE = "pipelines: {hello: {service: {health: /healthz}, smoke: [{get: /, contains: r}], environments: {live: }}}"
TWO = ONE.replace("{live: }", "{dev: {keep_warm: 10m}, live: }")
MANUAL = ONE.replace("{live: }", "{live: {promote: manual}}")
PROCESSES = ONE.replace(
    "service: {",
    "service: {processes: {worker: {command: [./work], replicas: 2}, beat: {command: [./beat]}}, ",
)
ALONE = ONE.replace("service: {", "service: {one: true, ")
RELEASE = ONE.replace("service: {", "service: {release: [./migrate], ")
BACK = ONE.replace("service: {", "service: {release: {command: [./up], back: [./down]}, ")


@dataclass(frozen=True)
class Story:
    """``before`` brings the world to where it begins, ``fault`` changes what its fakes do from then on, ``ask`` makes
    one run due."""

    name: str
    config: str
    before: Callable[[World], object]
    ask: Callable[[World], object]
    fault: Callable[[World], object] = lambda _world: None


class Beginnings:
    """Worlds in which a story begins. What is before it is done once."""

    def __init__(self, story: Story, valkey: str, folder: Path) -> None:
        self._story, self._folder, self._made = story, folder, 0
        self.alone = story.config == ALONE
        world = World(valkey, folder, story.config)
        story.before(world)
        self._snapshot = Snapshot(world, valkey, story.config)
        world.store.client.close()

    def world(self) -> World:
        """One in which the run is due. The one before is over."""
        self._made += 1
        folder = self._folder / str(self._made)
        folder.mkdir()
        world = self._snapshot.world(folder)
        self._story.fault(world)
        self._story.ask(world)
        return world


def nothing(_world: World) -> None:
    return


def one(world: World) -> None:
    world.push("one")


def two(world: World) -> None:
    world.push("one")
    world.push("two")


def two_and_cold(world: World) -> None:
    two(world)
    world.clock.sleep(700)
    world.reconcile()


def push(world: World) -> None:
    world.accept(world.commit("next"))


def at_the_gate(world: World) -> None:
    one(world)
    world.commands.promote("hello", "ann")
    world.work()
    world.push("two")


def fails_its_smoke(world: World) -> None:
    world.break_app(2)


def fails_its_release_command(world: World) -> None:
    world.engine.commands = lambda spec, argv: CommandResult(3, "no such table\n", 0.1)


def fails_its_verification(world: World, first: int = 2) -> None:
    real = world.engine.public

    def public(spec: object) -> Route:
        route = real(spec)  # type: ignore[arg-type]
        return Route(route.url, {}, ("nobody",)) if spec.release >= first else route  # type: ignore[attr-defined]

    ask = world.probe.get

    def get(route: Route, *rest: object) -> object:
        world.clock.sleep(6 if route.expect == ("nobody",) else 0)  # all patience at once
        return ask(route, *rest)  # type: ignore[arg-type]

    world.engine.public, world.probe.get = public, get  # type: ignore[method-assign, assignment]


LOOKS = {
    "commit",
    "read",
    "tree",
    "follow",
    "newest_of",
    "written",
    "unsupported",
    "fits",
    "replicas",
    "processes",
    "missing_processes",
    "waited",
    "answered",
    "preview",
    "public",
    "get",
    "archive",
}
LONG = "PUSHLIVE_TEST_EXAMPLES" in os.environ  # stale workers at every point, not at every third
STORIES = [
    Story("push", TWO, one, push),
    Story("first push", ONE, nothing, push),
    Story("third push", ONE, two, push),
    Story("revert warm", ONE, two, lambda world: world.commands.revert("hello", "ann")),
    Story("revert cold", ONE, two_and_cold, lambda world: world.commands.revert("hello", "ann")),
    Story("waits at the gate", MANUAL, nothing, push),
    Story("promoted", MANUAL, at_the_gate, lambda world: world.commands.promote("hello", "ann")),
    Story("the same release", ONE, one, lambda world: world.commands.deploy("hello", "ann", release=1)),
    Story("release command", RELEASE, one, push),
    Story("failing release command", RELEASE, one, push, fails_its_release_command),
    Story("processes", PROCESSES, one, push),
    Story("failing process", PROCESSES, one, push, lambda world: world.engine.fragile.add("beat")),
    Story("one at a time", ALONE, one, push),
    Story("one at a time fails", ALONE, one, push, fails_its_smoke),
    Story("revert with back", BACK, two, lambda world: world.commands.revert("hello", "ann", back=True)),
    Story("failing smoke", ONE, one, push, fails_its_smoke),
    Story("failing verification", ONE, one, push, fails_its_verification),
    Story("first fails verification", ONE, nothing, push, lambda world: fails_its_verification(world, 1)),
]


@pytest.fixture(scope="module", autouse=True)
def scripts_are_loaded(valkey: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The store's first use of a script takes a request more, which would be a point more."""
    World(valkey, tmp_path_factory.mktemp("first"), RELEASE).push("one")


@pytest.fixture(autouse=True)
def the_same_points_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """How many lines of output go together depends on how fast the machine is, but not here."""
    monkeypatch.setattr("pipeline.deploy.run_context.FLUSH_EVERY", 1e9)


@pytest.fixture(params=STORIES, ids=lambda story: story.name)
def story(request: pytest.FixtureRequest) -> Story:
    return request.param  # type: ignore[no-any-return]


def looking(world: World, seen: list[str]) -> Callable[[str], None]:
    def look(point: str) -> None:
        if point not in LOOKS:
            seen.extend(f"{point}: {wrong}" for wrong in still_serves(world))

    return look


def undisturbed(beginnings: Beginnings, valkey: str) -> tuple[World, list[str]]:
    """The world as it ends by itself, and the points on the way."""
    first = Points()  # a server is told each script at its first use, which is a point that comes once
    carry(worker(beginnings.world(), valkey, first), first)
    world = beginnings.world()
    seen: list[str] = []
    points = Points(look=looking(world, seen))
    carry(worker(world, valkey, points), points)
    assert seen == []
    if beginnings.alone:
        world.reconcile()  # clears what gave way: it is never kept warm
    assert at_rest(world) == []
    assert world.reconcile() == []
    return world, points.passed


def ends_as(world: World, expected: dict[str, object], where: str) -> None:
    """One reconciliation at most, then everything is as it would have been and nothing is left to do."""
    said = world.reconcile()
    assert at_rest(world) == [], (where, said)
    assert world.reconcile() == [], where
    found = picture(world)
    assert {key: (found[key], value) for key, value in expected.items() if found[key] != value} == {}, where


def moments(passed: list[str], all_of_them: bool = False) -> list[tuple[int, str]]:
    """The points with their numbers; without those that follow a call that changed nothing outside, where it was the
    same moment already for everybody but the worker itself."""
    found = enumerate(passed)
    return [(n, name) for n, name in found if all_of_them or not n or passed[n - 1] not in LOOKS]


def test_fault_33_killed_at_every_point_it_ends_as_it_would_have(story, valkey, tmp_path):
    beginnings = Beginnings(story, valkey, tmp_path)
    calm, passed = undisturbed(beginnings, valkey)
    expected = picture(calm)
    for number, name in moments(passed):
        where = f"killed at {number}, {name}"
        world = beginnings.world()
        seen: list[str] = []
        points = Points(number, look=looking(world, seen))
        points.act = points.die
        assert carry(worker(world, valkey, points), points) is None, where
        leases_end(world)
        world.clock.sleep(10)
        if number % 2:  # whoever comes first
            world.reconcile()
        again = Points(look=looking(world, seen))
        carry(worker(world, valkey, again), again)
        assert seen == [], where
        ends_as(world, expected, where)
        world.store.client.close()


def test_fault_41_a_stale_worker_at_every_point_commits_nothing(story, valkey, tmp_path):
    beginnings = Beginnings(story, valkey, tmp_path)
    calm, passed = undisturbed(beginnings, valkey)
    expected = picture(calm)
    for number, name in moments(passed, LONG)[:: 1 if LONG else 3]:
        where = f"lost its lease at {number}, {name}"
        world = beginnings.world()
        seen: list[str] = []
        left = []

        def another_takes_over(world=world, seen=seen, left=left):
            leases_end(world)
            again = Points(look=looking(world, seen))
            carry(worker(world, valkey, again), again)
            left.append(everything(world))

        points = Points(number, another_takes_over, looking(world, seen))
        carry(worker(world, valkey, points), points)
        assert everything(world) == left[0], where
        assert seen == [], where
        ends_as(world, expected, where)
        world.store.client.close()


@pytest.mark.parametrize("name", ["first push", "third push", "revert warm"])
def test_fault_41_a_stale_worker_wakes_up_two_releases_later(name, valkey, tmp_path):
    [story] = [one for one in STORIES if one.name == name]
    beginnings = Beginnings(story, valkey, tmp_path)
    calm, passed = undisturbed(beginnings, valkey)
    two_releases_later(calm)
    expected = picture(calm)
    for number, name in moments(passed, LONG)[:: 1 if LONG else 3]:
        where = f"slept from {number}, {name}"
        world = beginnings.world()
        left = []

        def others_go_on(world=world, left=left):
            leases_end(world)
            world.work()
            two_releases_later(world)
            left.append(everything(world))

        points = Points(number, others_go_on)
        carry(worker(world, valkey, points), points)
        assert everything(world) == left[0], where
        ends_as(world, expected, where)
        world.store.client.close()


def two_releases_later(world: World) -> None:
    world.commands.resume("hello", "ann")
    world.work()
    world.push("later")
    world.push("much later")


def everything(world: World) -> dict[str, object]:
    """All that is committed: records and events, to the letter."""
    client, prefix = world.store.client, world.settings.instance
    found: dict[str, object] = {}
    for key in sorted(client.scan_iter(f"{prefix}:*")):
        kind = client.type(key)
        if kind == "hash":
            found[key] = client.hgetall(key)
        elif kind == "set":
            found[key] = client.smembers(key)
        elif kind == "stream":
            found[key] = client.xrange(key)
    return found
