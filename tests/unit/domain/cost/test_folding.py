"""Hours that become a day change no sum, in no time zone, whatever was measured and whatever the prices are."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config.cost.prices import INSTANCE_TYPE, Costs, Machine
from pipeline.domain.cost import folding
from pipeline.domain.cost.ledger import Account, Amount, Hour
from pipeline.domain.cost.month import Piece, spent
from pipeline.domain.cost.shares import folded
from pipeline.domain.cost.taken import Size
from pipeline.domain.measuring.monthly.calendar import month
from pipeline.lib import codec

ACCOUNTS = [Account("docker", "shop", "live", one) for one in ("serving", "warm")]
POD = Account("kubernetes:prod/app", "shop", "qa", "serving")
PRICES = Costs(
    machines={
        "here": Machine(monthly=12.5),
        "small": Machine(monthly=8.0, kubernetes="prod", type="a"),
        "large": Machine(monthly=31.0, kubernetes="prod", type="b"),
    }
)
ZONES = ["UTC", "Europe/Berlin", "America/Los_Angeles", "Asia/Kolkata", "Pacific/Kiritimati", "Etc/GMT+12"]


def an_hour(number: int, seconds: float, cores: float, memory: float, nodes: int) -> Hour:
    took = Amount(cores * seconds, memory * seconds, seconds)
    group = Amount(2.0 * nodes * seconds, 4.0 * nodes * seconds, nodes * seconds)
    return Hour(
        number,
        {"docker": seconds, POD.engine: seconds},
        {"docker": Size(2.0, 4 << 30), POD.engine: Size(2.0 * nodes, nodes << 32)},
        {str(ACCOUNTS[0]): took, str(ACCOUNTS[number % 2]): took, str(POD): took},
        {POD.engine: {f"{INSTANCE_TYPE}={'ab'[number % 2]}": group}},
    )


AN_HOUR = st.tuples(
    st.floats(0.0, 3700.0), st.floats(0.0, 5.0), st.floats(0.0, 9.0), st.integers(1, 4), st.booleans()
)


@settings(max_examples=25, deadline=None)
@given(st.lists(AN_HOUR, min_size=24, max_size=120), st.sampled_from(ZONES), st.integers(0, 27))
def test_sums_stay_as_they_are(values, zone: str, day: int) -> None:
    wanted = month("2026-10", zone)
    first = (int(wanted.since // 86400) + day) * 24
    hours = [
        an_hour(first + number, seconds, cores, memory, nodes)
        for number, (seconds, cores, memory, nodes, there) in enumerate(values)
        if there
    ]
    every = [one for one in hours if wanted.since <= one.number * 3600 < wanted.until]
    kept: list[Piece] = [one for one in every if folding.at_edge(one.number // 24)]
    for number in sorted({one.number // 24 for one in every}):
        if not folding.at_edge(number):
            kept.append(folded(number, [one for one in every if one.number // 24 == number]))
    before = spent(every, PRICES, wanted, wanted.until + 1e6, lambda _: wanted.since)
    after = spent(kept, PRICES, wanted, wanted.until + 1e6, lambda _: wanted.since)
    assert after.total == pytest.approx(before.total, abs=1e-6)
    assert [one.account for one in after.lines] == [one.account for one in before.lines]
    for old, new in zip(before.lines, after.lines, strict=True):
        assert new.cost == pytest.approx(old.cost, abs=1e-6)
        assert new.amount.memory == pytest.approx(old.amount.memory, abs=0.1)
    assert after.unpriced == before.unpriced
    assert after.unseen == pytest.approx(before.unseen, abs=1.0)


def test_a_day_is_read_as_it_was_written() -> None:
    one = folded(20000, [an_hour(480000 + number, 3600.0, 0.1, 0.5, 2) for number in range(24)])
    assert codec.load(type(one), codec.dump(one)) == one


def test_days_on_which_a_month_may_begin_keep_their_hours() -> None:
    first = folding.day_of(month("2026-11", "UTC").since)
    assert [number - first for number in range(first - 5, first + 29) if folding.at_edge(number)] == [-1, 0]
    assert folding.at_edge(first + 29)
    for zone in ZONES:
        assert folding.at_edge(folding.day_of(month("2026-11", zone).since))


def test_hours_are_kept_for_five_weeks() -> None:
    now = 20000 * 86400.0
    assert [folding.may_fold(20000 - days, now) for days in (0, 35, 36)] == [False, False, True]
