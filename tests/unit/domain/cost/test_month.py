"""A month's cost from its hours: every line, and that nothing is paid twice or lost."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline.config.cost.prices import INSTANCE_TYPE, Costs, Machine
from pipeline.domain.cost.ledger import Account, Amount, Hour
from pipeline.domain.cost.month import Spent, monthly, spent, to_come
from pipeline.domain.cost.shares import RATIO
from pipeline.domain.cost.taken import Nodes, Size
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


def costs(*machines: Machine) -> Costs:
    return Costs(machines={f"m{n}": one for n, one in enumerate(machines)})


def paid(hours: list[Hour], price: float, now: float, began: float) -> Spent:
    return spent(hours, costs(Machine(monthly=price)), NOVEMBER, now, lambda _: began)


def test_nothing_measured_costs_nothing_before_it_began() -> None:
    now = NOVEMBER.since + DAY
    assert paid([], 30.0, now, now).total == 0.0


def test_each_pays_for_what_it_took_and_the_rest_is_idle() -> None:
    hours = [hour(0, web=Amount(3600.0, 3600.0), warm=Amount(0.0, 1800.0))]
    found = paid(hours, 720.0, NOVEMBER.since + 3600, NOVEMBER.since)
    cost = {one.account.purpose: one.cost for one in found.lines}
    whole = 2 * RATIO + 4  # what a machine is worth, in GiB
    assert cost["serving"] == pytest.approx((RATIO + 1) / whole)
    assert cost["warm"] == pytest.approx(0.5 / whole)
    assert cost["idle"] == pytest.approx((RATIO + 2.5) / whole)
    assert found.total == pytest.approx(1.0)  # an hour of a month of 720


def test_a_whole_month_costs_its_price() -> None:
    hours = [hour(n, web=Amount(n % 7 * 100.0, 3600.0)) for n in range(720)]
    found = paid(hours, 12.5, NOVEMBER.until + DAY, NOVEMBER.since - DAY)
    assert found.total == pytest.approx(12.5)
    assert monthly(hours[-1], costs(Machine(monthly=12.5))) == 12.5


def test_time_that_was_not_measured_costs_and_has_no_purpose() -> None:
    found = paid([hour(0)], 30.0, NOVEMBER.since + DAY, NOVEMBER.since)
    cost = {one.account.purpose: one.cost for one in found.lines}
    assert cost["not measured"] == pytest.approx(23 / 24)
    assert found.total == pytest.approx(1.0)


def test_the_time_since_the_last_look_is_not_yet_missing() -> None:
    looked = replace(hour(0), looked={"docker": NOVEMBER.since + 3600})
    found = paid([looked], 720.0, NOVEMBER.since + 3660, NOVEMBER.since)
    assert found.total == pytest.approx(1.0)
    later = paid([looked], 720.0, NOVEMBER.since + 7200, NOVEMBER.since)
    assert later.total == pytest.approx(2.0)


def test_measuring_that_began_within_the_month_pays_from_then_on() -> None:
    began = NOVEMBER.since + 15 * DAY
    assert paid([], 30.0, NOVEMBER.until, began).total == pytest.approx(15.0)
    assert paid([], 30.0, NOVEMBER.until, NOVEMBER.until + 1).total == 0.0


def test_more_reserved_than_there_is_is_paid_in_proportion() -> None:
    hours = [hour(0, web=Amount(4 * 3600.0, 8 * 3600.0), warm=Amount(4 * 3600.0, 8 * 3600.0))]
    found = paid(hours, 720.0, NOVEMBER.since + 3600, NOVEMBER.since)
    assert [round(one.cost, 6) for one in found.lines] == [0.0, 0.5, 0.5]


def test_an_engine_without_a_price_is_named_and_costs_nothing() -> None:
    other = costs(Machine(monthly=5.0, docker="ssh://u@h"))
    found = spent([hour(0)], other, NOVEMBER, NOVEMBER.since + 3600, lambda _: NOVEMBER.since)
    assert found.unpriced == (("docker", ""),)
    assert {one.account.engine for one in found.lines} == {"docker:ssh://u@h"}


def test_the_rest_of_the_month_is_as_the_last_days_were() -> None:
    hours = [hour(n, web=Amount(3600.0, 2 * 3600.0)) for n in range(24)]
    now, prices = NOVEMBER.since + 15 * DAY, costs(Machine(monthly=30.0))
    found = to_come(hours, prices, NOVEMBER, now)
    assert sum(found.values()) == pytest.approx(15.0)
    assert found[WEB] == pytest.approx(7.5)
    assert to_come(hours, prices, NOVEMBER, NOVEMBER.until + 1)[WEB] == 0.0
    assert to_come([], prices, NOVEMBER, now) == {
        Account("docker", "", "", "not measured"): pytest.approx(15.0)
    }


def test_days_add_up_to_the_month_also_when_more_is_reserved_and_a_clock_was_set_back() -> None:
    hours = [hour(n, seconds=3600.0 + n % 5 * 60, web=Amount(n % 9 * 3000.0, 3600.0)) for n in range(100)]
    found = paid(hours, 720.0, NOVEMBER.since + 101 * 3600.0, NOVEMBER.since + 1800.0)
    assert len(found.days) == 5
    assert sum(one.cost for day in found.days.values() for one in day) == pytest.approx(found.total)
    assert found.total == pytest.approx(100.5)


# A cluster: nodes come and go, and two namespaces have the same ones.

APP, OTHER = "kubernetes:prod/app", "kubernetes:prod/other"
SMALL, LARGE = (f"{INSTANCE_TYPE}={name}" for name in ("cx22", "cx42"))


def cluster_hour(number: int, small: float, large: float = 0.0, *engines: str) -> Hour:
    """With that many nodes in it, of 2 cores and 4 GiB, or twice that."""
    nodes = {
        SMALL: Amount(2 * small * 3600, 4 * small * 3600, small * 3600),
        LARGE: Amount(4 * large * 3600, 8 * large * 3600, large * 3600),
    }
    every = engines or (APP,)
    size = Size(0.0, 0, {SMALL: Nodes(int(small), 2.0 * small, 0), LARGE: Nodes(int(large), 4.0, 0)})
    took = Amount(3600.0, 2 * 3600.0, 3600.0)
    return Hour(
        FIRST + number,
        dict.fromkeys(every, 3600.0),
        dict.fromkeys(every, size),
        {str(Account(one, "shop", "live", "serving")): took for one in every},
        dict.fromkeys(every, nodes),
    )


def of_cluster(hours: list[Hour], *machines: Machine, now: float = 3600.0) -> Spent:
    return spent(hours, costs(*machines), NOVEMBER, NOVEMBER.since + now, lambda _: NOVEMBER.since)


ANY = Machine(monthly=720.0, kubernetes="prod")


def test_a_cluster_costs_what_its_nodes_did_while_they_were_there() -> None:
    found = of_cluster([cluster_hour(0, 3), cluster_hour(1, 1.5)], ANY, now=7200.0)
    assert found.total == pytest.approx(4.5)
    cost = {one.account: one.cost for one in found.lines}
    part = (RATIO + 2) / (2 * RATIO + 4)
    assert cost[Account(APP, "shop", "live", "serving")] == pytest.approx(2 * part)
    assert cost[Account("kubernetes:prod/", "", "", "idle")] == pytest.approx(4.5 - 2 * part)


def test_namespaces_of_a_cluster_pay_its_nodes_once() -> None:
    found = of_cluster([cluster_hour(0, 3, 0, APP, OTHER)], ANY)
    assert found.total == pytest.approx(3.0)
    assert [one.account.engine for one in found.lines] == ["kubernetes:prod/", APP, OTHER]


def test_nodes_have_the_price_of_their_type_and_those_without_one_are_named() -> None:
    small = Machine(monthly=720.0, kubernetes="prod", type="cx22")
    large = Machine(monthly=7200.0, kubernetes="prod", type="cx42")
    assert of_cluster([cluster_hour(0, 3, 1)], small, large).total == pytest.approx(13.0)
    assert of_cluster([cluster_hour(0, 3, 1)], ANY, large).total == pytest.approx(13.0)
    alone = of_cluster([cluster_hour(0, 3, 1)], small)
    assert alone.total == pytest.approx(3.0)
    assert alone.unpriced == (("kubernetes:prod/", LARGE),)
    assert monthly(cluster_hour(0, 3, 1, APP, OTHER), costs(small, large)) == 3 * 720 + 7200


def test_a_cluster_that_was_not_measured_is_in_no_sum() -> None:
    found = of_cluster([cluster_hour(0, 3)], ANY, now=2 * DAY)
    assert found.total == pytest.approx(3.0)
    assert found.unseen == {"kubernetes:prod/": pytest.approx(47 * 3600)}
    assert to_come([], costs(ANY), NOVEMBER, NOVEMBER.since + DAY) == {}


def test_the_rest_of_a_month_has_as_many_nodes_as_the_last_days_had() -> None:
    found = to_come([cluster_hour(0, 3), cluster_hour(1, 1)], costs(ANY), NOVEMBER, NOVEMBER.until - 3600)
    assert sum(found.values()) == pytest.approx(2.0)
