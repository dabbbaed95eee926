"""When an environment may go to sleep."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline.domain.environment import Bake, Down, Environment, SlotRecord, SlotState
from pipeline.domain.sleep import rule
from pipeline.domain.sleep.records import Asleep, Idle

SERVES = SlotRecord(3, 3, SlotState.SERVING, 100.0)
WARM = SlotRecord(2, 2, SlotState.WARM, 100.0, until=700.0)
PLAIN = Environment("hello", "dev", 0, active="blue", slots={"blue": SERVES})


def test_what_serves_may() -> None:
    assert rule.obstacle(PLAIN) == ""


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        (Environment("hello", "dev", 0), "nothing serves"),
        (replace(PLAIN, asleep=Asleep(3, 1.0, "")), "sleeps already"),
        (replace(PLAIN, asleep=Asleep(3, 1.0, "", waking=2.0)), "being woken"),
        (replace(PLAIN, switching="green"), "on the way"),
        (
            replace(PLAIN, slots={"blue": SERVES, "green": SlotRecord(4, 4, SlotState.STARTING, 1.0)}),
            "starts",
        ),
        (replace(PLAIN, bakes=(Bake(3, 3, 1.0, 60.0, "tell"),)), "watched"),
        (replace(PLAIN, down=Down(3, 1.0, "")), "does not work"),
    ],
)
def test_what_may_not(environment: Environment, said: str) -> None:
    assert said in rule.obstacle(environment)


def test_what_was_only_warm_is_kept_no_longer() -> None:
    failed = SlotRecord(2, 2, SlotState.FAILED, 100.0, until=700.0)
    fallen = rule.fallen(replace(PLAIN, slots={"blue": SERVES, "green": WARM}), 5.0, "no request for 30m")
    assert fallen.slots == {"blue": SERVES}
    assert fallen.asleep == Asleep(3, 5.0, "no request for 30m")
    assert "green" in rule.fallen(replace(PLAIN, slots={"blue": SERVES, "green": failed}), 5.0, "").slots


def test_the_first_to_wake_it_is_kept() -> None:
    asleep = rule.fallen(PLAIN, 5.0, "")
    first = rule.waking(asleep, 9.0, "a request")
    assert rule.waking(first, 10.0, "ann") == first
    assert rule.awake(first) == PLAIN
    assert rule.waking(PLAIN, 9.0, "ann") == PLAIN


def seen(before: Idle | None, mark: str = "a", **more: object) -> Idle:
    given = {"busy": False, "slot": "blue", "run": 3, "now": 50.0, **more}
    return rule.seen(before, mark, **given)  # type: ignore[arg-type]


def test_only_what_is_the_same_counts_as_idle() -> None:
    known = Idle("a", 10.0, "blue", 3)
    assert seen(known) == known
    assert seen(None).since == 50.0
    assert seen(known, "b").since == 50.0  # a request, or a proxy that was restarted
    assert seen(known, busy=True).since == 50.0
    assert seen(known, slot="green").since == 50.0
    assert seen(known, run=4).since == 50.0
    assert seen(known, now=5.0).since == 5.0  # the clock was set back


def test_it_is_due_once_it_was_idle_and_has_served_for_so_long() -> None:
    idle = Idle("a", 100.0, "blue", 3)
    assert not rule.is_due(idle, PLAIN, 60.0, 159.9)
    assert rule.is_due(idle, PLAIN, 60.0, 160.0)
    later = replace(PLAIN, slots={"blue": replace(SERVES, since=150.0)})
    assert not rule.is_due(idle, later, 60.0, 160.0)
