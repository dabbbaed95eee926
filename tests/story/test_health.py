"""A release that passed its checks and stops working: it is said, once, wherever a person looks."""

from __future__ import annotations

import pytest

from pipeline.domain.engine_types import SlotRef
from pipeline.errors import EngineAway, RequestError
from pipeline.lib.units import show_time
from webhooks.api.exposition import exposition

CHAT = "https://chat.example.com/services/T0/B0/s3cr3t"
CONFIG = f"""
notify: [{{url: {CHAT}}}]
pipelines: {{hello: {{environments: {{live: {{replicas: 2, bake: 0}}}}}}}}
"""


@pytest.fixture
def world(make_world):
    world = make_world(CONFIG)
    world.push("one")
    world.push("two")
    watch(world)
    return world


def slot(world, name: str = "green") -> SlotRef:
    return next(ref for ref in world.engine.contents if ref.slot == name)


def watch(world, seconds: float = 5, times: int = 1) -> list[str]:
    """The keeper looks that often."""
    said = []
    for _ in range(times):
        world.clock.sleep(seconds)
        said += world.jobs.health.run()
    return said


def crash_loop(world) -> list[str]:
    said = []
    for _ in range(4):
        world.engine.crash(slot(world))
        said += watch(world)
    return said


def live(world) -> dict:
    [found] = world.commands.status("hello")["pipelines"][0]["environments"]
    return found


def messages(world) -> list[dict]:
    return world.told()


def test_a_release_that_restarts_again_and_again_is_down_and_told_once(world):
    assert live(world)["health"]["state"] == "up"
    said = crash_loop(world)
    assert said == [
        "hello/live is down: r2, live-1 exited with code 1; both replicas restarted, 6 times together"
    ]
    assert watch(world, times=2) == []
    health = live(world)["health"]
    assert (health["state"], health["restarts"]) == ("down", 8)
    assert health["since"] == health["restarts_since"] > 0
    assert "r2 is down since " in health["text"]
    assert "both replicas restarted, 8 times together since " in health["text"]
    [told] = messages(world)
    assert (told["event"], told["environment"], told["release"], told["run"]) == ("down", "live", 2, "")
    assert "hello/live is down: r2, live-1 exited with code 1" in told["text"]
    assert "`pushlive logs hello --app --env live`" in told["text"]
    assert "`pushlive revert hello --env live --to r1` goes back." in told["text"]


def test_a_service_that_was_restarted_tells_nothing_again_and_knows_since_when(world):
    crash_loop(world)
    before = live(world)["health"]
    messages(world)
    world.jobs = world.another_process()
    assert watch(world) == []
    assert messages(world) == []
    assert live(world)["health"] == before


def test_what_is_over_is_told_once(world):
    crash_loop(world)
    said = watch(world, times=12)
    assert said == ["hello/live is up again with r2"]
    down, up = messages(world)
    assert (up["event"], up["release"]) == ("up", 2)
    assert down["id"].replace("/down/", "/up/") == up["id"]
    assert live(world)["health"]["text"] == ""


def test_another_release_that_serves_ends_it_at_once(world):
    crash_loop(world)
    world.push("three")
    assert watch(world) == ["hello/live is up again with r3"]


def test_an_application_whose_checks_fail_is_down_with_what_they_found(world):
    for number in (1, 2):
        world.engine.sicken(slot(world), number, "GET / got no answer within 5 s")
    assert watch(world, times=3) == [
        "hello/live: live-1: GET / got no answer within 5 s; it is out of rotation",
        "hello/live: live-2: GET / got no answer within 5 s; it is out of rotation",
        "hello/live is down: r2, live-1: GET / got no answer within 5 s",
    ]
    assert live(world)["health"]["text"].endswith("within 5 s. Requests are tried there all the same.")


def test_one_replica_of_two_that_fails_is_shown_and_not_told(world):
    world.engine.sicken(slot(world), 2, "it refuses connections")
    since = show_time(world.clock.now() + 5)
    assert watch(world, times=5) == ["hello/live: live-2: it refuses connections; it is out of rotation"]
    health = live(world)["health"]
    assert (health["state"], health["serving"], health["replicas"]) == ("degraded", 1, 2)
    assert f"only 1 of 2 replicas serves; live-2: it refuses connections; since {since}" in health["text"]
    assert messages(world) == []
    world.engine.sicken(slot(world), 2, "")
    assert watch(world) == ["hello/live: live-2 is back in rotation"]
    assert live(world)["health"]["text"] == ""


