"""What becomes of connections that outlive a switch: `http.connections`."""

from __future__ import annotations

import pytest

from pipeline.adapters.fake import Killed
from pipeline.domain.engine_types import SlotRef

TEXT = """\
pipelines:
  hello:
    service: {health: /healthz, drain: 30s, keep_warm: 10m%s}
    environments: {dev: , live: }
"""


@pytest.fixture
def busy(world) -> SlotRef:
    """The warm slot of live, which still has three connections."""
    return after_two(world, "")


def after_two(world, more: str) -> SlotRef:
    world.configure(TEXT % more)
    world.push("one")
    world.push("two")
    ref = SlotRef("hello", "live", world.environment("live").index, "blue")
    world.engine.sessions(ref, 3)
    return ref


def test_they_move_to_the_release_that_serves_once_drain_is_over(world, busy) -> None:
    world.clock.sleep(29)
    world.reconcile()
    assert world.engine.open_sessions(busy) == 3
    world.clock.sleep(2)
    said = world.reconcile()
    assert world.engine.open_sessions(busy) == 0
    assert any("3 connections to the warm slot blue (r1) were closed" in line for line in said)
    assert busy in world.engine.contents  # it stays warm
    assert not any("connections" in line for line in world.reconcile())


def test_one_that_comes_back_later_is_closed_as_well(world, busy) -> None:
    world.clock.sleep(31)
    world.reconcile()
    world.engine.sessions(busy, 1)
    world.reconcile()
    assert world.engine.open_sessions(busy) == 0


def test_they_stay_as_long_as_the_release_is_warm_where_the_configuration_says_so(world) -> None:
    ref = after_two(world, ", http: {connections: keep}")
    world.clock.sleep(31)
    world.reconcile()
    assert world.engine.open_sessions(ref) == 3


def test_a_keeper_that_is_killed_meanwhile_is_followed_by_one_that_closes_them(world, busy) -> None:
    world.clock.sleep(31)
    world.engine.kill("drain")
    with pytest.raises(Killed):
        world.reconcile()
    world.reconcile()
    assert world.engine.open_sessions(busy) == 0
    assert busy in world.engine.contents


def test_after_a_revert_the_bad_release_keeps_none_for_longer_than_drain(world) -> None:
    after_two(world, "")
    world.revert()
    bad = SlotRef("hello", "live", world.environment("live").index, "green")
    world.engine.sessions(bad, 2)
    world.clock.sleep(31)
    world.reconcile()
    assert world.engine.open_sessions(bad) == 0
