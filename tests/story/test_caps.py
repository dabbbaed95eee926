"""A month has a cap: what is refused beyond it, and what never is."""

from __future__ import annotations

import json

import pytest

from pipeline.adapters.fake.script import Killed
from pipeline.deploy.sleep.sleeper import Sleeper
from pipeline.domain.cost.cap import Resize
from pipeline.domain.run import Outcome, State
from pipeline.errors import AppFailed
from pipeline.store.costs.caps import BY_CAP, Caps
from pipeline.store.facts import Facts

CONFIG = """
notify: [{{url: "http://localhost:9/x"}}]
costs: {{currency: EUR, machines: {{here: 100}}, {caps}}}
pipelines:
  hello:
    environments: {{dev: {dev}, live: {live}}}
"""
TIGHT = "pipelines: {hello: 0.01}"


def config(caps: str = TIGHT, dev: str = "", live: str = "") -> str:
    return CONFIG.format(caps=caps, dev=dev, live=live)


def minutes(world, number: int) -> None:
    for _ in range(number):
        world.clock.sleep(60)
        world.jobs.cost.run()


def reconfigure(world, **more: str) -> None:
    world.configure(config(**more))
    world.jobs.configuration.run()


def told(world) -> list[str]:
    client, prefix = world.store.client, world.settings.instance
    found = [text for key in client.scan_iter(f"{prefix}:outbox:*") for text in client.lrange(key, 0, -1)]
    return [one["text"] for one in map(json.loads, found) if one["event"] == "cost"]


@pytest.fixture
def world(make_world):
    one = make_world(config())
    one.push("one")
    one.jobs.cost.run()
    minutes(one, 10)
    return one


def test_a_scale_up_beyond_the_cap_is_refused_with_the_figures(world):
    reconfigure(world, live="{replicas: 3}")
    run = world.push("two")
    assert (run.outcome, world.serving()) == (Outcome.FAILED, {"dev": 2, "live": 1})
    card = run.failure
    assert (card.stage, card.step, card.whose) == ("live", "enter", "configuration")
    assert "hello/live would add 3." in card.message
    assert "EUR for hello; its cap is 0.01 EUR. Nothing may give way" in card.message
    assert "Raise `costs.pipelines.hello` in pipelines.yaml, or ask for less." in card.advice
    assert f"Then `pushlive retry '{run.id}'`." in card.advice
    assert not world.environment("live").quarantine


def test_the_next_step_that_the_refusal_names_works(world):
    reconfigure(world, live="{replicas: 3}")
    run = world.push("two")
    reconfigure(world, caps="pipelines: {hello: 99}", live="{replicas: 3}")
    again = world.commands.retry("hello", run.number, "ann")
    world.work()
    assert world.run(again.number).outcome == Outcome.LIVE


def test_what_adds_nothing_goes_through_beyond_the_cap(world):
    assert world.push("two").outcome == Outcome.LIVE
    assert world.push("three").outcome == Outcome.LIVE


def test_a_revert_is_never_refused_not_even_to_more(world):
    reconfigure(world, caps="pipelines: {hello: 99}", live="{replicas: 3}")
    assert world.push("two").outcome == Outcome.LIVE
    reconfigure(world)
    assert world.push("three").outcome == Outcome.LIVE
    run = world.revert()
    assert (run.outcome, world.serving()["live"]) == (Outcome.LIVE, 2)


def test_a_scale_down_goes_through_and_makes_room_at_once(world):
    reconfigure(world, caps="pipelines: {hello: 8}", live="{replicas: 3}")
    assert world.push("two").outcome == Outcome.LIVE
    reconfigure(world, caps="pipelines: {hello: 8}", dev="{replicas: 3}", live="{replicas: 3}")
    assert world.push("three").outcome == Outcome.FAILED
    reconfigure(world, caps="pipelines: {hello: 8}")
    assert world.push("four").outcome == Outcome.LIVE
    reconfigure(world, caps="pipelines: {hello: 8}", dev="{replicas: 3}")
    assert world.push("five").outcome == Outcome.LIVE


