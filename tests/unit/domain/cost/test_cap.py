"""Sums beside their caps, and what a request adds to them, by tables and for any figures."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.models import Pipeline, Service
from pipeline.domain.cost import cap
from pipeline.domain.cost.cap import Need, Rate, Resize, Standing, Sum, Told
from pipeline.domain.cost.ledger import SERVING, Account, Amount
from pipeline.domain.cost.month import IDLE, WINDOW, Line
from pipeline.domain.cost.shares import RATIO
from pipeline.domain.cost.taken import Size

NOW = 100 * 86400.0
SIZE = Size(2.0, 4 << 30)
WHOLE = 2 * RATIO + 4
DEV, LIVE = (Account("docker", "shop", name, SERVING) for name in ("dev", "live"))
FREE = Account("docker", "", "", IDLE)


def standing(elastic: bool = False, **more: object) -> Standing:
    """Half of a month of 100: 40 were spent, and as much is to come."""
    return Standing(
        (Line(DEV, 4.0, Amount()), Line(LIVE, 12.0, Amount()), Line(FREE, 24.0, Amount())),
        {DEV: 5.0, LIVE: 15.0, FREE: 20.0},
        {"docker": Rate(100.0, SIZE, elastic)},
        0.5,
        NOW,
        NOW - 30 * 86400.0,
        **more,  # type: ignore[arg-type]
    )


def resize(worth: float = WHOLE / 10, at: float = NOW, environment: str = "live") -> Resize:
    return Resize("shop#7", "shop", environment, "docker", worth, at)


def test_a_sum_is_what_was_spent_and_what_is_to_come() -> None:
    assert standing().sum("", 60.0) == Sum("", 40.0, 80.0, 60.0)
    assert standing().sum("shop", None) == Sum("shop", 16.0, 36.0)
    assert standing().sum("other", 1.0) == Sum("other", 0.0, 0.0, 1.0)


@pytest.mark.parametrize(
    ("ago", "more"),
    [(0.0, 5.0), (WINDOW / 2, 2.5), (WINDOW, 0.0), (2 * WINDOW, 0.0), (-60.0, 5.0)],
)
def test_what_was_changed_within_the_week_counts_as_far_as_the_week_does_not_show_it(
    ago: float, more: float
) -> None:
    found = standing(resized=(resize(at=NOW - ago),)).sum("shop", None)
    assert found.projected == pytest.approx(36.0 + more)


def test_a_change_before_measuring_began_is_shown_in_whole() -> None:
    young = replace(standing(resized=(resize(at=NOW - 600.0),)), began=NOW - 600.0)
    assert young.sum("shop", None).projected == pytest.approx(36.0)


def test_less_never_makes_what_is_to_come_negative() -> None:
    assert standing(resized=(resize(-10 * WHOLE),)).sum("shop", None).projected == pytest.approx(16.0)


@pytest.mark.parametrize(
    ("pipeline", "elastic", "adds"),
    [("shop", False, 5.0), ("shop", True, 5.0), ("", False, 0.0), ("", True, 5.0), ("other", True, 0.0)],
)
def test_only_what_comes_and_goes_raises_the_bill(pipeline: str, elastic: bool, adds: float) -> None:
    assert standing(elastic).adds(pipeline, "docker", WHOLE / 10, "shop") == pytest.approx(adds)


def test_an_engine_without_a_price_adds_nothing() -> None:
    assert standing().adds("shop", "kubernetes", 1.0, "shop") == 0.0


def test_more_than_the_machine_costs_no_more_than_the_machine() -> None:
    assert standing().adds("shop", "docker", 7 * WHOLE, "shop") == pytest.approx(50.0)
    assert Rate(9.0, Size(0.0, 0), elastic=False).cost(1.0, 0.5) == 0.0


@pytest.mark.parametrize(
    ("caps", "worth", "found"),
    [
        ({"shop": 41.0}, WHOLE / 10, []),
        ({"shop": 40.99}, WHOLE / 10, ["shop"]),
        ({"shop": 1.0}, 0.0, []),
        ({"shop": 1.0}, -1.0, []),
        ({"": 1.0}, WHOLE / 10, []),
        ({"": 1.0, "shop": 1.0, "other": 1.0}, WHOLE / 10, ["shop"]),
    ],
)
def test_only_what_raises_a_sum_passes_its_cap(
    caps: dict[str, float], worth: float, found: list[str]
) -> None:
    assert [one.sum.pipeline for one in cap.passed(standing(), caps, resize(worth), ())] == found


def test_what_gives_way_keeps_its_order_and_has_its_saving() -> None:
    order = (("shop", "qa"), ("shop", "dev"), ("shop", "live"))
    [one] = cap.passed(standing(), {"shop": 38.0}, resize(), order)
    assert one.yields == ((("shop", "dev"), 5.0),)  # not what asks for more, and not what saves nothing
    assert one.excess == pytest.approx(3.0)
    assert cap.enough(one.excess, one.yields) == (("shop", "dev"),)
    assert cap.savings(standing(), "", order) == ()
    assert cap.savings(standing(elastic=True), "", (("shop", "dev"),)) == ((("shop", "dev"), 5.0),)


def test_no_more_gives_way_than_is_needed() -> None:
    yields = ((("a", "dev"), 2.0), (("b", "dev"), 3.0), (("c", "dev"), 4.0))
    assert cap.enough(1.0, yields) == (("a", "dev"),)
    assert cap.enough(5.0, yields) == (("a", "dev"), ("b", "dev"))
    assert len(cap.enough(99.0, yields)) == 3
    assert cap.enough(0.0, yields) == ()


@pytest.mark.parametrize(
    ("projected", "told", "level"),
    [
        (79.0, None, None),
        (80.0, None, "near"),
        (101.0, None, "over"),
        (80.0, Told(100.0, "near"), None),
        (101.0, Told(100.0, "near"), "over"),
        (90.0, Told(100.0, "over"), None),
        (101.0, Told(100.0, "over"), None),
        (101.0, Told(90.0, "over"), "over"),
        (100.004, None, "near"),
    ],
)
def test_people_are_told_once_of_each_level_of_each_cap(projected, told, level) -> None:
    found = cap.to_tell(Sum("", 1.0, projected, 100.0), told)
    assert (found.level if found else None) == level


def service(replicas: int = 1, **more: object) -> Service:
    return Service.model_validate({"replicas": replicas, "cpu": 1.0, "memory": 1 << 30, **more})


ONE = Need(0.5, 1.0)


@pytest.mark.parametrize(
    ("before", "after", "worth"),
    [
        (service(1), service(1), 0.0),
        (service(1), service(3), 2 * ONE.worth),
        (service(3), service(1), -2 * ONE.worth),
        (None, service(2), 2 * ONE.worth),
        (service(1), service(1, memory=2 << 30), 0.0),  # Docker reserves nothing
        (service(1), service(1, processes={"mail": {"command": ["x"], "replicas": 2}}), 2 * ONE.worth),
        (service(1), service(1, processes={"mail": {"command": ["x"], "cron": "0 0 * * *"}}), 0.0),
    ],
)
def test_a_release_adds_the_containers_that_it_has_more(before, after, worth) -> None:
    assert cap.added(before, after, lambda _: ONE, on_cluster=False).worth == pytest.approx(worth)


def test_on_a_cluster_it_adds_what_it_requests_more() -> None:
    before, after = service(2), service(2, memory=3 << 30)
    assert cap.added(before, after, lambda _: None, on_cluster=True).worth == pytest.approx(4.0)
    more = service(2, requests={"memory": "1GiB"}, memory=3 << 30)
    assert cap.added(before, more, lambda _: ONE, on_cluster=True).worth == pytest.approx(0.0)


def test_what_is_not_known_is_said() -> None:
    assert cap.added(service(1), service(2), lambda _: None, on_cluster=False).worth is None
    assert cap.added(service(2), service(1), lambda _: None, on_cluster=False).worth == 0.0
    assert cap.added(service(2), service(2), lambda _: None, on_cluster=False).worth == 0.0


def test_what_was_measured_comes_from_the_environment_itself_first() -> None:
    amounts = {
        DEV: Amount(100.0, 200.0, 100.0),
        LIVE: Amount(300.0, 300.0, 100.0),
        Account("docker", "shop", "live", "warm"): Amount(9e9, 9e9, 1.0),
    }
    assert cap.measured(amounts, "shop", "live", "") == Need(3.0, 3.0)
    assert cap.measured(amounts, "shop", "qa", "") == Need(2.0, 2.5)
    assert cap.measured(amounts, "shop", "live", "mail") is None
    assert cap.measured(amounts, "blog", "live", "") is None


@pytest.mark.parametrize(
    ("service", "own", "need"),
    [
        ({}, None, None),
        ({"cpu": 0.5}, None, Need(0.5, 0.0)),
        ({"cpu": 0.5}, {"memory": 1 << 30}, Need(0.5, 1.0)),
    ],
)
def test_only_what_is_written_is_declared(service, own, need) -> None:
    pipeline = Pipeline.model_validate({"service": service, "environments": {"dev": own, "live": None}})
    assert cap.declared(pipeline, "dev") == need


@given(
    st.floats(0.1, 1e6),
    st.lists(st.floats(0.01, 1e3), max_size=8),
    st.floats(-1e6, 1e6),
)
def test_what_is_enough_is_enough_or_everything(excess: float, savings: list[float], worth: float) -> None:
    yields = tuple((("p", str(number)), saving) for number, saving in enumerate(savings))
    chosen = cap.enough(excess, yields)
    assert chosen == tuple(name for name, _ in yields[: len(chosen)])
    saved = sum(saving for _, saving in yields[: len(chosen)])
    assert saved >= excess - cap.CENT - 1e-6 or len(chosen) == len(yields)
    assert abs(standing().adds("shop", "docker", worth, "shop")) <= 50.0 + 1e-9


def test_a_preview_is_in_the_sum_of_its_pipeline() -> None:
    preview = Account("docker", "shop--login", "shop--login", SERVING)
    found = replace(standing(), coming={**standing().coming, preview: 2.0})
    assert found.sum("shop", None).projected == pytest.approx(38.0)
    assert found.saving("shop", ("shop--login", "shop--login")) == 2.0
    assert found.adds("shop", "docker", WHOLE / 10, "shop--login") == pytest.approx(5.0)
    assert cap.measured({DEV: Amount(1.0, 1.0, 1.0)}, "shop--login", "shop--login", "") == Need(1.0, 1.0)
