"""What is added to an hour by each look, also after restarts, gaps and a clock that was set."""

from __future__ import annotations

import pytest

from pipeline.domain.cost import ledger
from pipeline.domain.cost.ledger import Account, Amount, Hour
from pipeline.domain.cost.taken import Nodes, Size, Taken
from pipeline.domain.environment import Environment, SlotRecord, SlotState
from pipeline.lib import codec

SIZE = Size(2.0, 4 << 30)
GIB = 1 << 30
WEB = str(Account("docker", "shop", "live", "serving"))


def web(spent: float, memory: int = GIB, name: str = "a", **more: float) -> Taken:
    return Taken(name, "web", memory, "shop", "live", "blue", spent=spent, **more)  # type: ignore[arg-type]


def look(hour: Hour, at: float, *found: Taken, purpose: str = "serving") -> Hour:
    return ledger.looked(hour, "docker", SIZE, [(one, purpose) for one in found], at)


def test_the_first_look_adds_nothing_and_the_second_what_was_taken_since() -> None:
    hour = look(Hour(0), 10.0, web(100.0))
    assert (hour.amounts, hour.seconds) == ({}, {})
    hour = look(hour, 70.0, web(130.0))
    assert hour.amounts == {WEB: Amount(cores=30.0, memory=60.0, count=60.0)}
    assert hour.seconds == {"docker": 60.0}
    assert hour.sizes == {"docker": SIZE}


def test_a_container_that_is_new_or_has_started_again_counts_from_its_start() -> None:
    hour = look(Hour(0), 0.0, web(100.0))
    hour = look(hour, 60.0, web(6.0), web(12.0, name="b"))
    assert hour.amounts[WEB].cores == pytest.approx(18.0)


def test_builds_before_the_first_look_are_in_no_hour() -> None:
    def builds(spent: float) -> Taken:
        return Taken("builds", "build", 0, spent=spent)

    key = str(Account("docker", "", "", "build"))
    hour = look(Hour(0), 0.0, web(1.0))
    hour = look(hour, 60.0, builds(5000.0), purpose="build")  # of days in which nobody asked
    assert hour.amounts[key].cores == 0.0
    hour = look(hour, 120.0, builds(5030.0), purpose="build")
    assert hour.amounts[key].cores == pytest.approx(30.0)
    hour = look(hour, 180.0, builds(2.0), purpose="build")  # the machine was started again
    assert hour.amounts[key].cores == pytest.approx(32.0)


@pytest.mark.parametrize("at", [-5.0, 0.0, ledger.LONGEST + 1])
def test_a_gap_and_a_clock_that_was_set_are_not_measured(at: float) -> None:
    hour = look(Hour(0), 0.0, web(100.0))
    hour = look(hour, at, web(200.0))
    assert (hour.amounts, hour.seconds) == ({}, {})
    hour = look(hour, at + 10, web(205.0))
    assert hour.amounts[WEB] == Amount(cores=5.0, memory=10.0, count=10.0)


def test_the_larger_of_what_is_reserved_and_used_counts() -> None:
    reserved = web(0.0, memory=GIB // 2, reserved_cores=0.5, reserved_memory=GIB)
    hour = look(look(Hour(0), 0.0, reserved), 10.0, reserved)
    assert hour.amounts[WEB] == Amount(cores=5.0, memory=10.0, count=10.0)
    busy = Taken("a", "web", 2 * GIB, "shop", "live", "blue", cores=1.0, reserved_cores=0.5)
    assert look(hour, 20.0, busy).amounts[WEB] == Amount(cores=15.0, memory=30.0, count=20.0)


def test_the_next_hour_goes_on_from_it_and_what_is_kept_has_no_processor_times() -> None:
    hour = look(Hour(0), 3590.0, web(1.0))
    following = look(ledger.next_hour(hour, 1), 3610.0, web(11.0))
    assert following.amounts[WEB].cores == pytest.approx(10.0)
    assert ledger.closed(following).spent == ledger.closed(following).looked == {}
    assert codec.load(Hour, codec.dump(following)) == following


def test_nodes_that_come_and_go_count_while_they_are_there() -> None:
    def with_nodes(hour: Hour, count: int, at: float) -> Hour:
        size = Size(2.0 * count, count * GIB, {"pool=a": Nodes(count, 2.0 * count, count * GIB)})
        return ledger.looked(hour, "kubernetes", size, [], at)

    hour = with_nodes(with_nodes(with_nodes(Hour(0), 3, 0.0), 2, 60.0), 1, 120.0)
    assert hour.nodes == {"kubernetes": {"pool=a": Amount(cores=360.0, memory=180.0, count=180.0)}}
    assert ledger.without_size(hour, "kubernetes:b/").unsized == ("kubernetes:b/",)
    assert codec.load(Hour, codec.dump(hour)) == hour


def test_engines_are_apart() -> None:
    hour = look(look(Hour(0), 0.0, web(0.0)), 10.0, web(5.0))
    hour = ledger.looked(hour, "docker:ssh://u@h", SIZE, [], 10.0)
    assert hour.seconds == {"docker": 10.0}
    assert set(hour.looked) == {"docker", "docker:ssh://u@h"}


def test_an_account_is_read_as_it_was_written() -> None:
    one = Account("kubernetes:a|b/c", "shop", "live", "warm", "mail")
    assert ledger.account(str(one)) == one


@pytest.mark.parametrize(
    ("role", "slot", "purpose"),
    [
        ("web", "blue", "serving"),
        ("process", "blue", "serving"),
        ("web", "green", "warm"),
        ("command", "", "command"),
        ("accessory", "", "serving"),
        ("system", "", "system"),
        ("build", "", "build"),
    ],
)
def test_purposes(role: str, slot: str, purpose: str) -> None:
    record = {
        "blue": SlotRecord(2, 2, SlotState.SERVING, 0.0),
        "green": SlotRecord(1, 1, SlotState.WARM, 0.0),
    }
    live = Environment("shop", "live", 0, active="blue", slots=record)  # type: ignore[arg-type]
    one = Taken("a", role, 1, "shop", "live", slot)  # type: ignore[arg-type]
    assert ledger.purpose_of(one, {("shop", "live"): live}) == purpose


def test_what_is_in_no_record_or_on_its_way_in_is_being_deployed() -> None:
    one = Taken("a", "web", 1, "shop", "live", "green")
    assert ledger.purpose_of(one, {}) == "deploying"
    assert ledger.purpose_of(one, {("shop", "live"): Environment("shop", "live", 0)}) == "deploying"