def test_one_after_the_other_counts_although_little_of_it_was_measured(world):
    caps = "pipelines: {hello: 6}"
    reconfigure(world, caps=caps, dev="{replicas: 2}")
    assert world.push("two").outcome == Outcome.LIVE
    reconfigure(world, caps=caps, dev="{replicas: 2}", live="{replicas: 2}")
    assert world.push("three").outcome == Outcome.FAILED


def test_a_run_that_failed_takes_no_room(world):
    caps = "pipelines: {hello: 6}"
    reconfigure(world, caps=caps, dev="{replicas: 2}")
    world.engine.fail("ready", AppFailed("it does not answer."))
    assert world.push("two").outcome == Outcome.FAILED
    standing = Caps(world.store).standing(world.services.configurations.current()[1].costs, world.clock.now())
    assert standing.resized == ()
    assert world.push("three").outcome == Outcome.LIVE


def test_a_new_environment_counts_as_its_siblings_do(world):
    text = config().replace("dev: ,", "dev: , qa: ,")
    world.configure(text)
    world.jobs.configuration.run()
    run = world.push("two")
    assert run.outcome == Outcome.FAILED
    assert run.failure.message.startswith("hello/qa would add 1.")


def test_a_new_pipeline_that_nothing_is_known_of_is_let_in_and_that_is_said(world):
    more = "  other: {environments: {live: }}\n"
    world.configure(config(caps="pipelines: {other: 0.01}") + more)
    world.jobs.configuration.run()
    run = world.push("one", "other")
    assert run.outcome == Outcome.LIVE
    assert any("what it will cost is not known" in one.text for one in world.events(run, "note"))


def test_a_new_pipeline_counts_as_much_as_it_declares(world):
    more = "  other: {service: {cpu: 500m, memory: 256MiB}, environments: {live: }}\n"
    world.configure(config(caps="pipelines: {other: 1}") + more)
    world.jobs.configuration.run()
    run = world.push("one", "other")
    assert run.outcome == Outcome.FAILED
    assert "other/live would add" in run.failure.message


def test_the_bill_of_a_fixed_machine_is_raised_by_nothing(world):
    reconfigure(world, caps="cap: 50", live="{replicas: 3}")
    assert world.push("two").outcome == Outcome.LIVE


@pytest.mark.parametrize("machines", ["{}", '{far: {monthly: 9, docker: "ssh://u@h"}}'])
def test_without_a_price_nothing_is_refused(world, machines):
    text = config(live="{replicas: 3}").replace("{here: 100}", machines)
    world.configure(text)
    world.jobs.configuration.run()
    assert world.push("two").outcome == Outcome.LIVE


def test_people_are_told_at_80_percent_and_beyond_once_each(world):
    world.jobs.caps.run()
    first = told(world)
    assert len(first) == 1
    assert "hello will have cost" in first[0]
    assert "of its cap of 0.01 EUR (`costs.pipelines.hello`)" in first[0]
    world.jobs = world.another_process()
    world.jobs.caps.run()
    assert told(world) == first
    projected = next(one["projected"] for one in world.commands.status()["costs"])
    reconfigure(world, caps=f"pipelines: {{hello: {projected * 1.1:.2f}}}")
    assert world.commands.status()["costs"] == []
    world.jobs.caps.run()
    assert len(told(world)) == 2
    assert world.commands.status()["costs"][0]["level"] == "near"
    reconfigure(world, caps="pipelines: {hello: 1000}")
    world.jobs.caps.run()
    assert (len(told(world)), world.commands.status()["costs"]) == (2, [])


def test_the_next_month_tells_again(world):
    world.jobs.caps.run()
    world.clock.jump(32 * 86400.0)
    world.jobs.cost.run()
    minutes(world, 10)
    world.jobs.caps.run()
    assert len(told(world)) == 2


def test_cost_says_the_sums_beside_the_cap(world):
    [one] = world.commands.cost()["caps"]
    assert (one["pipeline"], one["cap"], one["level"]) == ("hello", 0.01, "over")
    assert one["text"].startswith("of the cap of 0.01 EUR of hello: ")
    assert f" % by the end: {one['projected']:.2f} EUR, with its previews, and " in one["text"]
    assert world.commands.cost("hello")["caps"] == [one]
    assert world.commands.cost(month="2000-01")["caps"] == []


