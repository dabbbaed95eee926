"""What a backup or a copy leaves when its process dies is taken away, and what is at work is not."""

from __future__ import annotations

import pytest

from pipeline.deploy.data.access import VolumeAccess
from pipeline.maintenance.workload.left_helpers import EVERY, LEFT
from tests.story.conftest import World
from tests.story.test_moves import DATA, KEEPING


@pytest.fixture
def world(make_world) -> World:
    one = make_world(KEEPING)
    one.push("one")
    one.engine.assisting["left"] = (DATA,)
    return one


def later(world: World, seconds: float) -> list[str]:
    world.clock.sleep(seconds)
    return world.jobs.left_helpers.run()


def test_it_goes_once_it_is_old(world: World) -> None:
    assert world.jobs.left_helpers.run() == []
    assert later(world, EVERY) == []
    [line] = later(world, LEFT)
    assert "left was left by a backup or a copy of hello/live/data" in line
    assert world.engine.assisting == {}
    assert later(world, LEFT) == []


def test_a_backup_at_work_keeps_its_own(world: World) -> None:
    world.jobs.left_helpers.run()
    access = VolumeAccess(world.store, world.clock)
    with access.reading(DATA):
        assert later(world, LEFT) == []
    with access.replacing(DATA):
        assert later(world, LEFT) == []
    assert world.engine.assisting == {"left": (DATA,)}
    assert later(world, LEFT) != []
