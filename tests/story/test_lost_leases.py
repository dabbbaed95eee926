"""What people and the keeper do to engines ends with the lease under which it is done."""

from __future__ import annotations

import pytest

from pipeline.adapters.fake.engine_state import EMPTY
from pipeline.deploy.heartbeat import fenced
from pipeline.domain.accessories import AccessoryRef
from pipeline.domain.slots import slot_ref
from pipeline.domain.volumes import VolumeRef
from pipeline.errors import TryAgain
from pipeline.ports.clock import Deadline
from pipeline.ports.terminal import SessionRecord
from tests.story.test_stale import given_back, lose

CONFIG = """\
accessories:
  shop-db: {image: "postgres:15", port: 5432, ready: 2s}
pipelines:
  hello:
    uses: {db: shop-db}
    service: {health: /healthz, replicas: 2, volumes: {data: /data}}
    environments: {live: }
"""
DB, DATA = AccessoryRef("shop-db", "live"), VolumeRef("hello", "live", "data")
TAR = b"x" * 257 + b"ustar" + b"y" * 250 + EMPTY


@pytest.fixture
def world(make_world):
    world = make_world(CONFIG)
    world.push("one")
    return world


def names_after(world, act):
    """The calls to the engine that the act made before it was told that another process has taken over."""
    before = len(world.engine.calls)
    with pytest.raises(TryAgain, match="another process has taken over"):
        act()
    return [name for name, _ in world.engine.calls[before:]]


def test_a_restart_ends_between_two_replicas(world):
    told = []

    def act():
        for lines in world.tools.restart("hello", "bo", environment="live"):
            if lines and not told:
                lose(world, "env:hello/live")
            told.extend(lines)

    real = world.engine.restart_slot

    def one_after_the_other(spec, mark, emit, watch):
        def lost_then(event):
            emit(event)
            lose(world, "env:hello/live")

        real(spec, mark, lost_then, watch)

    world.engine.restart_slot = one_after_the_other
    names_after(world, act)
    assert [line.partition(" ")[2] for line in told] == ["was restarted"]
    assert [one.pipeline for one in world.store.sessions.all()[0]] == [
        "hello"
    ]  # what is left is the keeper's to end


@pytest.mark.parametrize("at", ["pause", "stop"])
def test_a_restore_replaces_nothing_without_the_lease(world, at):
    world.engine.stored[DATA] = TAR
    world.engine.before(at, lambda: lose(world, "env:hello/live"))
    other = TAR.replace(b"x", b"z")

    def act():
        world.commands.restore_volume("hello", "live", "data", "ada", [other], stop=True)

    called = names_after(world, act)
    assert called[-1] == at
    assert world.engine.stored[DATA] == TAR
    given_back(world, "env:hello/live")
    world.reconcile()
    environment = world.environment("live")
    assert world.engine.serving(slot_ref(environment, "blue")) == environment.active


@pytest.mark.parametrize("act", ["restart", "apply", "start"])
def test_an_accessory_is_left_alone_without_its_lease(world, act):
    call = {"restart": "restart_accessory", "apply": "replace_accessory", "start": "keep_accessory"}[act]
    world.configure(CONFIG.replace("postgres:15", "postgres:16"))
    world.engine.running[DB].alive = False
    world.engine.before(call, lambda: lose(world, "accessory:shop-db/live"))
    called = names_after(world, lambda: getattr(world.accessories, act)("shop-db", "bo", environment="live"))
    assert called[-1] == call
    assert (world.engine.running[DB].alive, world.engine.running[DB].made) == (False, 1)


def test_the_keeper_leaves_an_environment_that_another_has_taken(world):
    ref = slot_ref(world.environment("live"), "blue")
    world.engine.vanish(ref)
    world.engine.before("missing", lambda: lose(world, "env:hello/live"))
    before = len(world.engine.calls)
    assert world.reconcile() == []
    assert world.engine.calls[before:][-1][0] == "missing"


def test_gc_forgets_no_environment_that_another_has_taken(world):
    world.configure("pipelines: {}\n")
    world.engine.before("remove", lambda: lose(world, "env:hello/live"))
    said = world.gc()
    assert any("another process has taken over hello/live" in text for text in said), said
    assert world.store.environment("hello", "live") is not None


def test_room_is_not_made_in_an_environment_that_another_has_taken(make_world):
    world = make_world(
        "pipelines:\n"
        "  hello: {service: {memory: 100MiB}, environments: {live: {keep_warm: 1h}}}\n"
        "  other: {service: {memory: 100MiB}, environments: {live: }}\n"
    )
    world.push("one")
    world.push("two")
    world.engine.memory = 250 << 20
    world.engine.before("drain", lambda: lose(world, "env:hello/live"))
    before = len(world.engine.calls)
    world.push("one", "other")
    warm = slot_ref(world.environment("live"), "blue")
    assert world.engine.contents[warm].alive
    assert "drain" in [name for name, _ in world.engine.calls[before:]]
    assert ("stop", (warm,)) not in world.engine.calls[before:]


def test_a_command_of_a_backup_ends_with_its_lease(make_world):
    world = make_world(
        "pipelines: {hello: {service: {volumes: {data: {path: /data, before_backup: [./freeze]}}},"
        " environments: {live: }}}"
    )
    world.push("one")
    world.engine.stored[DATA] = TAR
    world.engine.before("command", lambda: lose(world, "backup:hello/live"))
    called = names_after(world, lambda: list(world.commands.volume_files("hello", "live", "data", "ada")))
    assert "export_volume" not in called


def test_a_watch_of_a_call_looks_at_the_leases(world):
    asked = []
    engine = fenced(world.adapters.engines.of("docker"), lambda: asked.append(1))
    environment = world.environment("live")
    engine.traffic.drain(slot_ref(environment, "green"), 0.0, Deadline(world.clock, 5.0))
    assert len(asked) >= 2  # before the call, and by its watch


def test_what_is_left_of_a_command_on_an_engine_that_is_gone_is_forgotten_and_said(world):
    record = SessionRecord("a1", "hello", "live", 0, "blue", "docker:ssh://gone", by="bo")
    world.store.sessions.put(record)
    [said] = world.jobs.left_sessions.run()
    assert "nothing uses the engine docker:ssh://gone any more" in said
    assert not list(world.store.sessions.all()[0])
    assert world.jobs.left_sessions.run() == []