def test_the_metrics_have_the_sums(world):
    assert world.commands.measurements().sums == ()
    world.jobs.caps.run()
    found = world.commands.measurements()
    assert [(one.pipeline, one.cap) for one in found.sums] == [("", None), ("hello", 0.01)]
    assert found.sums[0].projected == pytest.approx(100 * (1 - found.sums[0].spent / 100), rel=1.0)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_worker_that_dies_as_it_is_admitted_is_admitted_once(world, monkeypatch, when):
    caps = "pipelines: {hello: 6}"
    reconfigure(world, caps=caps, dev="{replicas: 2}")
    write, dead = Facts.replace, list[bool]()

    def dying(self, name, change, entry=None):
        if name != "cost-resized" or dead:
            return write(self, name, change, entry)
        dead.append(True)
        if when == "after":
            write(self, name, change, entry)
        raise Killed("SIGKILL")

    monkeypatch.setattr(Facts, "replace", dying)
    with pytest.raises(Killed):
        world.push("two")
    world.clock.sleep(30)
    world.jobs.requeue.run()
    world.work()
    assert world.run(2).outcome == Outcome.LIVE
    assert len(json.loads(world.store.facts.get("cost-resized"))) == 1


def test_damaged_records_of_caps_stop_nothing(world):
    for name in ("cost-resized", "cost-told"):
        world.store.facts.set(name, "{")
    assert world.commands.status()["costs"] == []
    reconfigure(world, caps="pipelines: {hello: 99}", live="{replicas: 3}")
    assert world.push("two").outcome == Outcome.LIVE
    world.jobs.caps.run()
    assert world.commands.measurements().sums


SLEEPY = "{sleep_after: 30m}"
GIVES = "give_way: [dev]"


def asleep(world, name: str = "dev") -> str:
    found = world.environment(name).asleep
    return found.why if found else ""


def projected(world) -> float:
    config = world.services.configurations.current()[1]
    return Caps(world.store).standing(config.costs, world.clock.now()).sum("hello", None).projected


def test_what_may_give_way_sleeps_first_and_the_log_says_so(world):
    reconfigure(world, caps=f"pipelines: {{hello: {projected(world) + 0.5:.2f}}}, {GIVES}", dev=SLEEPY,
                live="{replicas: 2}")  # fmt: skip
    run = world.push("two")
    assert run.outcome == Outcome.LIVE
    assert asleep(world) == "hello#2 needs its place below the cap of hello"
    [note] = [one.text for one in world.events(run, "note") if "sleeps" in one.text]
    assert note.startswith("hello/dev sleeps: hello#2 needs its place below the cap of hello; that saves 1.")
    assert asleep(world, "live") == ""


def test_nothing_sleeps_in_vain(world):
    reconfigure(world, caps=f"pipelines: {{hello: 0.01}}, {GIVES}", dev=SLEEPY, live="{replicas: 2}")
    run = world.push("two")
    assert (run.outcome, asleep(world)) == (Outcome.FAILED, "")
    assert "What could give way, in this order: hello/dev (saves 1." in run.failure.message


def test_what_may_not_sleep_is_named_with_what_it_lacks(world):
    reconfigure(
        world, caps=f"pipelines: {{hello: {projected(world) + 0.5:.2f}}}, {GIVES}", live="{replicas: 2}"
    )
    run = world.push("two")
    assert run.outcome == Outcome.FAILED
    assert " EUR when asleep; it needs `sleep_after` for that)." in run.failure.message
    assert asleep(world) == ""


def test_a_run_at_work_in_it_keeps_it_awake_and_the_request_is_refused(world, monkeypatch):
    caps = f"pipelines: {{hello: {projected(world) + 0.5:.2f}}}, {GIVES}"
    reconfigure(world, caps=caps, dev=SLEEPY, live="{replicas: 2}")
    take, refused = world.store.leases.take, list[str]()

    def taking(name, holder=""):
        if holder != BY_CAP:
            return take(name, holder)
        refused.append(name)
        return None

    monkeypatch.setattr(world.store.leases, "take", taking)
    assert world.push("two").outcome == Outcome.FAILED
    assert (refused, asleep(world)) == (["env:hello/dev"], "")


