"""What a month has cost, from pushes to the sum, over hours and a keeper that starts again."""

from __future__ import annotations

import csv
import io
import json

import pytest

from pipeline.errors import EngineAway, NotFound, RequestError
from tests.support.typed import typist

CONFIG = """
costs: {currency: EUR, machines: {here: 74.4}}
pipelines: {hello: {environments: {dev: , live: }}}
"""


def minutes(world, number: int) -> None:
    for _ in range(number):
        world.clock.sleep(60)
        world.jobs.cost.run()


def costs(world, pipeline: str = "") -> dict[tuple[str, str], float]:
    lines = world.commands.cost(pipeline)["lines"]
    return {(one["environment"], one["purpose"]): one["cost"] for one in lines}


@pytest.fixture
def world(make_world):
    return make_world(CONFIG)


def test_nothing_is_measured_yet(world):
    found = world.commands.cost()
    assert (found["began"], found["lines"], found["total"]) == (None, [], 0)


def test_what_serves_and_what_is_warm_pay_their_part_and_the_rest_is_idle(world):
    world.push("one")
    world.jobs.cost.run()
    minutes(world, 5)
    assert set(costs(world)) == {("dev", "serving"), ("live", "serving"), ("", "idle")}
    world.push("two")
    minutes(world, 5)
    found = costs(world)
    assert ("live", "warm") in found
    assert found["live", "serving"] > found["live", "warm"] > 0
    assert found["", "idle"] > sum(cost for (name, _), cost in found.items() if name)
    assert world.commands.cost()["total"] == pytest.approx(sum(found.values()), abs=1e-5)
    assert set(costs(world, "hello")) == {key for key in found if key[0]}


def test_by_the_end_of_the_month_it_is_the_same_share_of_the_rest(world):
    world.push("one")
    world.jobs.cost.run()
    minutes(world, 5)
    found = world.commands.cost()
    length, left = found["until"] - found["since"], found["until"] - found["now"]
    assert found["projected"] == pytest.approx(found["total"] + 74.4 * left / length, abs=1e-4)
    by = {one["purpose"]: one["projected"] for one in found["lines"]}
    assert by["idle"] > by["serving"] > 0
    later = world.commands.cost(month="2000-01")
    assert (later["lines"], later["projected"]) == ([], 0)


def test_a_keeper_that_starts_again_goes_on_and_a_time_without_one_is_said(world):
    world.push("one")
    world.jobs.cost.run()
    minutes(world, 3)
    world.jobs = world.another_process()
    minutes(world, 3)
    assert ("", "not measured") not in costs(world)
    world.clock.sleep(3600)
    minutes(world, 2)
    found = costs(world)
    assert found["", "not measured"] > found["", "idle"] > 0


def test_an_engine_that_does_not_answer_is_not_measured(world):
    world.push("one")
    world.jobs.cost.run()
    minutes(world, 2)
    before = costs(world)["live", "serving"]
    world.engine.fail("taken", EngineAway("no answer"), times=10)
    minutes(world, 11)
    found = costs(world)
    assert found["live", "serving"] == before
    assert found["", "not measured"] > 0


def test_a_clock_that_is_set_never_makes_a_negative_sum(world):
    world.push("one")
    world.jobs.cost.run()
    for seconds in (-7200, 7200, -60, 86400):
        minutes(world, 3)
        world.clock.jump(seconds)
        world.jobs.cost.run()
    minutes(world, 3)
    assert all(cost >= 0 for cost in costs(world).values())


def test_engines_without_a_price_and_wrong_questions(make_world):
    world = make_world("pipelines: {hello: {environments: {live: }}}")
    assert world.commands.cost()["missing"] == [
        "docker has no price in `costs.machines`, so what runs there costs nothing here"
    ]
    with pytest.raises(NotFound):
        world.commands.cost("other")
    for more in ({"month": "soon"}, {"zone": "Mars"}):
        with pytest.raises(RequestError):
            world.commands.cost(**more)
    for ask in (world.commands.cost, world.commands.cost_rows):
        with pytest.raises(RequestError, match="2099-12 has not begun"):
            list(ask(month="2099-12"))


def test_environments_are_in_the_order_of_the_file(make_world):
    world = make_world(
        "costs: {machines: {here: 9}}\npipelines: {hello: {environments: {dev: , qa: , live: }}}"
    )
    world.push("one")
    minutes(world, 3)
    lines = [one for one in world.commands.cost("hello")["lines"] if one["purpose"] == "serving"]
    assert [one["environment"] for one in lines] == ["dev", "qa", "live"]


def test_months_as_rows_and_one_as_csv_have_the_sums_of_the_table(world):
    world.push("one")
    world.jobs.cost.run()
    minutes(world, 5)
    world.clock.jump(40 * 86400)
    minutes(world, 5)
    with typist(world) as mia:
        table, history, shown, rows = (
            mia.types("cost", *more) for more in ((), ("--history",), ("--history", "--json"), ("--csv",))
        )
        one = mia.types("cost", "hello", "--history", "3", "--json")
        wrong = [
            mia.types("cost", *more.split())
            for more in ("--history 0", "--history 121", "--history soon", "--csv --json", "--csv --history",
                         "--history --month 2026-11")
        ]  # fmt: skip
    assert table.code == history.code == shown.code == rows.code == 0
    months = json.loads(shown.text)["months"]
    total = world.commands.cost()["total"]
    assert [len(months), months[-1]["total"]] == [2, pytest.approx(total, abs=1e-5)]
    assert sum(months[-1]["purposes"].values()) == pytest.approx(total, abs=1e-5)
    assert f"{total:.2f}" in history.text
    assert months[-1]["month"] in history.text
    found = list(csv.DictReader(io.StringIO(rows.text)))
    assert sum(float(row["BilledCost"]) for row in found) == pytest.approx(total, abs=1e-4)
    mine = json.loads(one.text)["months"][-1]
    assert mine["total"] == pytest.approx(months[-1]["pipelines"]["hello"])
    assert [answer.code for answer in wrong] == [2] * 6


def test_before_anything_is_measured_there_are_no_months(world):
    assert world.commands.cost_history()["months"] == []
    with typist(world) as mia:
        assert "Nothing has a cost yet" in mia.types("cost", "--history").text


def test_time_asleep_costs_nothing_and_is_shown(world):
    world.push("one")
    world.jobs.cost.run()
    minutes(world, 5)
    before = costs(world)
    assert ("dev", "asleep") not in before
    world.sleeping.put_to_sleep("hello", "ann", environment="dev")
    minutes(world, 60)
    (line,) = [one for one in world.commands.cost()["lines"] if one["purpose"] == "asleep"]
    assert (line["environment"], line["cost"], line["core_hours"], line["gib_hours"]) == ("dev", 0, 0, 0)
    assert line["hours"] == pytest.approx(1.0)
    assert costs(world)["dev", "serving"] == before["dev", "serving"]
    world.sleeping.wake("hello", "ann", environment="dev")
    minutes(world, 5)
    assert costs(world)["dev", "serving"] > before["dev", "serving"]
