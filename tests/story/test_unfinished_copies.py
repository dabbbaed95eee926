"""Data of which a copy was broken off: nothing starts with them unsaid, and the same command finishes it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from pipeline.adapters.fake.engine_state import EMPTY
from pipeline.adapters.fake.script import Killed
from pipeline.deploy.data.moves import VolumeMoves
from pipeline.deploy.data.unfinished import FACT, unfinished
from pipeline.deploy.services import services_on
from pipeline.domain.audit_chain import Actor
from pipeline.domain.run import Outcome, Run
from pipeline.errors import AccessoryFailed, EngineFailed, NotFound, RequestError
from pipeline.maintenance.doctor import volumes as doctor
from pipeline.service.accessories import Accessories
from pipeline.service.tools import Asked
from tests.faults.points import Points, pointed_adapters, pointed_store
from tests.story.conftest import Operations, World
from tests.story.test_moves import (
    DATA,
    KEEPING,
    MOVED,
    NEW,
    OLD,
    OTHER_DB,
    RENAMED,
    TAR,
    move,
    move_db,
)

ADA = Actor("ada", "maintainer")
AGAIN = "pushlive volume mv hello/live/data shop/live/data --yes hello/live/data"
AGAIN_DB = "pushlive accessory mv shop-db live store-db --yes shop-db/live"
LOADED = KEEPING.replace("volume: /data,", "volume: /data, backup: {run: [dump], restore: [load]},")
REPLACED = KEEPING.replace("volume: /data,", "volume: /data, backup: {run: [dump]},")


@pytest.fixture
def world(make_world) -> World:
    return stocked(make_world(KEEPING))


def stocked(one: World) -> World:
    assert one.push("one").outcome == Outcome.LIVE
    one.engine.stored |= {DATA: TAR, OLD.volume: TAR}
    return one


def broken_off(world: World) -> None:
    """A move of a volume dies while it copies."""
    world.configure(RENAMED)
    world.gc()
    world.engine.kill("copying")
    with pytest.raises(Killed):
        world.commands._operations.volumes().move(DATA, MOVED, [].append)
    assert world.engine.stored[MOVED] == EMPTY


def reason(run: Run) -> str:
    assert run.outcome == Outcome.FAILED
    return f"{run.reason} {run.card}" if hasattr(run, "card") else run.reason


# ── the move of a volume ─────────────────────────────────────────────────────


def test_a_push_does_not_start_with_half_of_the_files(world: World) -> None:
    broken_off(world)
    run = world.push("two", "shop")
    assert "shop/live/data does not have all data of hello/live/data yet" in reason(run)
    assert not [ref for ref in world.engine.contents if ref.pipeline == "shop"]
    assert any(AGAIN in str(event) for event in world.events(run))
    assert move(world)[-1] == "Removed the volume hello/live/data."
    assert unfinished(world.store) == ()
    assert world.push("three", "shop").outcome == Outcome.LIVE
    assert (world.engine.stored.get(DATA), world.engine.stored[MOVED]) == (None, TAR)


def test_it_is_named_wherever_one_looks(world: World) -> None:
    broken_off(world)
    [shown] = world.commands.status("shop")["pipelines"][0]["environments"][0]["unfinished"]
    assert (shown["volume"], shown["command"], shown["at_work"]) == ("shop/live/data", AGAIN, False)
    assert "was broken off" in shown["text"]
    assert any(AGAIN in line for line in world.commands.plan(RENAMED)["pipelines"]["shop"]["live"])
    [listed] = world.commands.volumes("shop")["volumes"]
    assert "does not have all data of hello/live/data" in listed["unfinished"]
    [check] = doctor.examine(world.store)
    assert (check["ok"], check["name"]) == (False, "volume shop/live/data")
    assert AGAIN in check["advice"]
    assert [line for line in world.jobs.unfinished.run() if AGAIN in line]
    assert world.jobs.unfinished.run() == []  # once


def test_neither_a_backup_nor_a_restore_takes_it_for_whole(world: World) -> None:
    broken_off(world)
    with pytest.raises(RequestError, match="does not have all data"):
        next(world.commands.volume_files("shop", "live", "data", "ada"))
    with pytest.raises(RequestError, match="does not have all data"):
        world.commands.restore_volume("shop", "live", "data", "ada", [TAR])
    assert world.engine.stored[MOVED] == EMPTY


def test_what_it_waits_for_is_not_removed(world: World) -> None:
    broken_off(world)
    with pytest.raises(RequestError, match="does not have all data") as raised:
        world.commands.remove_volume("hello", "live", "data", "ada")
    assert AGAIN in raised.value.advice
    assert world.engine.stored[DATA] == TAR


@pytest.mark.parametrize("made", [True, False])
def test_it_is_given_up_with_the_new_volume(world: World, made: bool) -> None:
    broken_off(world)
    if not made:
        del world.engine.stored[MOVED]
    world.commands.remove_volume("shop", "live", "data", "ada")
    assert world.push("two", "shop").outcome == Outcome.LIVE
    assert world.engine.stored[DATA] == TAR
    with pytest.raises(NotFound):
        world.commands.remove_volume("shop", "live", "other", "ada")


def test_one_that_failed_says_why(world: World) -> None:
    world.configure(RENAMED)
    world.gc()
    world.engine.fail("copying", EngineFailed("no space left on device."))
    with pytest.raises(EngineFailed):
        move(world)
    assert "failed: no space left on device" in reason(world.push("two", "shop"))
    move(world)
    assert world.push("three", "shop").outcome == Outcome.LIVE


def test_one_that_was_refused_keeps_nothing_out(world: World) -> None:
    world.configure(RENAMED)
    world.gc()
    world.engine.stored[MOVED] = TAR.replace(b"x", b"z")
    with pytest.raises(RequestError, match="has files of its own"):
        move(world)
    assert unfinished(world.store) == ()
    assert world.push("two", "shop").outcome == Outcome.LIVE


def test_one_that_died_at_its_very_end_is_settled_by_the_keeper(world: World) -> None:
    world.configure(RENAMED)
    world.gc()
    world.engine.kill("remove_volume", after=True)
    with pytest.raises(Killed):
        world.commands._operations.volumes().move(DATA, MOVED, [].append)
    [line] = world.jobs.unfinished.run()
    assert "the move of it is done" in line
    assert unfinished(world.store) == ()


def test_one_that_died_at_its_very_end_may_be_repeated(world: World) -> None:
    world.configure(RENAMED)
    world.gc()
    world.engine.kill("remove_volume", after=True)
    with pytest.raises(Killed):
        world.commands._operations.volumes().move(DATA, MOVED, [].append)
    assert move(world) == ["shop/live/data has all files of hello/live/data, which is removed already."]
    with pytest.raises(NotFound):
        move(world)


def test_a_record_of_them_that_cannot_be_read_starts_nothing(world: World) -> None:
    world.store.facts.set(FACT, "{}")
    run = world.push("two")
    assert "not as Pushlive writes it" in reason(run)
    [check] = doctor.examine(world.store)
    assert not check["ok"]
    assert world.commands.status("hello")["pipelines"][0]["environments"][0]["unfinished"] == []


# ── everything that starts ───────────────────────────────────────────────────


def test_nothing_that_serves_is_started_again_with_it(world: World) -> None:
    """The volume was lost, and its restore with it."""
    lost(world)
    [ref] = [one for one in world.engine.contents if one.pipeline == "hello"]
    world.engine.vanish(ref)
    world.reconcile()
    assert ref not in world.engine.contents
    with pytest.raises(RequestError, match="does not have all data of the backup yet"):
        world.tools.run_command("hello", ADA, Asked(("ls",)), environment="live")
    with pytest.raises(RequestError, match="does not have all data of the backup yet"):
        world.tools.restart("hello", "ada", environment="live")
    world.commands.restore_volume("hello", "live", "data", "ada", [TAR], stop=True)
    world.reconcile()
    assert world.engine.contents[ref].alive
    assert world.engine.stored[DATA] == TAR


def lost(world: World) -> None:
    del world.engine.stored[DATA]
    world.engine.kill("ensure_volume", after=True)
    with pytest.raises(Killed):
        world.commands.restore_volume("hello", "live", "data", "ada", [TAR], stop=True)


def test_a_volume_with_files_has_all_of_one_kind_and_that_is_said(world: World) -> None:
    world.engine.kill("importing")
    with pytest.raises(Killed):
        world.commands.restore_volume("hello", "live", "data", "ada", [TAR], stop=True)
    [line] = world.jobs.unfinished.run()
    assert "has all its files of before, or all of the backup" in line
    assert unfinished(world.store) == ()
    assert world.push("two").outcome == Outcome.LIVE


# ── accessories ──────────────────────────────────────────────────────────────


def test_no_push_makes_an_accessory_that_is_being_moved(world: World) -> None:
    world.configure(OTHER_DB)
    world.engine.kill("copying")
    with pytest.raises(Killed):
        world.accessories._move(OLD, NEW, "ada", [].append)
    run = world.push("two")
    assert "store-db/live/data does not have all data of shop-db/live/data yet" in reason(run)
    assert any(AGAIN_DB in str(event) for event in world.events(run))
    assert NEW not in world.engine.running
    with pytest.raises(RequestError, match="does not have all data"):
        world.accessories.start("store-db", "ada", environment="live", as_it_is=True)
    [row] = [one for one in world.accessories.overview() if one["name"] == "store-db"]
    assert "does not have all data" in row["unfinished"]
    with pytest.raises(RequestError, match="does not have all data"):
        world.accessories.remove("shop-db", "ada", environment="live")
    move_db(world)
    assert world.push("three").outcome == Outcome.LIVE
    assert world.engine.stored[NEW.volume] == TAR


def test_half_a_dump_is_not_served_unsaid(make_world) -> None:
    world = stocked(make_world(LOADED))
    world.engine.kill("load_accessory")
    with pytest.raises(Killed):
        world.backups.restore_accessory("shop-db", "live", "ada", [TAR])
    run = world.push("two")
    assert "shop-db/live/data does not have all data of the backup yet" in reason(run)
    with pytest.raises(RequestError, match="does not have all data"):
        world.accessories.restart("shop-db", "ada", environment="live")
    world.jobs.accessories.run()
    [shown] = world.commands.status("hello")["pipelines"][0]["environments"][0]["accessories"]
    assert "does not have all data" in shown["problem"]
    world.accessories.start("shop-db", "ada", environment="live", as_it_is=True)
    assert world.push("three").outcome == Outcome.LIVE


def test_a_load_that_failed_is_told_to_the_person_and_keeps_nothing_out(make_world) -> None:
    world = stocked(make_world(LOADED))
    world.engine.fail("load_accessory", EngineFailed("syntax error."))
    with pytest.raises(EngineFailed):
        world.backups.restore_accessory("shop-db", "live", "ada", [TAR])
    assert world.push("two").outcome == Outcome.LIVE


def test_a_lost_accessory_does_not_begin_empty(make_world) -> None:
    world = stocked(make_world(REPLACED))
    del world.engine.stored[OLD.volume]
    del world.engine.running[OLD]
    world.engine.kill("importing")
    with pytest.raises(Killed):
        world.backups.restore_accessory("shop-db", "live", "ada", [TAR])
    world.jobs.accessories.run()
    assert OLD not in world.engine.running
    with pytest.raises(AccessoryFailed, match="does not have all data of the backup yet"):
        raise_problem(world)
    world.backups.restore_accessory("shop-db", "live", "ada", [TAR])
    assert (world.engine.stored[OLD.volume], world.engine.running[OLD].alive) == (TAR, True)


def raise_problem(world: World) -> None:
    record = world.store.accessories.get("shop-db", "live")
    world.jobs.accessories._care.keep(record, None, None)


def test_an_upgrade_that_is_taken_back_does_not_run_with_the_wrong_image(world: World) -> None:
    world.configure(KEEPING.replace("postgres:15", "postgres:16"))
    list(world.accessories.upgrade("shop-db", "ada", environment="live"))
    world.engine.stored[OLD.volume] = TAR + EMPTY
    world.engine.kill("import_volume", after=True)
    with pytest.raises(Killed):
        world.accessories._take_back(OLD, "ada", [].append)
    world.jobs.accessories.run()
    assert not world.engine.running[OLD].alive
    list(world.accessories.upgrade("shop-db", "ada", environment="live", back=True))
    found = world.engine.running[OLD]
    assert (found.alive, found.spec.config.image) == (True, "postgres:15")
    assert world.engine.stored[OLD.volume] == TAR
    assert unfinished(world.store) == ()


# ── killed at every write ────────────────────────────────────────────────────


@contextmanager
def another_process(world: World, at: int) -> Iterator[tuple[Points, Accessories, VolumeMoves]]:
    """One that dies at that point."""
    points = Points(at)
    points.act = points.die
    store = pointed_store(world.redis, world.settings.instance, points)
    services, adapters = services_on(store, world.settings), pointed_adapters(world, points)
    acts = Accessories(services, world.queue, world.clock, Operations(world), adapters.engines)
    acts._operations.volumes = lambda: VolumeMoves(services, adapters)  # type: ignore[method-assign]
    try:
        yield points, acts, VolumeMoves(services, adapters)
    finally:
        store.client.close()
        for name, beat in world.store.leases.beats().items():
            world.store.leases.free_silent(name, beat)


def at_every_point(
    make_world: Callable[[str], World],
    config: str,
    act: Callable[[Accessories, VolumeMoves], None],
    judge: Callable[[World], None],
) -> None:
    number, died = 0, True
    while died:
        world = stocked(make_world(KEEPING))
        world.configure(config)
        world.gc()
        with another_process(world, number) as (points, acts, moves), suppress(Killed):
            act(acts, moves)
        died = points.dead
        judge(world)
        number += 1
    assert number > 10


@pytest.mark.long
def test_a_move_that_is_killed_at_any_point_never_lets_a_release_begin_empty(make_world) -> None:
    def judge(world: World) -> None:
        begun = bool(unfinished(world.store)) or world.engine.stored.get(MOVED) == TAR
        run = world.push("two", "shop") if begun else None
        if run and run.outcome == Outcome.LIVE:
            assert world.engine.stored[MOVED] == TAR
        elif run:
            assert "does not have all data" in reason(run) or "which is still there" in reason(run)
        with suppress(NotFound):
            move(world)
        assert (world.engine.stored.get(DATA), world.engine.stored[MOVED]) == (None, TAR)
        assert world.push("three", "shop").outcome == Outcome.LIVE
        assert unfinished(world.store) == ()

    at_every_point(make_world, RENAMED, lambda _, moves: moves.move(DATA, MOVED, [].append), judge)


@pytest.mark.long
def test_the_move_of_an_accessory_that_is_killed_at_any_point_never_lets_one_begin_empty(make_world) -> None:
    def judge(world: World) -> None:
        old = world.store.accessories.get("shop-db", "live")
        if old is None or old.stopped:  # it has begun
            run = world.push("two")
            there = world.engine.running.get(NEW)
            assert there is None or world.engine.stored[NEW.volume] == TAR
            if run.outcome != Outcome.LIVE:
                assert "does not have all data" in reason(run)
        with suppress(NotFound):
            move_db(world)
        assert world.push("three").outcome == Outcome.LIVE
        assert (world.engine.stored.get(OLD.volume), world.engine.stored[NEW.volume]) == (None, TAR)
        assert unfinished(world.store) == ()

    at_every_point(make_world, OTHER_DB, lambda acts, _: acts._move(OLD, NEW, "ada", [].append), judge)
