"""A small machine: what is only kept warm gives way to what is to be started, the least important first."""

from __future__ import annotations

import pytest

from pipeline.domain.environment import SlotState
from pipeline.domain.run import Outcome
from pipeline.errors import EngineFailed

SHARE = 256 << 20  # bytes, the default of `memory`
WARM = """\
pipelines:
  hello:
    service: {health: /healthz, keep_warm: 10m}
    environments: {dev: , qa: , live: }
  shop:
    service: {health: /healthz, keep_warm: 10m}
    environments: {live: }
"""


@pytest.fixture
def small(make_world):
    """A machine with room for five slots."""
    world = make_world(WARM)
    world.engine.memory = 5 * SHARE
    return world


def slots(world, pipeline: str = "hello") -> dict[str, list[SlotState]]:
    records = world.store.environments(pipeline)
    return {name: sorted(one.state for one in record.slots.values()) for name, record in records.items()}


SERVING, BOTH = [SlotState.SERVING], [SlotState.SERVING, SlotState.WARM]


def test_the_default_keeps_only_live_warm(make_world) -> None:
    world = make_world("pipelines: {hello: {environments: {dev: , qa: , live: }}}")
    world.push("one")
    world.push("two")
    world.reconcile()
    assert slots(world) == {"dev": SERVING, "qa": SERVING, "live": BOTH}
    world.configure(
        "pipelines: {hello: {service: {keep_warm: 5m}, environments: {dev: , qa: {keep_warm: 0s}, live: }}}"
    )
    world.push("three")
    world.reconcile()
    assert slots(world) == {"dev": BOTH, "qa": SERVING, "live": BOTH}


def test_dev_gives_way_before_qa_and_both_before_live(small) -> None:
    assert small.push("one").outcome == Outcome.LIVE
    second = small.push("two")
    assert second.outcome == Outcome.LIVE
    assert slots(small) == {"dev": SERVING, "qa": BOTH, "live": BOTH}
    said = [event.text for event in small.events(second, "note") if "to make room" in event.text]
    text = "hello/dev r1 (blue) was only kept warm and was stopped to make room: a revert to it starts it again first"
    assert said == [text]
    third = small.push("three")
    assert third.outcome == Outcome.LIVE
    said = [event.text[:24] for event in small.events(third, "note") if "to make room" in event.text]
    assert said == ["hello/qa r1 (blue) was o", "hello/dev r2 (green) was"]
    assert slots(small) == {"dev": SERVING, "qa": BOTH, "live": BOTH}


def test_live_of_another_pipeline_gives_way_last_and_what_serves_never(small) -> None:
    small.engine.memory = 6 * SHARE
    small.push("one", "shop")
    small.push("two", "shop")
    assert slots(small, "shop") == {"live": BOTH}
    small.push("one")
    assert slots(small, "shop") == {"live": BOTH}
    assert small.push("two").outcome == Outcome.LIVE
    assert slots(small, "shop") == {"live": BOTH}, "dev and qa gave way before"
    small.engine.memory = 5 * SHARE
    assert small.push("three").outcome == Outcome.LIVE
    assert slots(small, "shop") == {"live": SERVING}
    small.engine.memory = 4 * SHARE
    failed = small.push("four")
    assert failed.outcome == Outcome.FAILED
    assert small.serving() == {"dev": 3, "qa": 3, "live": 3}
    assert small.serving("shop") == {"live": 2}


def test_a_slot_in_an_environment_where_another_run_is_at_work_is_left_to_it(small) -> None:
    small.push("one")
    begun = []

    def busy() -> None:
        begun.append(True)
        if len(begun) == 3:  # dev, qa, live: live does not fit
            small.store.leases.take("env:hello/dev", "somebody")

    small.engine.before("fits", busy, times=3)
    assert small.push("two").outcome == Outcome.LIVE
    assert slots(small) == {"dev": BOTH, "qa": SERVING, "live": BOTH}


def test_a_slot_that_cannot_be_stopped_is_said_and_the_next_one_gives_way(small) -> None:
    small.push("one")
    real = small.engine.stop
    stopped = []

    def stop(ref) -> None:
        stopped.append(ref.environment)
        if ref.environment == "dev":
            raise EngineFailed("the daemon is busy.")
        real(ref)

    small.engine.stop = stop
    second = small.push("two")
    assert second.outcome == Outcome.LIVE
    assert stopped == ["dev", "qa"]
    [said] = [event.text for event in small.events(second, "warning") if "give way" in event.text]
    assert said == "hello/dev r1 (blue) could not give way: the daemon is busy."
    assert slots(small)["dev"] == BOTH
