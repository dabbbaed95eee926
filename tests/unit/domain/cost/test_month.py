"""A month's cost from its hours: every line, and that nothing is paid twice or lost."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline.domain.cost.ledger import Account, Amount, Hour
from pipeline.domain.cost.month import RATIO, spent, to_come
from pipeline.domain.cost.taken import Size
from pipeline.domain.measuring.monthly.calendar import month

NOVEMBER = month("2026-11", "UTC")
SIZE = Size(2.0, 4 << 30)
FIRST = int(NOVEMBER.since // 3600)
WEB, WARM = Account("docker", "shop", "live", "serving"), Account("docker", "shop", "live", "warm")
DAY = 86400.0


def hour(number: int = 0, seconds: float = 3600.0, **more: Amount) -> Hour:
    names = {"web": WEB, "warm": WARM}
    amounts = {str(names[key]): amount for key, amount in more.items()}
    return Hour(FIRST + number, {"docker": seconds}, {"docker": SIZE}, amounts)


def test_nothing_measured_costs_nothing_before_it_began() -> None:
    now = NOVEMBER.since + DAY
    assert spent([], {"docker": 30.0}, NOVEMBER, now, now).total == 0.0


def test_each_pays_for_what_it_took_and_the_rest_is_idle() -> None:
    hours = [hour(0, web=Amount(3600.0, 3600.0), warm=Amount(0.0, 1800.0))]
    found = spent(hours, {"docker": 720.0}, NOVEMBER, NOVEMBER.since + 3600, NOVEMBER.since)
    cost = {one.account.purpose: one.cost for one in found.lines}
    whole = 2 * RATIO + 4  # what a machine is worth, in GiB
    assert cost["serving"] == pytest.approx((RATIO + 1) / whole)
    assert cost["warm"] == pytest.approx(0.5 / whole)
    assert cost["idle"] == pytest.approx((RATIO + 2.5) / whole)
    assert found.total == pytest.approx(1.0)  # an hour of a month of 720


def test_a_whole_month_costs_its_price() -> None:
    hours = [hour(n, web=Amount(n % 7 * 100.0, 3600.0)) for n in range(720)]
    found = spent(hours, {"docker": 12.5}, NOVEMBER, NOVEMBER.until + DAY, NOVEMBER.since - DAY)
    assert found.total == pytest.approx(12.5)
    assert found.whole == 12.5


def test_time_that_was_not_measured_costs_and_has_no_purpose() -> None:
    found = spent([hour(0)], {"docker": 30.0}, NOVEMBER, NOVEMBER.since + DAY, NOVEMBER.since)
    cost = {one.account.purpose: one.cost for one in found.lines}
    assert cost["not measured"] == pytest.approx(23 / 24)
    assert found.total == pytest.approx(1.0)


def test_the_time_since_the_last_look_is_not_yet_missing() -> None:
    looked = replace(hour(0), looked={"docker": NOVEMBER.since + 3600})
    found = spent([looked], {"docker": 720.0}, NOVEMBER, NOVEMBER.since + 3660, NOVEMBER.since)
    assert found.total == pytest.approx(1.0)
    later = spent([looked], {"docker": 720.0}, NOVEMBER, NOVEMBER.since + 7200, NOVEMBER.since)
    assert later.total == pytest.approx(2.0)


def test_measuring_that_began_within_the_month_pays_from_then_on() -> None:
    began = NOVEMBER.since + 15 * DAY
    assert spent([], {"docker": 30.0}, NOVEMBER, NOVEMBER.until, began).total == pytest.approx(15.0)
    assert spent([], {"docker": 30.0}, NOVEMBER, NOVEMBER.until, NOVEMBER.until + 1).total == 0.0


def test_more_reserved_than_there_is_is_paid_in_proportion() -> None:
    hours = [hour(0, web=Amount(4 * 3600.0, 8 * 3600.0), warm=Amount(4 * 3600.0, 8 * 3600.0))]
    found = spent(hours, {"docker": 720.0}, NOVEMBER, NOVEMBER.since + 3600, NOVEMBER.since)
    assert [round(one.cost, 6) for one in found.lines] == [0.0, 0.5, 0.5]


def test_an_engine_without_a_price_is_named_and_costs_nothing() -> None:
    found = spent([hour(0)], {"docker:ssh://u@h": 5.0}, NOVEMBER, NOVEMBER.since + 3600, NOVEMBER.since)
    assert found.unpriced == ("docker",)
    assert {one.account.engine for one in found.lines} == {"docker:ssh://u@h"}


def test_the_rest_of_the_month_is_as_the_last_days_were() -> None:
    hours = [hour(n, web=Amount(3600.0, 2 * 3600.0)) for n in range(24)]
    now = NOVEMBER.since + 15 * DAY
    found = to_come(hours, {"docker": 30.0}, NOVEMBER, now)
    assert sum(found.values()) == pytest.approx(15.0)
    assert found[WEB] == pytest.approx(7.5)
    assert to_come(hours, {"docker": 30.0}, NOVEMBER, NOVEMBER.until + 1)[WEB] == 0.0
    assert to_come([], {"docker": 30.0}, NOVEMBER, now) == {
        Account("docker", "", "", "not measured"): pytest.approx(15.0)
    }
