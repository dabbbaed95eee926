"""A month of 31 days: what metering, ledger, projection and caps make of nights, weekends, growth and a viral day."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline.adapters.fake import OneEngine
from pipeline.config.engines import DOCKER
from pipeline.deploy.sleep.sleeper import Sleeper
from pipeline.domain.cost.cap import CENT
from pipeline.domain.run import Outcome
from pipeline.ports.engine import Engine
from pipeline.store.costs.caps import Caps
from tests.support.month_of_load import BEGIN, DAY, END, LoadedMetering

pytestmark = pytest.mark.long

CONFIG = """
costs:
  machines: {{here: 30, node: {{monthly: 24, kubernetes: }}}}
  {caps}
pipelines:
  shop:
    environments: {{dev: {{sleep_after: 1h}}, qa: {{sleep_after: 1h}}, live: {{replicas: {replicas}}}}}
  store:
    registry: registry.example.com/store
    environments:
      dev: {{engine: kubernetes, sleep_after: 1h}}
      live: {{engine: kubernetes, replicas: 2}}
"""
LOOK = 300.0  # seconds: as far apart as looks may be


class TwoEngines(OneEngine):
    """A machine and a cluster with the same fake behind them, each with the containers of its pipeline."""

    def __init__(self, world) -> None:
        super().__init__(world.engine, world.probe)
        self._of = {key: self._loaded(world, key, pipeline) for key, pipeline in PLACES.items()}

    def _loaded(self, world, key: str, pipeline: str) -> Engine:
        def taken():
            return tuple(one for one in world.engine.taken() if one.pipeline == pipeline)

        load = LoadedMetering(taken, world.clock.now, cluster=key != DOCKER)
        return replace(super().of(key), metering=load)

    def of(self, key: str) -> Engine:
        return self._of[key]

    def in_use(self) -> tuple[str, ...]:
        return tuple(self._of)


PLACES = {DOCKER: "shop", "kubernetes": "store"}


@pytest.fixture
def begin(make_world):
    def made(caps: str = "", replicas: int = 2):
        world = make_world(CONFIG.format(caps=caps, replicas=replicas))
        world.clock.jump(BEGIN - world.clock.now())
        engines = TwoEngines(world)
        world.adapters = replace(world.adapters, engines=engines)
        world.engines, world.runner._adapters = engines, world.adapters
        world.jobs = world.another_process()
        for pipeline in PLACES.values():
            assert world.push("one", pipeline).outcome == Outcome.LIVE
        world.jobs.cost.run()
        return world

    return made


def pass_time(world, until: float) -> None:
    while world.clock.now() < until:
        world.clock.sleep(min(LOOK, until - world.clock.now()))
        world.jobs.cost.run()


def sums(world) -> dict[str, float]:
    """By the end of the month: in all, and of each pipeline."""
    costs = world.services.configurations.current()[1].costs
    standing = Caps(world.store).standing(costs, world.clock.now())
    return {name: standing.sum(name, None).projected for name in ("", *PLACES.values())}


def test_from_the_seventh_day_on_the_projection_is_within_a_tenth_of_what_the_month_costs(begin):
    world = begin()
    projected = list[dict[str, float]]()
    for day in range(1, 31):
        pass_time(world, BEGIN + day * DAY)
        projected.append(sums(world))
    pass_time(world, END - 1)
    turned_out = sums(world)
    assert len({round(one[""], 2) for one in projected}) > 1  # nodes came and went
    for day, one in enumerate(projected[6:], 7):
        for name, cost in one.items():
            assert cost == pytest.approx(turned_out[name], rel=0.1), (day, name)


def asleep(world) -> set[str]:
    every = (one for name in PLACES.values() for one in world.store.environments(name).values())
    return {one.id for one in every if one.asleep}


def wake(world) -> None:
    """People come to work."""
    for pipeline in PLACES.values():
        for one in world.store.environments(pipeline).values():
            engine = world.engines.of(one.engine)
            Sleeper(world.services, engine, world.clock, None).wake(one, "a request")


LARGER = {8: 3, 12: 4, 16: 6, 24: 8}  # replicas of live that are asked for on that day
SAME = (10, 18, 26, 28)  # days of a push that changes the text alone


def configure(world, more: str, replicas: int) -> None:
    world.configure(CONFIG.format(caps=more, replicas=replicas))
    world.jobs.configuration.run()


def test_the_cap_is_passed_by_nothing_that_may_give_way_and_live_is_left_alone(begin):
    more = "pipelines: {shop: 10}\n  give_way: [dev, qa]"
    world = begin(more)
    outcomes, slept, replicas = dict[int, Outcome | None](), set[str](), 2
    for day in range(1, 31):
        pass_time(world, BEGIN + day * DAY)
        for _ in range(3):  # as many as may give way, and one that tells
            world.jobs.caps.run()
        sleeping, before = asleep(world), sums(world)["shop"]
        slept |= sleeping
        assert before <= 10.0 + CENT or {"shop/dev", "shop/qa"} <= sleeping, day
        if day in LARGER:
            configure(world, more, LARGER[day])
            outcomes[day] = world.push(f"more {day}", "shop").outcome
            admitted = outcomes[day] == Outcome.LIVE
            replicas = LARGER[day] if admitted else replicas
            # One that is refused before live has woken dev and qa on its way.
            assert not admitted or sums(world)["shop"] <= max(before, 10.0) + CENT
            configure(world, more, replicas)
        if day in SAME:
            assert world.push(f"fix {day}", "shop").outcome == Outcome.LIVE
        slept |= asleep(world)
        wake(world)
    run = world.commands.revert("shop", "ann")
    world.work("shop")
    assert world.run(run.number, "shop").outcome == Outcome.LIVE
    assert outcomes[8] == Outcome.LIVE
    assert outcomes[24] == Outcome.FAILED
    assert slept == {"shop/dev", "shop/qa"}  # live never did, and the sum of store has no cap


def test_more_on_a_cluster_raises_the_bill_and_more_on_a_machine_does_not(begin):
    more = "cap: 31"  # the machine alone costs 30
    world = begin(more)
    pass_time(world, BEGIN + 6 * 3600)
    assert sums(world)[""] > 31
    configure(world, more, 3)
    assert world.push("more of shop", "shop").outcome == Outcome.LIVE
    assert world.push("the same of store", "store").outcome == Outcome.LIVE
    world.configure(
        CONFIG.format(caps=more, replicas=3).replace("kubernetes, replicas: 2", "kubernetes, replicas: 3")
    )
    world.jobs.configuration.run()
    run = world.push("more of store", "store")
    assert run.outcome == Outcome.FAILED
    assert "EUR for the month in all; its cap is 31.00 EUR" in run.failure.message
    assert "Raise `costs.cap` in pipelines.yaml" in run.failure.advice