def test_the_keeper_lets_it_give_way_once_the_sum_passes_the_cap(world):
    reconfigure(world, caps=f"pipelines: {{hello: {projected(world) - 0.5:.2f}}}, {GIVES}", dev=SLEEPY)
    said = world.jobs.caps.run()
    assert said[-1].startswith("hello/dev was put to sleep, which saves 1.")
    assert asleep(world) == "hello would cost more than its cap (`costs.pipelines.hello`)"
    assert world.jobs.caps.run() == []
    assert world.commands.status()["costs"] == []
    assert asleep(world, "live") == ""


def test_what_was_woken_is_left_awake_for_an_hour(world):
    caps = f"pipelines: {{hello: {projected(world) - 0.5:.2f}}}, {GIVES}"
    reconfigure(world, caps=caps, dev=SLEEPY)
    world.jobs.caps.run()
    assert asleep(world)
    engine = world.engines.of("docker")
    Sleeper(world.services, engine, world.clock, None).wake(world.environment("dev"), "a request")
    assert asleep(world) == ""
    world.jobs.caps.run()
    assert asleep(world) == ""
    world.clock.sleep(3600)
    minutes(world, 2)
    world.jobs.caps.run()
    assert asleep(world)


@pytest.mark.parametrize("point", range(4))
def test_a_keeper_that_dies_at_any_write_as_it_lets_something_give_way_tells_once(world, monkeypatch, point):
    reconfigure(world, caps=f"pipelines: {{hello: {projected(world) - 0.5:.2f}}}, {GIVES}", dev=SLEEPY)
    real, count = type(world.store).transact, 0

    def dying(self, *arguments, **more):
        nonlocal count
        count += 1
        if count == point + 1:
            raise Killed("SIGKILL")
        return real(self, *arguments, **more)

    monkeypatch.setattr(type(world.store), "transact", dying)
    try:
        world.jobs.caps.run()
    except Killed:
        assert count == point + 1
    monkeypatch.setattr(type(world.store), "transact", real)
    world.clock.sleep(3700)
    minutes(world, 2)
    world.jobs = world.another_process()
    world.jobs.requeue.run()
    world.jobs.caps.run()
    assert len(told(world)) == 1
    assert asleep(world)
    assert world.serving() == {"dev": 1, "live": 1}


def test_two_at_once_are_judged_one_after_the_other(world):
    caps, now, counted = Caps(world.store), world.clock.now(), list[int]()
    one, other = (Resize("hello#1", "hello", name, "docker", 1.0, now) for name in ("dev", "live"))

    def judge(others: tuple[Resize, ...]) -> None:
        counted.append(len(others))
        if len(counted) == 1:
            caps.resize(other, lambda _: None)

    caps.resize(one, judge)
    assert counted == [0, 1]
    assert len(json.loads(world.store.facts.get("cost-resized"))) == 2


def test_a_run_that_waits_is_judged_when_it_goes_on(world):
    reconfigure(world, caps="pipelines: {hello: 99}", live="{replicas: 3}")
    world.commands.hold("hello", "ann", environment="live", reason="lunch")
    run = world.push("two")
    assert run.state == State.WAITING
    reconfigure(world, live="{replicas: 3}")
    world.commands.resume("hello", "ann", environment="live")
    world.work()
    assert world.run(run.number).outcome == Outcome.FAILED
    assert "its cap is 0.01 EUR" in world.run(run.number).failure.message


def test_a_revert_of_what_gave_way_wakes_it(world):
    world.push("two")
    reconfigure(world, caps=f"pipelines: {{hello: {projected(world) - 0.5:.2f}}}, {GIVES}", dev=SLEEPY)
    world.jobs.caps.run()
    assert asleep(world)
    run = world.commands.revert("hello", "ann", environment="dev")
    world.work()
    assert world.run(run.number).outcome == Outcome.LIVE
    assert asleep(world) == ""
