"""What is stored and sent, over looks, gaps, and proxies that begin to count again."""

from __future__ import annotations

import pytest

from pipeline.config.cost.prices import Costs, Machine
from pipeline.domain.cost import focus, ledger
from pipeline.domain.cost.ledger import STORAGE, TRAFFIC, Account, Hour
from pipeline.domain.cost.month import spent, to_come
from pipeline.domain.cost.shares import folded
from pipeline.domain.cost.taken import Size
from pipeline.domain.measuring.monthly.calendar import month
from pipeline.lib import codec

GIB = 1 << 30
NOVEMBER = month("2026-11", "UTC")
LENGTH = NOVEMBER.until - NOVEMBER.since
DISK, SENT = (Account("docker", "shop", "live", one) for one in (STORAGE, TRAFFIC))
PRICES = Costs(machines={"here": Machine(monthly=10.0, storage=0.5, traffic=0.25)})


def sent(hour: Hour, blue: int, green: int = 0) -> Hour:
    counts = {("shop", "live", "blue"): blue, ("shop", "live", "green"): green}
    return ledger.with_traffic(hour, "docker", counts)


def test_what_was_sent_is_the_difference_of_two_looks() -> None:
    hour = sent(Hour(0), 5 * GIB)
    assert hour.used == {}
    hour = sent(sent(hour, 6 * GIB, 2 * GIB), 6 * GIB, 3 * GIB)
    assert hour.used == {str(SENT): pytest.approx(4.0)}


def test_a_proxy_that_starts_again_counts_from_zero() -> None:
    hour = sent(sent(Hour(0), 5 * GIB), GIB)
    assert hour.used == {str(SENT): pytest.approx(1.0)}


def test_a_proxy_that_did_not_answer_tells_later_and_the_next_hour_goes_on() -> None:
    hour = ledger.with_traffic(sent(Hour(0), GIB), "docker", {})
    following = sent(ledger.next_hour(hour, 1), 3 * GIB)
    assert following.used == {str(SENT): pytest.approx(2.0)}
    assert ledger.closed(following).sent == {}
    assert codec.load(Hour, codec.dump(following)) == following


def test_what_is_stored_counts_by_its_time() -> None:
    hour = Hour(0)
    for passed in (0.0, 60.0, 60.0):
        hour = ledger.with_storage(hour, "docker", {("shop", "live"): 2 * GIB}, passed)
    assert hour.used == {str(DISK): pytest.approx(240.0)}


def measured(number: int) -> Hour:
    """An hour with 2 GiB of files, in which 1 GiB went out."""
    first = int(NOVEMBER.since // 3600) + number
    used = {str(DISK): 2 * 3600.0, str(SENT): 1.0}
    return Hour(first, {"docker": 3600.0}, {"docker": Size(2.0, 4 * GIB)}, used=used)


def test_both_cost_by_their_prices_beside_the_machine() -> None:
    hours = [measured(number) for number in range(48)]
    now = NOVEMBER.since + 48 * 3600
    for pieces in (hours, [*hours[:24], folded(int(NOVEMBER.since // 86400) + 1, hours[24:])]):
        found = spent(pieces, PRICES, NOVEMBER, now, lambda _: NOVEMBER.since)
        cost = {one.account: one.cost for one in found.lines}
        part = 48 * 3600 / LENGTH
        assert cost[DISK] == pytest.approx(2 * 0.5 * part)
        assert cost[SENT] == pytest.approx(48 * 0.25)
        assert cost[Account("docker", "", "", "idle")] == pytest.approx(10 * part)
        assert sum(line.cost for day in found.days.values() for line in day) == pytest.approx(found.total)
    coming = to_come(hours, PRICES, NOVEMBER, now)
    assert coming[SENT] == pytest.approx((LENGTH / 3600 - 48) * 0.25)
    assert coming[DISK] == pytest.approx(2 * 0.5 * (1 - part))


def test_without_prices_they_are_no_lines() -> None:
    costs = Costs(machines={"here": Machine(monthly=10.0)})
    found = spent([measured(0)], costs, NOVEMBER, NOVEMBER.since + 3600, lambda _: NOVEMBER.since)
    assert {one.account.purpose for one in found.lines} == {"idle"}
    assert {one.purpose for one in to_come([measured(0)], costs, NOVEMBER, NOVEMBER.since + 3600)} == {"idle"}


def test_a_clock_that_was_set_back_does_not_make_less_of_what_was_sent() -> None:
    hours = [measured(0), measured(1)]
    found = spent(hours, PRICES, NOVEMBER, NOVEMBER.since + 3600, lambda _: NOVEMBER.since)
    cost = {one.account: one.cost for one in found.lines}
    assert cost[SENT] == pytest.approx(2 * 0.25)
    assert cost[DISK] == pytest.approx(2 * 0.5 * 3600 / LENGTH)


def test_rows_of_focus_have_their_own_units() -> None:
    found = spent([measured(0)], PRICES, NOVEMBER, NOVEMBER.since + 3600, lambda _: NOVEMBER.since)
    rows = {one.account.purpose: focus.row(one, "here") for one in found.lines}
    assert (rows[STORAGE]["PricingQuantity"], rows[STORAGE]["PricingUnit"]) == ("2", "GiB-Hours")
    assert (rows[TRAFFIC]["ConsumedQuantity"], rows[TRAFFIC]["ConsumedUnit"]) == ("1", "GiB")
    assert {rows[one]["ServiceCategory"] for one in rows} == {"Storage", "Networking", "Compute"}
