"""What each replica is for, from the keeper's looks to what a person reads."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import pytest

from pipeline.domain.cost import load
from pipeline.domain.cost.load import Load, bucket
from pipeline.store.costs import Ledgers
from pipeline.store.costs.loads import DAY, DAYS, HOURS, Loads
from pipeline.store.facts import Facts
from tests.support.typed import typist

CONFIG = """\
costs: {currency: EUR, machines: {here: 744}}
pipelines:
  hello:
    environments:
      dev:
      live: {replicas: 3}   # two would do
"""
LIVE = ("hello", "live", "")
MIB = 1 << 20


@pytest.fixture
def world(make_world):
    world = make_world(CONFIG)
    world.push("one")
    return world


def looks(world, hours: float) -> None:
    for _ in range(round(hours * 12)):
        world.clock.sleep(300)
        world.jobs.cost.run()


def worked(world, days: int, cores: float = 0.3, replicas: int = 3) -> None:
    """So many days pass with that load, and half an hour of looks after them."""
    loads, part = Loads(world.store.facts), 6 * 3600
    one = Load(
        part, cores * part, replicas * part, 20 * MIB, 24 * MIB, replicas, buckets={bucket(cores): part}
    )
    for _ in range(days * 4):
        world.clock.sleep(part)
        loads.add({LIVE: one, (*LIVE[:2], load.ALL): Load(part, top=60 * MIB)}, world.clock.now())
    world.jobs.cost.run()
    looks(world, 0.5)


def costs(world) -> dict[tuple[str, str], float]:
    lines = world.commands.cost("hello")["lines"]
    return {(one["environment"], one["purpose"]): one["cost"] for one in lines}


def of_live(world) -> dict:
    return next(one for one in world.commands.cost()["replicas"] if one["environment"] == "live")


def test_a_day_of_looks_says_what_three_replicas_are_for(world):
    looks(world, 23)
    assert {purpose for _, purpose in costs(world)} == {"serving"}
    assert "when a day has been measured" in of_live(world)["text"]
    before = world.commands.cost()
    looks(world, 2)
    after, live = world.commands.cost(), of_live(world)
    found = costs(world)
    assert set(found) == {("dev", "serving"), *(("live", one) for one in ("serving", "redundancy", "idle"))}
    assert found["live", "idle"] == pytest.approx(found["live", "redundancy"])
    assert (live["serving"], live["redundancy"], live["idle"]) == (1, 1, 1)
    assert live["busy"] == pytest.approx(0.3, rel=load.ERROR)
    assert (live["measured"], live["highest_memory"]) == (25 * 3600 - 300, MIB)
    served = sum(one["cost"] for one in before["lines"] if one["environment"] == "live")
    assert sum(cost for (name, _), cost in found.items() if name == "live") > served
    assert after["total"] == pytest.approx(sum(one["cost"] for one in after["lines"]), abs=1e-4)


def test_what_a_person_reads(world):
    worked(world, 12)
    with typist(world) as mia:
        said = mia.types("cost", "hello").text
    assert "hello     live         idle" in said
    assert "hello/live has 3 replicas: 1 serves, 1 is redundancy, 1 has been idle for 13 days" in said
    assert "With one replica less: p95 load 16 % of the CPU" in said


def test_a_keeper_that_starts_again_and_a_clock_that_is_set_lose_no_load_and_count_none_twice(world):
    looks(world, 1)
    world.jobs = world.another_process()
    looks(world, 1)
    whole = sum(one[LIVE].seconds for _, one in Loads(world.store.facts).hours(0, world.clock.now()))
    for seconds in (7200, -7200, -60):
        world.clock.jump(seconds)
        world.jobs.cost.run()
    after = sum(one[LIVE].seconds for _, one in Loads(world.store.facts).hours(0, world.clock.now() + 9000))
    assert (whole, after) == (7200 - 300, whole)


def test_old_hours_become_days_and_nothing_is_lost(world):
    loads = Loads(world.store.facts)
    worked(world, 30)
    now = world.clock.now()
    seconds = sum(one[LIVE].seconds for _, one in loads.days(0, now))
    assert seconds == pytest.approx(30 * DAY, abs=3600)
    assert len(list(loads.hours(now - 30 * DAY, now))) <= (HOURS + 1) * 4 + 2
    world.clock.jump(DAYS * DAY)
    worked(world, 1)
    assert sum(LIVE in one for _, one in loads.days(0, world.clock.now())) < 30


def test_a_process_that_dies_while_a_day_is_put_together_counts_no_hour_twice(world, monkeypatch):
    loads = Loads(world.store.facts)
    worked(world, 8)
    before = sum(one[LIVE].seconds for _, one in loads.days(0, world.clock.now()))
    with monkeypatch.context() as patch:
        patch.setattr(Loads, "_remove", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            worked(world, 3)
    died = sum(one[LIVE].seconds for _, one in loads.days(0, world.clock.now()))
    worked(world, 1)
    after = sum(one[LIVE].seconds for _, one in loads.days(0, world.clock.now()))
    assert before <= died <= after
    assert after - before == pytest.approx(2 * DAY, abs=DAY)


def test_what_cannot_be_read_counts_as_not_measured(world):
    facts = world.store.facts
    hour = int(world.clock.now() // 3600)
    for text in ("nonsense", "[]", '{"a|b":"1"}', '{"a|b|c":"x"}'):
        facts.set(f"load:{hour}", text)
        assert [one for _, one in Loads(facts).hours(world.clock.now(), world.clock.now())] == [{}]
        assert world.commands.cost()["replicas"] == []


def test_thirty_pipelines_take_a_few_mebibytes(world):
    one = {
        (f"pipeline-{n}", name, process): Load(
            3600, 1234.567, 10800, 12345678, 23456789, 3, 2, {-30: 2000, -29: 1000, -28: 600}
        )
        for n in range(30)
        for name in ("dev", "qa", "live")
        for process in ("", load.ALL)
    }
    Loads(world.store.facts).add(one, world.clock.now())
    text = world.store.facts.get(f"load:{int(world.clock.now() // 3600)}")
    assert len(text) * (HOURS + 1) * 24 < 4 * MIB
    assert len(text) * DAYS < 7 * MIB


def test_without_what_a_cluster_uses_nothing_is_said_of_its_replicas(world, monkeypatch):
    taken = world.engine.taken
    monkeypatch.setattr(world.engine, "taken", lambda: tuple(replace(one, memory=0) for one in taken()))
    looks(world, 26)
    live = of_live(world)
    assert (live["serving"], live["measured"]) == (None, 0)
    assert live["text"].startswith("What hello/live uses is not known")
    assert set(costs(world)) == {("dev", "serving"), ("live", "serving")}
    assert world.commands.suggest("ann")["changes"] == []


def test_a_keeper_that_dies_at_any_write_of_a_look_counts_no_time_twice(world, monkeypatch):
    looks(world, 1)
    set_, writes = Facts.set, 0
    for died in range(4):
        left = died

        def dies(self: Facts, name: str, value: str) -> None:
            nonlocal left, writes
            if not left:
                raise ZeroDivisionError
            left, writes = left - 1, writes + 1
            set_(self, name, value)

        world.clock.sleep(60)
        with monkeypatch.context() as patch, suppress(ZeroDivisionError):
            patch.setattr(Facts, "set", dies)
            world.jobs.cost.run()
        world.jobs = world.another_process()
        world.clock.sleep(60)
        world.jobs.cost.run()
    assert writes
    now = world.clock.now()
    loads = dict(Loads(world.store.facts).hours(now - DAY, now))
    seconds = sum(one[LIVE].seconds for one in loads.values())
    measured = sum(one.seconds["docker"] for one in Ledgers(world.store.facts).hours(now - DAY, now))
    assert 3600 - 300 + 4 * 60 <= seconds <= measured <= 3600 - 300 + 8 * 60
    assert sum(sum(one[LIVE].buckets.values()) for one in loads.values()) == seconds
