"""What each replica is for: by tables, and for any load that the sums stay the same."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.cost.prices import Costs
from pipeline.domain.cost.ledger import Account, Amount, Hour
from pipeline.domain.cost.load import Load, bucket
from pipeline.domain.cost.purposes import (
    LEAST,
    Need,
    Replica,
    idle_days,
    memory_with,
    need,
    split,
    with_redundancy,
)
from pipeline.domain.cost.sentences import sentence
from pipeline.domain.cost.shares import Day, folded
from pipeline.domain.cost.taken import Size

MIB = 1 << 20
EACH = Replica(1.0, 256 * MIB)
LIVE = ("shop", "live", "")
WEEK = 7 * 86400.0


def load(
    cores: float, replicas: int = 3, floor: int = 40, top: int = 60, nodes: int = 0, seconds: float = WEEK
) -> Load:
    return Load(
        seconds, cores * seconds, replicas * seconds, floor * MIB, top * MIB, replicas, nodes,
        {bucket(cores): seconds},
    )  # fmt: skip


def purposes(found: Need | None) -> tuple[int, int, int]:
    assert found
    return found.serving, found.redundancy, found.idle


@pytest.mark.parametrize(
    ("cores", "replicas", "expected"),
    [
        (0.0, 1, (1, 0, 0)),
        (0.0, 2, (1, 1, 0)),
        (0.5, 3, (1, 1, 1)),
        (0.7, 3, (1, 1, 1)),
        (
            0.76,
            3,
            (2, 1, 0),
        ),  # 0.77 is the upper bound of its bucket, and with headroom just more than one replica
        (0.8, 3, (2, 1, 0)),
        (1.4, 6, (2, 1, 3)),
        (2.0, 2, (2, 0, 0)),  # needs three
    ],
)
def test_the_load_of_all_together_decides(
    cores: float, replicas: int, expected: tuple[int, int, int]
) -> None:
    assert purposes(need(load(cores, replicas), replicas, EACH, 0.3)) == expected


def test_too_few_replicas_are_known_as_such() -> None:
    found = need(load(2.0, 2), 2, EACH, 0.3)
    assert found
    assert (found.replicas, found.wanted, found.enough) == (2, 3, 4)


def test_too_little_measured_and_no_replicas_say_nothing() -> None:
    assert need(load(0.5, seconds=LEAST - 1), 3, EACH, 0.3) is None
    assert need(load(0.5), 0, EACH, 0.3) is None


@pytest.mark.parametrize(
    ("floor", "top", "expected"),
    [
        (40, 60, (1, 1, 1)),
        (40, 120, (2, 1, 0)),  # one alone would have 40 + 3 × 80
        (100, 190, (3, 0, 0)),  # two would have 235, which with headroom is too much
        (100, 250, (3, 0, 0)),  # not even three have the headroom
        (190, 190, (1, 1, 1)),  # it holds that in any case
    ],
)
def test_memory_that_is_not_held_in_any_case_moves_to_those_that_are_left(
    floor: int, top: int, expected: tuple[int, int, int]
) -> None:
    found = need(load(0.1, 3, floor, top), 3, EACH, 0.3)
    assert purposes(found) == expected
    assert found
    assert found.by_memory == (expected[0] > 1)


def test_the_memory_of_fewer() -> None:
    one = load(0.1, 3, 40, 120)
    assert [memory_with(one, n) // MIB for n in (3, 2, 1)] == [120, 160, 280]
    assert memory_with(one, 5) // MIB == 120
    assert memory_with(Load(), 1) == 0


@pytest.mark.parametrize(
    ("wanted", "nodes", "enough"),
    [
        (1, 0, 2),
        (3, 0, 4),
        (3, 1, 4),
        (1, 2, 2),
        (1, 5, 2),
        (2, 2, 4),
        (2, 3, 3),
        (3, 2, 6),
        (4, 3, 6),
        (6, 12, 7),
    ],
)
def test_redundancy_outlives_one_replica_or_one_of_several_nodes(
    wanted: int, nodes: int, enough: int
) -> None:
    assert with_redundancy(wanted, nodes) == enough


@given(st.integers(1, 12), st.integers(0, 12))
def test_what_is_left_after_a_loss_is_enough_and_one_less_would_not_be(wanted: int, nodes: int) -> None:
    def left(replicas: int) -> int:
        on = min(max(nodes, 1), replicas)
        return replicas - (1 if nodes <= 1 else math.ceil(replicas / on))

    found = with_redundancy(wanted, nodes)
    assert left(found) >= wanted
    assert all(left(fewer) < wanted for fewer in range(wanted, found))


amounts = st.builds(Amount, st.floats(0, 1e6), st.floats(0, 1e6), st.floats(0, 5e4))


@given(amounts, amounts, st.integers(1, 12), st.floats(0.0, 8.0), st.floats(0.0, 1.0), st.integers(0, 4))
def test_a_divided_hour_has_the_same_sums(
    web: Amount, other: Amount, replicas: int, cores: float, used: float, nodes: int
) -> None:
    found = need(load(cores, replicas, nodes=nodes), replicas, EACH, 0.3)
    assert found
    assert found.serving + found.redundancy + found.idle == replicas
    account, warm = Account("docker", *LIVE[:2], "serving"), Account("docker", *LIVE[:2], "warm")
    hour = Hour(1, {"docker": 3600.0}, {}, {str(account): web, str(warm): other})
    after = split(hour, {LIVE: found}, {LIVE: used})
    assert after.amounts[str(warm)] == other
    whole = sum((one for key, one in after.amounts.items() if key != str(warm)), Amount())
    for name in ("cores", "memory", "count"):
        assert getattr(whole, name) == pytest.approx(getattr(web, name), rel=1e-9, abs=1e-6)
        assert all(getattr(one, name) >= -1e-6 for one in after.amounts.values())


def test_what_is_used_stays_with_what_serves_and_memory_does_not() -> None:
    account = str(Account("docker", *LIVE[:2], "serving"))
    hour = Hour(1, {"docker": 3600.0}, {}, {account: Amount(1800, 300, 3 * 3600)})
    found = need(load(0.5), 3, EACH, 0.3)
    assert found
    after = split(hour, {LIVE: found}, {})
    assert after.amounts == {
        account: Amount(1800, 100, 3600),
        account.replace("serving", "redundancy"): Amount(0, 100, 3600),
        account.replace("serving", "idle"): Amount(0, 100, 3600),
    }
    reserved = split(hour, {LIVE: found}, {LIVE: 0.1}).amounts
    assert [round(reserved[key].cores) for key in sorted(reserved)] == [600, 600, 600]


def test_an_hour_with_fewer_replicas_and_what_is_not_known_stay_as_they_are() -> None:
    account = str(Account("docker", *LIVE[:2], "serving"))
    hour = Hour(1, {"docker": 3600.0}, {}, {account: Amount(1800, 300, 3600)})
    found = need(load(0.5), 3, EACH, 0.3)
    assert found
    assert split(hour, {LIVE: found}, {}) == split(hour, {}, {}) == hour
    assert split(Hour(1, {}, {}, hour.amounts), {LIVE: found}, {}).amounts == hour.amounts


def test_a_day_is_divided_as_its_hours_are() -> None:
    text = str(Account("docker", "shop", "live", "serving"))
    took = Amount(3600.0, 3 * 3600.0, 3 * 3600.0)
    hours = [
        Hour(480000 + number, {"docker": 3600.0}, {"docker": Size(4.0, 8 << 30)}, {text: took})
        for number in range(24)
    ]
    found = need(load(0.5, 3), 3, EACH, 0.3)
    assert found
    day = folded(20000, hours)
    after, by_hour = (
        split(day, {LIVE: found}, {}),
        folded(20000, [split(one, {LIVE: found}, {}) for one in hours]),
    )  # type: ignore[arg-type]
    assert isinstance(after, Day)
    assert {key.split("|")[3] for key in after.shares} == {"serving", "redundancy", "idle"}
    assert after.shares.keys() == by_hour.shares.keys()
    for key, share in after.shares.items():
        assert share.machines[""] == pytest.approx(by_hour.shares[key].machines[""], abs=0.1)
        assert share.amount.memory == pytest.approx(by_hour.shares[key].amount.memory, abs=0.1)
    whole = sum(share.machines[""] for share in after.shares.values())
    assert whole == pytest.approx(86400.0, abs=0.1)


def test_days_in_a_row_from_the_newest() -> None:
    calm, busy = load(0.2), load(1.2)
    assert idle_days([calm] * 12, EACH, 0.3, 1) == 12
    assert idle_days([calm, calm, busy, calm], EACH, 0.3, 1) == 2
    assert idle_days([calm, None, calm], EACH, 0.3, 1) == 1
    assert idle_days([], EACH, 0.3, 1) == idle_days([calm], EACH, 0.3, 2) == 0


def said(one: Load, replicas: int, days: int = 12, monthly: float = 4.1) -> str:
    found = need(one, replicas, EACH, 0.3)
    return sentence("shop/live", one, found, EACH, 0.3, days, monthly, Costs(), 0.0)


@pytest.mark.parametrize(
    ("one", "replicas", "days", "monthly", "expected"),
    [
        (
            load(0.707, top=40), 3, 12, 4.1,
            "shop/live has 3 replicas: 1 serves, 1 is redundancy, 1 has been idle for 12 days (4.10 EUR a month). With "
            "one replica less: p95 load 35 % of the CPU, memory up to 40 MiB of 256 MiB, loss of one survived.",
        ),
        (
            load(1.4, 6, top=40, nodes=3, seconds=2 * 86400), 6, 0, 0.0,
            "shop/live has 6 replicas: 2 serve, 1 is redundancy, 3 are idle. With one replica less: p95 load 28 % of "
            "the CPU, memory up to 40 MiB of 256 MiB, loss of one node survived. Measured for 2 days, since 1970-01-01 "
            "00:00:00 UTC.",
        ),
        (load(0.5), 2, 0, 0.0, ""),
        (load(0.5), 1, 0, 0.0, ""),
        (
            load(0.9, 1), 1, 0, 0.0,
            "shop/live has 1 replica, and the load needs 2 with 30 % headroom: p95 load 92 % of the CPU.",
        ),
        (
            load(0.5, seconds=7200), 3, 0, 0.0,
            "shop/live has 3 replicas; what each is for can be said when a day has been measured (since 1970-01-01 "
            "00:00:00 UTC: 2 hours).",
        ),
    ],
)  # fmt: skip
def test_sentences(one: Load, replicas: int, days: int, monthly: float, expected: str) -> None:
    assert said(one, replicas, days, monthly) == expected