def test_one_replica_of_two_that_fails_for_a_minute_is_told_once_and_so_is_its_end(world):
    world.engine.sicken(slot(world), 2, "it refuses connections")
    degraded = "hello/live is degraded: r2, only 1 of 2 replicas serves; live-2: it refuses connections"
    assert [text for text in watch(world, times=20) if "rotation" not in text] == [degraded]
    [told] = messages(world)
    assert (told["event"], told["environment"], told["release"], told["run"]) == ("degraded", "live", 2, "")
    assert told["text"].startswith(degraded)
    assert "`pushlive revert hello --env live --to r1` goes back." in told["text"]
    world.jobs = world.another_process()
    assert watch(world) == []
    world.engine.sicken(slot(world), 2, "")
    assert watch(world, times=30)[1:] == ["hello/live serves with all replicas again, with r2"]
    up = messages(world)[-1]
    assert (up["event"], up["reason"]) == ("up", told["reason"])
    assert "serves with all replicas again, with r2. r2 was reported as degraded " in up["text"]


def test_a_release_that_goes_down_bit_by_bit_is_degraded_and_then_down(world):
    world.engine.sicken(slot(world), 2, "it refuses connections")
    watch(world, times=20)
    world.engine.sicken(slot(world), 1, "it refuses connections")
    watch(world, times=20)
    for number in (1, 2):
        world.engine.sicken(slot(world), number, "")
    watch(world, times=60)
    assert [told["event"] for told in messages(world)] == ["degraded", "down", "up"]


def test_another_release_that_serves_with_all_replicas_ends_it_at_once(world):
    world.engine.sicken(slot(world), 2, "it refuses connections")
    watch(world, times=20)
    world.push("three")
    assert watch(world) == ["hello/live serves with all replicas again, with r3"]


def test_running_out_of_memory_is_named(world):
    for _ in range(4):
        world.engine.crash(slot(world), 137)
        watch(world)
    assert "live-1 ran out of memory and was killed; both replicas restarted" in live(world)["health"]["text"]


def test_a_warm_slot_that_fails_is_not_ready_for_a_revert(world):
    assert live(world)["revert"]["how"] == "warm"
    for number in (1, 2):
        world.engine.sicken(slot(world, "blue"), number, "it refuses connections")
    assert watch(world, times=3) == []  # it has no traffic: no one is told
    revert = live(world)["revert"]
    assert (revert["ready"], revert["release"]) == (False, 1)
    assert revert["text"] == "not ready: r1 is warm, but does not work (live-1: it refuses connections)"
    with pytest.raises(RequestError) as caught:
        world.commands.revert("hello", "ann")
    assert str(caught.value) == (
        "r1 is warm, but does not work (live-1: it refuses connections). Nothing was done. To try it all the same: "
        "`pushlive revert hello --env live --to r1`."
    )
    assert world.environment("live").hold is None


def test_an_engine_that_does_not_answer_changes_nothing(world):
    before = world.environment("live")
    world.engine.fail("replicas", EngineAway("Docker does not answer."), times=9)
    assert watch(world, times=3) == []
    assert world.environment("live") == before


def test_metrics_say_which_environment_is_down(world):
    crash_loop(world)
    text = exposition(world.store.metrics.read()).decode()
    assert 'pushlive_environment_down{environment="live",pipeline="hello"} 1.0' in text
    assert 'pushlive_environment_restarts{environment="live",pipeline="hello"} 8.0' in text
    assert 'pushlive_environment_out_of_memory{environment="live",pipeline="hello"} 0.0' in text


def test_metrics_say_which_replicas_ran_out_of_memory_until_they_have_served_for_a_while(world):
    def measured() -> int:
        return world.store.metrics.read().pipelines["hello"].out_of_memory["live"]

    world.engine.crash(slot(world), 137)
    watch(world)
    assert "ran out of memory and was killed" in live(world)["health"]["text"]
    assert measured() == 2
    watch(world, 400)
    assert (live(world)["health"]["text"], measured()) == ("", 0)
