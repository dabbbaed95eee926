"""`sleep_after`: what no one uses is put to sleep, and woken by the next request."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from pipeline.adapters.fake.script import Killed
from pipeline.cli.status import environment_row
from pipeline.domain.engine_types import Answered, SlotRef
from pipeline.domain.environment import SlotState
from pipeline.domain.run import Outcome
from pipeline.domain.slots import slot_ref
from pipeline.errors import AppFailed, EngineAway, RequestError
from pipeline.maintenance.sleep.waker import Waker
from pipeline.service.tools import Asked
from tests.story.conftest import World

SLEEPY = """\
pipelines:
  hello:
    service:
      health: /healthz
      drain: 2s
      processes: {work: {command: [work]}}
    environments: {dev: {sleep_after: 30m}, live: }
"""
KEY = ("hello", "dev")


@pytest.fixture
def sleepy(world: World) -> World:
    """r1 serves in dev and live."""
    world.configure(SLEEPY)
    assert world.push().outcome == Outcome.LIVE
    world.jobs.reconcile.run()
    return world


def ref_of(world: World) -> SlotRef:
    environment = world.environment("dev")
    return slot_ref(environment, environment.active or "")


def idle(world: World, seconds: float = 1801.0) -> list[str]:
    """The keeper looks, no one asks for so long, and it looks again."""
    said = world.jobs.fall_asleep.run()
    world.clock.sleep(seconds)
    return said + world.jobs.fall_asleep.run()


def request(world: World) -> None:
    """One comes and is answered."""
    before = world.engine.counted.get(ref_of(world), Answered(0, 0))
    world.engine.counted[ref_of(world)] = Answered(before.requests + 1, 0)


def knock(world: World) -> bool:
    """One comes for what sleeps, and the service hears of it."""
    world.engine.knocking.add(KEY)
    waker = Waker(world.services, world.adapters)
    found = waker.at(world.environment("dev").index)
    return found is not None and waker.wake(found)


def runs(world: World) -> tuple[bool, bool]:
    """Whether its web container and its process run."""
    web = [one.state == "running" for one in world.engine.replicas(ref_of(world))]
    return any(web), any(one.works for one in world.engine.processes(ref_of(world)))


def sleeps(world: World) -> bool:
    """By the record, the proxy and what runs, which must agree."""
    recorded = world.environment("dev").asleep is not None
    assert (KEY in world.engine.sleeping) == recorded
    assert runs(world) == (not recorded, not recorded)
    assert world.engine.active[KEY] == (None if recorded else world.environment("dev").active)
    return recorded


def test_what_no_one_uses_is_put_to_sleep(sleepy: World) -> None:
    assert not sleeps(sleepy)
    assert idle(sleepy) == ["hello/dev: r1 was put to sleep: no request for 30m"]
    assert sleeps(sleepy)
    asleep = sleepy.environment("dev").asleep
    assert asleep is not None
    assert (asleep.release, asleep.why, asleep.since) == (1, "no request for 30m", sleepy.clock.now())
    assert sleepy.environment("live").asleep is None


def test_not_before_its_time_nor_where_nothing_says_so(sleepy: World) -> None:
    assert idle(sleepy, 1790.0) == []
    request(sleepy)
    assert idle(sleepy, 1790.0) == []
    assert idle(sleepy, 20.0) != []
    assert sleepy.environment("live").asleep is None


def test_an_open_connection_is_use(sleepy: World) -> None:
    sleepy.engine.sessions(ref_of(sleepy), 1)
    assert idle(sleepy) == []
    sleepy.engine.sessions(ref_of(sleepy), 0)
    assert idle(sleepy, 1790.0) == []
    assert idle(sleepy, 20.0) != []


def test_another_keeper_goes_on_counting_and_a_new_proxy_begins_again(sleepy: World) -> None:
    idle(sleepy, 1700.0)
    sleepy.jobs = sleepy.another_process()
    assert idle(sleepy, 110.0) != []
    knock(sleepy)
    request(sleepy)
    idle(sleepy, 1700.0)
    sleepy.engine.counted[ref_of(sleepy)] = Answered(0, 0)  # it counts from zero
    assert idle(sleepy, 110.0) == []


def test_the_keeper_leaves_it_asleep(sleepy: World) -> None:
    idle(sleepy)
    for _ in range(3):
        sleepy.clock.sleep(60.0)
        assert sleepy.keeper.tick() == []
        assert sleeps(sleepy)
    assert sleepy.environment("dev").down is None
    assert sleepy.fix() == ()
    assert sleeps(sleepy)


def test_the_first_request_wakes_it_once(sleepy: World) -> None:
    idle(sleepy)
    assert knock(sleepy)
    assert not sleeps(sleepy)
    assert not knock(sleepy), "it serves already"
    assert sleepy.engine.names().count("wake") == 1
    assert idle(sleepy, 1790.0) == [], "it was used just now"


def test_what_was_warm_ends_first(world: World) -> None:
    world.configure(SLEEPY.replace("30m}", "30m, keep_warm: 2h}"))
    world.push("one")
    world.push("two")
    world.jobs.reconcile.run()
    assert {one.state for one in world.environment("dev").slots.values()} == {
        SlotState.SERVING,
        SlotState.WARM,
    }
    world.engine.calls.clear()
    assert idle(world) != []
    names = [name for name in world.engine.names() if name in ("stop", "end_sleeping")]
    assert names == ["stop", "end_sleeping"]
    assert len(world.environment("dev").slots) == 1
    assert sleeps(world)
    assert world.revert(environment="dev").outcome == Outcome.LIVE


def test_a_request_that_comes_while_it_falls_asleep_is_not_made_to_wait_for_a_start(sleepy: World) -> None:
    idle(sleepy, 10.0)
    sleepy.engine.before("drain", lambda: sleepy.engine.knocking.add(KEY))
    idle(sleepy)
    assert runs(sleepy) == (True, True)
    assert knock(sleepy)
    assert not sleeps(sleepy)


def test_requests_that_have_begun_are_answered(sleepy: World) -> None:
    sleepy.jobs.fall_asleep.run()
    sleepy.clock.sleep(1801.0)
    sleepy.engine.before("await_request", lambda: sleepy.engine.sessions(ref_of(sleepy), 3))
    began = sleepy.clock.monotonic()
    assert sleepy.jobs.fall_asleep.run() != []
    assert sleeps(sleepy)
    assert 2.0 <= sleepy.clock.monotonic() - began < 3.0, "as long as `drain` says"
    names = sleepy.engine.names()
    assert names.index("open_sessions") < names.index("drain") < names.index("end_sleeping")


def test_a_request_does_not_wait_for_the_end_of_others(sleepy: World) -> None:
    sleepy.jobs.fall_asleep.run()
    sleepy.clock.sleep(1801.0)
    sleepy.engine.before("await_request", lambda: sleepy.engine.sessions(ref_of(sleepy), 3))
    sleepy.engine.before("open_sessions", lambda: sleepy.engine.knocking.add(KEY))
    began = sleepy.clock.monotonic()
    sleepy.jobs.fall_asleep.run()
    assert sleepy.clock.monotonic() - began < 0.5
    assert runs(sleepy) == (True, True)
    assert knock(sleepy)
    assert not sleeps(sleepy)
    assert sleepy.engine.contents[ref_of(sleepy)].sessions == 3, "none was closed"


@pytest.mark.parametrize("name", ["can_sleep", "await_request", "drain", "end_sleeping"])
@pytest.mark.parametrize("after", [False, True])
def test_a_keeper_killed_at_any_point_of_falling_asleep(sleepy: World, name: str, after: bool) -> None:
    sleepy.jobs.fall_asleep.run()
    sleepy.clock.sleep(1801.0)
    sleepy.engine.kill(name, after=after)
    with pytest.raises(Killed):
        sleepy.jobs.fall_asleep.run()
    settle(sleepy)
    assert sleeps(sleepy) or sleepy.environment("dev").asleep is None
    knock(sleepy)
    assert not sleeps(sleepy)


@pytest.mark.parametrize("name", ["wake", "switch", "restore_processes"])
@pytest.mark.parametrize("after", [False, True])
def test_one_killed_at_any_point_of_waking(sleepy: World, name: str, after: bool) -> None:
    idle(sleepy)
    sleepy.engine.kill(name, after=after)
    with pytest.raises(Killed):
        knock(sleepy)
    settle(sleepy)
    assert not sleeps(sleepy)


def test_one_killed_at_any_write_of_the_store(sleepy: World) -> None:
    writes = 0
    put = sleepy.store.transact

    def counted(*arguments: object, **named: object) -> object:
        nonlocal writes
        writes += 1
        return put(*arguments, **named)  # type: ignore[arg-type]

    sleepy.store.transact = counted  # type: ignore[assignment, method-assign]
    idle(sleepy)
    knock(sleepy)
    count, sleepy.store.transact = writes, put  # type: ignore[method-assign]
    assert count >= 3
    for number in range(count):
        for after in (False, True):
            sleepy.store.transact = dies_at(sleepy, put, number, after)  # type: ignore[method-assign]
            with pytest.raises(Killed):
                both(sleepy)
            sleepy.store.transact = put  # type: ignore[method-assign]
            settle(sleepy)
            knock(sleepy)
            assert not sleeps(sleepy), (number, after)


def both(world: World) -> None:
    idle(world)
    knock(world)


def dies_at(world: World, put: Callable[..., object], number: int, after: bool) -> Callable[..., object]:
    seen = [0]

    def dying(*arguments: object, **named: object) -> object:
        seen[0] += 1
        if seen[0] - 1 != number:
            return put(*arguments, **named)
        if after:
            put(*arguments, **named)
        raise Killed("transact")

    return dying


def settle(world: World) -> None:
    """What the keeper of another process does."""
    world.jobs = world.another_process()
    world.jobs.reconcile.run()


def test_what_does_not_start_any_more_is_down_and_not_asleep(sleepy: World) -> None:
    idle(sleepy)
    sleepy.break_app(1, "/healthz")
    with pytest.raises(AppFailed):
        knock(sleepy)
    assert sleepy.environment("dev").asleep is None
    assert KEY not in sleepy.engine.sleeping


def test_an_engine_that_is_away_wakes_it_later(sleepy: World) -> None:
    idle(sleepy)
    sleepy.engine.fail("wake", EngineAway("gone"))
    with pytest.raises(EngineAway):
        knock(sleepy)
    asleep = sleepy.environment("dev").asleep
    assert asleep is not None
    assert asleep.waking
    assert sleepy.jobs.reconcile.run() == ["hello/dev: r1, which was being woken by a request, serves again"]
    assert not sleeps(sleepy)


def test_a_run_wakes_it_first(sleepy: World) -> None:
    idle(sleepy)
    run = sleepy.push("two")
    assert run.outcome == Outcome.LIVE
    assert "r1 slept and was woken" in [event.text for event in sleepy.events(run)]
    sleepy.jobs.reconcile.run()
    assert not sleeps(sleepy)
    assert sleepy.environment("dev").serving == 2


def test_a_run_replaces_what_cannot_be_woken(sleepy: World) -> None:
    idle(sleepy)
    sleepy.break_app(1, "/healthz")
    run = sleepy.push("two")
    assert run.outcome == Outcome.LIVE
    assert any("slept and could not be woken" in event.text for event in sleepy.events(run))
    assert sleepy.environment("dev").serving == 2


def reverting(world: World) -> None:
    """r2 sleeps in dev, and would not start again."""
    world.push("two")
    world.jobs.reconcile.run()
    idle(world)
    world.break_app(2, "/healthz")
    world.engine.calls.clear()


def test_a_revert_does_not_wait_for_what_sleeps(sleepy: World) -> None:
    reverting(sleepy)
    run = sleepy.revert(environment="dev")
    assert run.outcome == Outcome.LIVE
    assert "wake" not in sleepy.engine.names()
    said = "r2 sleeps and is not woken: what is requested meanwhile waits for r1"
    assert said in [event.text for event in sleepy.events(run)]
    assert sleepy.environment("dev").serving == 1
    assert not sleeps(sleepy)
    sleepy.jobs.reconcile.run()
    assert len(sleepy.environment("dev").slots) == 1, "what slept is not warm"
    assert sleepy.fix() == ()
    assert idle(sleepy) == ["hello/dev: r1 was put to sleep: no request for 30m"]


def test_a_request_during_a_revert_waits_for_its_release(sleepy: World) -> None:
    reverting(sleepy)
    knocked: list[bool] = []
    sleepy.engine.before("start", lambda: knocked.append(KEY in sleepy.engine.sleeping))
    sleepy.engine.knocking.add(KEY)
    assert sleepy.revert(environment="dev").outcome == Outcome.LIVE
    assert knocked == [True]
    assert not knock(sleepy), "it serves already"


def test_after_a_revert_that_failed_it_sleeps_as_before(sleepy: World) -> None:
    reverting(sleepy)
    sleepy.break_app(1, "/healthz")
    assert sleepy.revert(environment="dev").outcome == Outcome.FAILED
    assert sleepy.environment("dev").serving == 2
    assert sleeps(sleepy)
    sleepy.jobs.reconcile.run()
    assert sleeps(sleepy)


@pytest.mark.parametrize("name", ["prepare", "start", "switch"])
@pytest.mark.parametrize("after", [False, True])
def test_a_worker_killed_in_a_revert_of_what_sleeps(sleepy: World, name: str, after: bool) -> None:
    reverting(sleepy)
    sleepy.engine.kill(name, after=after)
    asked = sleepy.commands.revert("hello", "ann", environment="dev")
    with pytest.raises(Killed):
        sleepy.work()
    settle(sleepy)
    sleepy.work()
    assert sleepy.run(asked.number).outcome == Outcome.LIVE
    assert sleepy.environment("dev").serving == 1
    assert not sleeps(sleepy)


def test_a_revert_that_fails_after_its_switch_starts_what_slept(sleepy: World) -> None:
    sleepy.push("two")
    sleepy.jobs.reconcile.run()
    idle(sleepy)
    public = sleepy.engine.public
    sleepy.engine.public = lambda spec: replace(public(spec), url="http://e9.fake")  # type: ignore[method-assign]
    run = sleepy.revert(environment="dev")
    sleepy.engine.public = public  # type: ignore[method-assign]
    assert (run.outcome, run.failure and run.failure.step) == (Outcome.FAILED, "verify")
    assert sleepy.environment("dev").serving == 2
    assert "r2 does not run and is started again now" in [event.text for event in sleepy.events(run)]
    assert sleepy.engine.active[KEY] == sleepy.environment("dev").active
    sleepy.jobs.reconcile.run()
    assert not sleeps(sleepy)


def test_while_a_run_is_at_work_nothing_sleeps(sleepy: World) -> None:
    sleepy.jobs.fall_asleep.run()
    sleepy.clock.sleep(1801.0)
    lease = sleepy.store.leases.take("env:hello/dev", "hello#2")
    assert lease
    assert sleepy.jobs.fall_asleep.run() == []
    assert not sleeps(sleepy)
    sleepy.store.leases.drop(lease)
    assert sleepy.jobs.fall_asleep.run() != []


def test_what_cannot_be_woken_for_a_run_says_so(sleepy: World) -> None:
    idle(sleepy)
    lease = sleepy.store.leases.take("env:hello/dev", "hello#2")
    assert lease
    with pytest.raises(RequestError, match="a run is at work there"):
        knock(sleepy)


def test_a_clock_that_is_set_changes_nothing(sleepy: World) -> None:
    idle(sleepy, 10.0)
    sleepy.keeper.tick()
    sleepy.clock.jump(-3600.0)
    assert idle(sleepy, 1790.0) == []


def test_a_person_puts_it_to_sleep_and_wakes_it(sleepy: World) -> None:
    said = sleepy.sleeping.put_to_sleep("hello", "ann", environment="dev")
    assert said == ("hello/dev sleeps; the next request wakes it.",)
    assert sleeps(sleepy)
    (dev, _) = sleepy.commands.status("hello")["pipelines"][0]["environments"]
    assert dev["asleep"]["text"] == "r1 sleeps: put to sleep by ann; the next request wakes it"
    said = sleepy.sleeping.put_to_sleep("hello", "ann", environment="dev")
    assert said == ("hello/dev sleeps already; the next request wakes it.",)
    assert sleepy.sleeping.wake("hello", "ann", environment="dev") == ("hello/dev serves r1 again.",)
    assert not sleeps(sleepy)
    assert sleepy.sleeping.wake("hello", "ann", environment="dev") == ("hello/dev does not sleep.",)
    acts = [entry["act"] for entry in sleepy.commands.audit_log("hello") if entry["who"] == "ann"]
    assert acts[:2] == ["wake ended", "wake"]
    assert acts.count("sleep ended") == 1


def test_what_is_being_woken_is_not_put_to_sleep(sleepy: World) -> None:
    idle(sleepy)
    sleepy.engine.fail("wake", EngineAway("gone"))
    with pytest.raises(EngineAway):
        knock(sleepy)
    with pytest.raises(RequestError, match="it is being woken"):
        sleepy.sleeping.put_to_sleep("hello", "ann", environment="dev")


def test_what_was_being_woken_when_the_service_ended_is_woken_without_another_request(sleepy: World) -> None:
    waker = Waker(sleepy.services, sleepy.adapters)
    idle(sleepy)
    assert waker.wanted() == ()
    sleepy.engine.kill("wake", after=True)
    with pytest.raises(Killed):
        knock(sleepy)
    sleepy.engine.knocking.clear()
    (found,) = waker.wanted()
    sleepy.engine.fail("is_wanted", EngineAway("gone"))
    assert waker.wanted() == (), "its engine does not answer"
    assert waker.wake(found)
    assert not sleeps(sleepy)
    assert waker.wanted() == ()


def test_live_is_not_put_to_sleep(sleepy: World) -> None:
    with pytest.raises(RequestError, match="is live and is not put to sleep"):
        sleepy.sleeping.put_to_sleep("hello", "ann", environment="live")


def test_what_needs_its_containers_says_how_to_wake_it(sleepy: World) -> None:
    idle(sleepy)
    asked, advice = Asked(("ls",)), "`pushlive wake hello dev` starts it."
    for act in (
        lambda: sleepy.tools.exec_command("hello", "ann", asked, environment="dev"),
        lambda: sleepy.tools.copy("hello", "ann", "/a", environment="dev"),
        lambda: sleepy.tools.restart("hello", "ann", environment="dev"),
    ):
        with pytest.raises(RequestError, match="sleeps") as found:
            act()
        assert found.value.advice == advice
    assert sleeps(sleepy)


def test_status_says_since_when(sleepy: World) -> None:
    idle(sleepy)
    (entry,) = sleepy.commands.status("hello")["pipelines"]
    dev, live = entry["environments"]
    assert live["asleep"] is None
    assert dev["asleep"] == {
        "release": 1,
        "since": sleepy.clock.now(),
        "why": "no request for 30m",
        "by": "",
        "waking": None,
        "text": "r1 sleeps: no request for 30m; the next request wakes it",
    }
    assert environment_row(dev, sleepy.clock.now() + 7200)[6] == ("asleep 2h", "dim")


def test_what_has_no_web_process_never_sleeps(world: World) -> None:
    world.configure(
        SLEEPY.replace("{sleep_after: 30m}", "{web: false}").replace("health: /healthz", "ready: 9s")
    )
    assert world.push().outcome == Outcome.LIVE
    world.configure(SLEEPY)
    assert idle(world) == [
        "hello/dev cannot be put to sleep: r1 has no web process, so no request "
        "would wake it. `pushlive status` shows what runs."
    ]
    assert idle(world) == [], "it is said once"
    assert world.environment("dev").asleep is None
