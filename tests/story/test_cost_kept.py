"""How what was measured is kept: small, for years, and as earlier versions wrote it."""

from __future__ import annotations

import random
from contextlib import suppress
from dataclasses import replace

import pytest

from pipeline.domain.cost.ledger import Account, Amount, Hour
from pipeline.domain.cost.taken import Size
from pipeline.errors import EngineAway, StoreUnavailable
from pipeline.store.costs import Ledgers

CONFIG = """
costs: {currency: EUR, machines: {here: 74.4}}
pipelines: {hello: {environments: {live: }}}
"""
DAY = 86400.0
BY_AN_EARLIER_VERSION = (
    '{"number":%d,"seconds":{"docker":3600.0},"sizes":{"docker":{"cores":2.0,"memory":4294967296}},'
    '"amounts":{"docker|hello|live|serving|":{"cores":360.0,"memory":3600.0,"count":3600.0}},'
    '"looked":{},"spent":{}}'
)


@pytest.fixture
def world(make_world):
    return make_world(CONFIG)


@pytest.fixture
def facts(world):
    return world.store.facts


def measured(facts, now: float, days: int) -> float:
    """So many days until now, as an earlier version kept them."""
    newest = int(now // 3600)
    for number in range(newest - days * 24, newest + 1):
        facts.set(f"cost:{number}", BY_AN_EARLIER_VERSION % number)
    facts.set("cost-newest", str(newest))
    facts.set("cost-began", repr(now - days * DAY))
    return now


def months(world) -> list[tuple[str, float]]:
    found = world.commands.cost_history(months=12)["months"]
    return [(one["month"], one["total"]) for one in found]


def keys(world, part: str) -> int:
    length = DAY if "day" in part else 3600.0
    newest = int(world.clock.now() // length)
    return sum(map(bool, world.store.facts.several([f"{part}{newest - n}" for n in range(24 * 110)])))


def test_months_of_an_earlier_version_become_days_and_their_sums_stay(world, facts):
    measured(facts, world.clock.now(), 100)
    before, hours = months(world), keys(world, "cost:")
    ledgers = Ledgers(facts)
    folded = 0
    while ledgers.fold(world.clock.now()):
        folded += 1
    assert 60 <= folded <= 66
    for old, new in zip(before, months(world), strict=True):
        assert new == (old[0], pytest.approx(old[1], abs=1e-4))
    assert keys(world, "cost:") < hours / 2
    assert 55 <= keys(world, "cost-day:") <= 62


def test_a_keeper_that_dies_at_any_write_loses_and_doubles_nothing(world, facts, monkeypatch):
    measured(facts, world.clock.now(), 40)
    before = months(world)
    write, remove = facts.set, facts.remove
    for allowed in (0, 1, 2, 13, 24, 25, 26):
        left = [allowed]

        def dying(act, left=left):
            def call(*given):
                if not left[0]:
                    raise StoreUnavailable("it died")
                left[0] -= 1
                act(*given)

            return call

        with monkeypatch.context() as patch:
            patch.setattr(facts, "set", dying(write))
            patch.setattr(facts, "remove", dying(remove))
            with suppress(StoreUnavailable):
                Ledgers(facts).fold(world.clock.now())
        for old, new in zip(before, months(world), strict=True):
            assert new == (old[0], pytest.approx(old[1], abs=1e-4))
    while Ledgers(facts).fold(world.clock.now()):
        pass
    assert keys(world, "cost-day:") >= 3


def test_the_keeper_folds_with_its_looks(world, facts):
    measured(facts, world.clock.now(), 40)
    for _ in range(10):
        world.clock.sleep(60)
        world.jobs.cost.run()
    assert keys(world, "cost-day:") >= 3


def test_an_hour_of_thirty_pipelines_in_three_environments_is_small(facts):
    chance = random.Random(1)
    amounts = {
        str(Account("docker", f"application-{number}", environment, purpose)): Amount(
            chance.lognormvariate(3, 2), chance.uniform(100, 2000), chance.uniform(3590, 3600)
        )
        for number in range(30)
        for environment in ("dev", "qa", "live")
        for purpose in ("serving", "warm")
    }
    ledgers, size = Ledgers(facts), {"docker": Size(8.0, 32 << 30)}
    hour = Hour(490000, {"docker": 3600.0}, size, amounts, looked={"docker": 490000 * 3600.0 + 3599})
    ledgers.put(hour)
    ledgers.put(Hour(490001))
    assert len(facts.get("cost:490000")) < 5000  # 3 MB in the month for which hours are kept
    [found] = ledgers.hours(490000 * 3600.0, 490001 * 3600.0)
    assert found.amounts.keys() == amounts.keys()
    assert all(abs(found.amounts[key].cores - one.cores) < 0.001 for key, one in amounts.items())
    assert found == replace(hour, amounts=found.amounts, looked={})


@pytest.mark.parametrize("text", ["z", "zzz", "z~~~", "{", "null"])
def test_what_cannot_be_read_counts_as_not_measured(world, facts, text):
    now = measured(facts, world.clock.now(), 2)
    facts.set(f"cost:{int(now // 3600) - 5}", text)
    facts.set(f"cost-day:{int(now // DAY) - 1}", text)
    found = world.commands.cost()
    assert any(one["purpose"] == "not measured" for one in found["lines"])


def test_what_is_stored_and_sent_costs_where_it_has_a_price(make_world):
    world = make_world(
        """
costs: {machines: {here: {monthly: 74.4, storage: 720000, traffic: 0.5}}}
pipelines: {hello: {service: {volumes: {data: /data}}, environments: {live: }}}
"""
    )
    world.push("one")
    world.jobs.volume_sizes.count()
    world.jobs.cost.run()
    ref = next(ref for ref, content in world.engine.contents.items() if not content.stopped)
    for number in range(1, 4):
        world.clock.sleep(60)
        world.engine.bytes[ref] = number << 30
        world.jobs.cost.run()
    lines = {one["purpose"]: one for one in world.commands.cost()["lines"]}
    assert lines["traffic"]["cost"] == pytest.approx(1.5)
    assert lines["traffic"]["sent_gib"] == pytest.approx(3.0)
    assert (lines["traffic"]["pipeline"], lines["traffic"]["environment"]) == ("hello", "live")
    world.engine.fail("sent", EngineAway("no proxy"), times=1)
    world.clock.sleep(60)
    world.jobs.cost.run()
    assert world.commands.cost()["lines"] != []
    world.clock.sleep(60)
    world.engine.bytes[ref] = 5 << 30
    world.jobs.cost.run()
    lines = {one["purpose"]: one for one in world.commands.cost()["lines"]}
    assert lines["traffic"]["sent_gib"] == pytest.approx(5.0)
    assert "not measured" not in lines
