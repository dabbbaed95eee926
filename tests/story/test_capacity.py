"""What machines have left, from looks to forecasts, over weeks and a keeper that starts again."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace

import pytest

from pipeline.domain.cost.taken import Size
from pipeline.domain.sleep.records import Asleep
from pipeline.errors import EngineAway
from pipeline.maintenance.doctor import capacity as doctor
from pipeline.store import Transaction
from pipeline.store.capacity import OUTLOOK, Rooms

URL = "https://hooks.example.com/x"
CONFIG = f"""
notify: [{{url: "{URL}"}}]
costs: {{currency: EUR, machines: {{here: 12.50}}}}
pipelines: {{hello: {{service: {{memory: 256MiB, cpu: 0.5}}, environments: {{dev: , live: {{replicas: 2}}}}}}}}
"""
GIB, DAY = 1 << 30, 86400.0
ENGINES = frozenset({"docker"})


@pytest.fixture
def world(make_world):
    return make_world(CONFIG)


def used(world, gib: float, **more) -> None:
    room = world.engine.has_room
    world.engine.has_room = replace(room, disk_free=room.disk - int(gib * GIB), **more)


def days(world, number: int, grows: float = 0.0, begin: float = 40.0, step: float = 14400.0) -> None:
    """So many days with looks; the disk grows by so many GiB a day."""
    for n in range(int(number * DAY / step)):
        used(world, begin + grows * n * step / DAY)
        world.clock.sleep(step)
        world.jobs.room.look()


def minutes(world, number: int) -> None:
    for _ in range(number):
        world.clock.sleep(60)
        world.jobs.cost.run()


def machine(world) -> dict:
    (one,) = world.commands.capacity()["machines"]
    return one


def warnings(world) -> list[dict]:
    return list(doctor.examine(world.services, ENGINES, world.clock.now()))


def messages(world) -> list[str]:
    return [one["text"] for one in world.told() if one["event"] == "filling"]


def test_a_new_installation_says_what_it_does_not_know_yet(world):
    one = machine(world)
    assert (one["looked"], one["has"]["memory"], one["fits"]["more"]) == (None, None, None)
    assert "has not looked at it yet" in one["unknown"][0]
    world.jobs.room.look()
    one = machine(world)
    assert one["has"] == {"cores": 2.0, "memory": 8 * GIB, "disk": 100 * GIB}
    assert one["trend_from"] > one["looked"] + 5 * DAY - 1
    assert any("no pipeline was measured" in text for text in one["unknown"])
    assert warnings(world) == []


def test_what_is_promised_taken_warm_and_free(world):
    world.push("one")
    world.jobs.room.look()
    world.jobs.cost.run()
    minutes(world, 5)
    one = machine(world)
    assert (one["name"], one["monthly"], one["pipelines"]) == ("here", 12.5, 1)
    assert one["promised"] == {"cores": 1.5, "memory": 3 * 256 << 20}
    assert set(one["taken"]) == {"serving"}
    before = one["taken"]["serving"]
    world.push("two")
    minutes(world, 5)
    one = machine(world)
    assert one["promised"]["memory"] == 6 * 256 << 20  # what is warm as well: two in live, and one in dev
    assert one["taken"]["warm"]["cores"] > 0
    assert one["idle"]["cores"] == pytest.approx(
        2.0 - sum(each["cores"] for each in one["taken"].values()), abs=1e-3
    )
    assert one["used"] == {"cores": 0.5, "memory": 4 * GIB, "disk": 40 * GIB}
    assert before["memory"] == 3 << 20


def test_how_many_more_fit_and_what_is_short_first(world):
    world.push("one")
    world.jobs.room.look()
    world.jobs.cost.run()
    minutes(world, 5)
    fits = machine(world)["fits"]
    # 0.3 of 1.8 cores are taken by one pipeline; 60 of 100 GiB are free, and it takes 15.
    assert (fits["by"]["cores"], fits["by"]["disk"]) == (4, 3)
    assert fits["by"]["memory"] > 100
    assert (fits["more"], fits["first"]) == (3, "disk")
    assert machine(world)["step"] == (
        "the disk would have to grow first; one more machine like it costs 12.50 EUR a month, with room for about "
        "4 pipelines"
    )
    world.configure(CONFIG.replace("costs: {currency: EUR, machines: {here: 12.50}}", ""))
    assert "no price in `costs.machines`" in machine(world)["step"]


def test_what_others_take_of_the_machine_does_not_fit_again(world):
    """A burst is no hour: the load counts as the average of its looks."""
    world.push("one")
    world.jobs.cost.run()
    minutes(world, 5)
    loads = [0.5, 2.5, 0.6]
    for load in loads:
        used(world, 40, load=load)
        world.jobs.room.look()
    one = machine(world)
    assert one["busiest"] == {"cores": pytest.approx(1.2), "memory": 4 * GIB}
    assert one["fits"]["by"]["cores"] == 2  # of 1.8 cores 1.2 are taken, and a pipeline takes 0.3
    used(world, 40, load=20.0)
    for _ in range(3):
        world.clock.sleep(3600)
        world.jobs.room.look()
    assert machine(world)["fits"]["more"] == 0


def test_what_sleeps_is_not_promised(world):
    world.push("one")

    def sleep(tx: Transaction) -> None:
        tx.put_environment(replace(world.environment("dev"), asleep=Asleep(1, 0.0, "no request for 30m")))

    world.store.transact("hello", sleep)
    assert machine(world)["promised"] == {"cores": 1.0, "memory": 2 * 256 << 20}


def test_a_disk_that_fills_up_is_said_a_week_ahead_and_told_once(world):
    world.push()
    days(world, 8, grows=2.0, begin=60.0)
    assert warnings(world) == []
    days(world, 6, grows=2.0, begin=76.0)
    (one,) = warnings(world)
    assert one["name"] == "disk of this machine"
    assert one["ok"]
    assert one["text"].startswith("the disk of this machine will be full in about ")
    assert "it grows by 2 GiB a day since 2027-01-1" in one["text"]
    assert "images 12 GiB" in one["text"]
    assert "`pushlive gc`" in one["advice"]
    (shown,) = world.commands.capacity()["shortages"]
    assert (shown["engine"], shown["what"], shown["text"]) == ("docker", "disk", one["text"])
    assert world.commands.measurements().shortages == {("docker", "disk"): shown["at"]}
    days(world, 1, grows=2.0, begin=88.0)
    world.jobs = world.another_process()
    days(world, 1, grows=2.0, begin=90.0)
    told = messages(world)
    assert len(told) == 1
    assert told[0].startswith("the disk of this machine will be full in about 7 days")
    used(world, 30)
    for _ in range(3):
        days(world, 1, begin=30.0)
    assert warnings(world) == []


def test_swings_within_a_day_are_no_trend(world):
    for n in range(15 * 4):
        used(world, 60 + 38 * (n % 4) / 3, load=2.0 * (n % 4) / 3, memory=7 * GIB * (n % 4) // 3)
        world.clock.sleep(21600)
        world.jobs.room.look()
    assert warnings(world) == []


def test_memory_and_load_are_foretold_as_well(world):
    for n in range(10 * 4):
        day = n // 4
        used(world, 40, load=1.0 + 0.08 * day, memory=int((5 + 0.25 * day) * GIB))
        world.clock.sleep(21600)
        world.jobs.room.look()
    found = {one["name"]: one for one in warnings(world)}
    assert set(found) == {"memory of this machine", "load of this machine"}
    assert all("`pushlive capacity`" in one["advice"] for one in found.values())


def test_an_engine_that_does_not_answer_leaves_a_gap_and_no_false_alarm(world):
    days(world, 6, grows=0.5)
    world.engine.fail("room", EngineAway("no answer"), times=1000)
    days(world, 5)
    one = machine(world)
    assert any("it was looked at last 5 d ago" in text for text in one["unknown"])
    assert one["used"]["disk"] is not None  # as it was
    assert warnings(world) == []
    world.engine.fail("room", None, times=0)


def test_a_clock_that_is_set_breaks_nothing(world):
    days(world, 7, grows=0.5)
    for seconds in (-3 * DAY, 30 * DAY, -29 * DAY, 400 * DAY, -390 * DAY):
        world.clock.jump(seconds)
        world.jobs.room.look()
        world.commands.capacity()
        assert warnings(world) == []


def test_an_account_that_may_not_ask_and_a_disk_of_no_bytes(world, monkeypatch):
    monkeypatch.setattr(type(world.engine), "machine_size", lambda _: None)
    world.engine.has_room = replace(
        world.engine.has_room, disk=0, disk_free=0, memory=None, load=None, takers={}
    )
    world.push("one")
    world.jobs.room.look()
    days(world, 1, begin=0)
    one = machine(world)
    assert one["has"] == {"cores": None, "memory": None, "disk": 0}
    assert one["fits"]["more"] is None
    assert one["step"] == ""
    assert warnings(world) == []
    monkeypatch.setattr(type(world.engine), "machine_size", lambda _: Size(0.0, 0))
    world.jobs.room.look()
    assert machine(world)["fits"]["more"] is None


def test_no_pipelines(make_world):
    world = make_world("pipelines: {}")
    world.jobs.room.look()
    assert machine(world)["fits"] == {"more": None, "by": {}, "first": "", "size": None}
    assert world.commands.capacity()["data"]["disk"] > 0


def test_an_engine_that_is_not_in_use_any_more_is_not_shown_and_is_forgotten_after_a_month(
    world, monkeypatch
):
    rooms = Rooms(world.store.facts)
    world.jobs.room.look()
    rooms.add("docker:ssh://old", world.engine.has_room, None, world.clock.now())
    outlook = json.loads(world.store.facts.get(OUTLOOK))
    outlook["looked"]["docker:ssh://old"] = world.clock.now()
    world.store.facts.set(OUTLOOK, json.dumps(outlook))
    days(world, 29, step=DAY / 2)
    assert [one["engine"] for one in world.commands.capacity()["machines"]] == ["docker"]
    assert rooms.series("docker:ssh://old") is not None
    days(world, 3, step=DAY / 2)
    assert rooms.series("docker:ssh://old") is None


@pytest.mark.parametrize("text", ["{", "[]", '{"began": 1}', '{"at": 1, "shortages": [{"what": 1}]}'])
def test_what_cannot_be_read_is_measured_again(world, text):
    for name in ("capacity:docker", "capacity-now:docker", OUTLOOK):
        world.store.facts.set(name, text)
    assert world.commands.capacity()["shortages"] == []
    assert world.commands.measurements().shortages == {}
    world.jobs.room.look()
    assert machine(world)["has"]["cores"] == 2.0


def test_a_keeper_that_dies_at_any_write_loses_no_hour(world, monkeypatch):
    """A look is two writes; whichever is the last one, the next look goes on from there."""
    days(world, 1, step=1800)
    facts = type(world.store.facts)
    whole = facts.set
    for failing in range(3):
        calls = iter(range(100))

        def dies(self, name, value, calls=calls, failing=failing):
            if next(calls) == failing:
                raise EngineAway("killed")
            whole(self, name, value)

        monkeypatch.setattr(facts, "set", dies)
        world.clock.sleep(3600)
        with suppress(EngineAway):
            world.jobs.room.look()
        monkeypatch.setattr(facts, "set", whole)
        world.jobs.room.look()
    hours = Rooms(world.store.facts).series("docker").hours
    assert [one.at for one in hours] == list(range(hours[0].at, hours[0].at + len(hours)))
