"""When a release that passed its checks is down, and when it is up again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline.domain.health import DOWN_AFTER, LOOPS, SERIES, UP_AFTER, Health, Seen, looked, moved, pause

FIRST = 10_000.0
LOOK = 5.0


class Watch:
    """One slot, looked at every ``LOOK`` seconds. ``told``: each time that it went down or up."""

    def __init__(self, since: float = FIRST) -> None:
        self.now, self.since = FIRST, since
        self.health: Health | None = None
        self.told: list[str] = []

    def look(self, *seen: Seen, times: int = 1, seconds: float = LOOK) -> Health:
        for _ in range(times):
            was = self.health.down if self.health else False
            self.health = looked(self.health, 2, 7, self.since, seen, self.now)
            if self.health.down != was:
                self.told.append("down" if self.health.down else "up")
            self.now += seconds
        assert self.health
        return self.health

    def crash_every(self, seconds: float, times: int) -> None:
        """It serves between the looks, and restarts every ``seconds``."""
        until = self.now + seconds * times
        began, before = self.now, restarts(self.health)
        while self.now < until:
            self.look(Seen("a", True, restarts=before + int((self.now - began) / seconds)))


def restarts(health: Health | None) -> int:
    return health.series["a"].counter if health else 0


def well(*names: str, restarts: int = 0) -> list[Seen]:
    return [Seen(name, True, restarts=restarts) for name in names or ("a",)]


def broken(*names: str, said: str = "a exited with code 1", restarts: int = 0) -> list[Seen]:
    return [Seen(name, False, said, restarts) for name in names or ("a",)]


def test_a_slot_that_serves_is_up_and_says_nothing() -> None:
    health = Watch().look(*well("a", "b"), times=20)
    assert (health.down, health.poor, health.reason, health.serving, health.replicas) == (
        False,
        False,
        "",
        2,
        2,
    )


def test_one_bad_look_is_no_outage() -> None:
    watch = Watch()
    watch.look(*well())
    watch.look(*broken())
    watch.look(*well(), times=5)
    assert watch.told == []


def test_a_slot_in_which_nothing_serves_is_down_since_the_first_bad_look() -> None:
    watch = Watch()
    watch.look(*well())
    began = watch.now
    health = watch.look(*broken(), times=3)
    assert DOWN_AFTER <= 2 * LOOK
    assert (watch.told, health.down_since, health.reason) == (["down"], began, "a exited with code 1")
    watch.look(times=5)
    assert watch.told == ["down"]
    assert watch.health
    assert watch.health.reason == "nothing runs there"


def test_one_replica_of_two_that_serves_is_no_outage_but_said() -> None:
    health = Watch().look(*well("a"), *broken("b", said="b is starting"), times=20)
    assert (health.down, health.poor) == (False, True)
    assert health.reason == "only 1 of 2 replicas serves; b is starting"


def test_two_replicas_of_three_serve() -> None:
    health = Watch().look(*well("a"), *well("b"), *broken("c", said="c is starting"), times=20)
    assert health.reason == "only 2 of 3 replicas serve; c is starting"


def test_a_crash_loop_is_down_even_if_it_serves_at_every_look() -> None:
    watch = Watch()
    watch.crash_every(12, LOOPS + 1)
    assert watch.told == ["down"]
    assert watch.health
    assert (watch.health.restarts, watch.health.restarts_since) == (LOOPS, FIRST + 15)
    assert watch.health.down_since == watch.health.restarts_since
    assert watch.health.reason == f"restarted {LOOPS} times"


def test_restarts_are_those_of_a_replica_or_of_several_together() -> None:
    def restarted(*counts: int, said: str = "") -> str:
        found = [Seen(f"live-{number}", True, said) for number in range(1, len(counts) + 1)]
        before = looked(None, 1, 1, FIRST, found, FIRST)
        after = [replace(one, restarts=count) for one, count in zip(found, counts, strict=True)]
        return looked(before, 1, 1, FIRST, after, FIRST + LOOK).restarted

    assert restarted(0, 0) == ""
    assert restarted(3) == "restarted 3 times"
    assert restarted(0, 1) == "live-2 restarted once"
    assert restarted(3, 0, said="live-1 exited with code 1") == "restarted 3 times"
    assert restarted(3, 3) == "both replicas restarted, 6 times together"
    assert restarted(3, 3, 0, 1) == "3 of 4 replicas restarted, 7 times together"


def test_it_is_up_again_once_it_has_served_without_a_restart_for_a_while() -> None:
    watch = Watch()
    watch.crash_every(12, LOOPS + 1)
    health = watch.look(*well(restarts=LOOPS), times=int(UP_AFTER / LOOK) - 2)
    assert health.down
    health = watch.look(*well(restarts=LOOPS), times=4)
    assert watch.told == ["down", "up"]
    assert (health.down, health.poor, health.restarts) == (False, False, 0)


def test_an_application_that_comes_and_goes_is_told_once() -> None:
    watch = Watch()
    for _ in range(40):
        watch.look(*broken(), times=3)
        watch.look(*well(), times=int(UP_AFTER / LOOK) + 2)
    assert watch.told[:3] == ["down", "up", "down"]
    assert len(watch.told) <= 5
    assert watch.health
    assert pause(watch.health) > UP_AFTER


def test_restarts_that_are_hours_apart_are_no_loop() -> None:
    watch = Watch()
    for count in range(10):
        watch.look(*well(restarts=count))
        watch.now += SERIES
    assert watch.told == []


def test_a_counter_of_an_engine_that_begins_again_counts_nothing() -> None:
    watch = Watch(since=FIRST - 9999)
    watch.look(*well(restarts=12), times=3)  # it restarted in earlier weeks
    watch.look(*well(restarts=0), times=3)  # a person restarted it
    assert watch.health
    assert watch.health.restarts == 0
    watch.look(*well(restarts=1))
    assert watch.health.restarts == 1


def test_restarts_right_after_the_switch_count() -> None:
    assert Watch().look(*well(restarts=4)).down


def test_another_release_in_the_slot_begins_without_a_past() -> None:
    watch = Watch()
    watch.look(*broken(), times=3)
    assert not looked(watch.health, 3, 8, watch.now, well(), watch.now).down


@pytest.mark.parametrize("seconds", [-5000.0, 5000.0])
def test_a_clock_that_was_set_changes_nothing(seconds: float) -> None:
    watch = Watch()
    watch.crash_every(12, LOOPS + 1)
    assert watch.health
    before = watch.now - watch.health.down_since
    watch.health, watch.now = moved(watch.health, seconds), watch.now + seconds
    assert watch.now - watch.health.down_since == before
    watch.look(*well(restarts=LOOPS), times=int(UP_AFTER / LOOK) + 2)
    assert watch.told == ["down", "up"]
