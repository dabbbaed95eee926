"""What a look adds to a load, and what a histogram says: never too little, and at most its stated error too much."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.domain.cost import load
from pipeline.domain.cost.load import ALL, ERROR, Load, added, bound, bucket, quantile, sampled
from pipeline.domain.cost.taken import Taken

LIVE = ("shop", "live", "")
cores = st.floats(0.004, 500.0)
loads = st.builds(
    Load,
    seconds=st.integers(1, 10**6).map(float),
    used=st.integers(0, 10**9).map(lambda n: n / 1000),
    count=st.integers(0, 10**7).map(float),
    floor=st.integers(0, 2**40),
    top=st.integers(0, 2**40),
    replicas=st.integers(0, 12),
    nodes=st.integers(0, 12),
    buckets=st.dictionaries(st.integers(load.LOWEST, 80), st.integers(1, 10**6).map(float), max_size=6),
)


def web(name: str, memory: int, **more: object) -> Taken:
    return Taken(name, "web", memory, "shop", "live", "blue", **more)  # type: ignore[arg-type]


def test_a_look_adds_up_what_serves_and_keeps_the_highest_memory_of_all() -> None:
    found = [
        (web("a", 100, node="n1"), "serving"),
        (web("b", 300, node="n2"), "serving"),
        (web("c", 900), "deploying"),
        (Taken("d", "process", 50, "shop", "live", "blue", "mail"), "serving"),
        (Taken("e", "accessory", 7, "db", "live"), "serving"),
        (Taken("f", "system", 7), "system"),
    ]
    loads = sampled(found, {"a": 0.25, "b": 0.25, "c": 2.0, "d": 0.0}, 60.0)
    assert loads == {
        LIVE: Load(60, 30, 120, 100, 300, 2, 2, {bucket(0.5): 60}),
        ("shop", "live", "mail"): Load(60, 0, 60, 50, 50, 1, 0, {load.LOWEST: 60}),
        ("shop", "live", ALL): Load(60, top=900),
    }
    assert quantile(loads[LIVE], 0.95) == 0.5


def test_a_release_that_takes_a_part_of_the_visitors_bears_load_of_those_that_serve() -> None:
    found = [(web("a", 100), "serving"), (web("b", 100), "deploying"), (web("c", 100), "warm")]
    cores = {"a": 0.5, "b": 0.25, "c": 9.0}
    assert sampled(found, cores, 60.0)[LIVE].used == 30.0
    shared = sampled(found, cores, 60.0, {LIVE[:2]})[LIVE]
    assert (shared.used, shared.replicas) == (45.0, 1)


def test_what_a_cluster_does_not_tell_is_not_taken_for_no_load() -> None:
    found = [(web("a", 0, node="n1"), "serving"), (web("b", 100, node="n2"), "serving")]
    assert sampled(found, {"a": 0.0, "b": 0.5}, 60.0) == {("shop", "live", ALL): Load(60, top=100)}


def test_nothing_that_serves_is_no_load() -> None:
    assert sampled([], {}, 60.0) == {}
    assert quantile(Load(), 0.95) == 0.0


def test_a_quantile_leaves_out_the_time_above_it() -> None:
    one = Load(100, buckets={bucket(0.5): 94.0, bucket(1.0): 1.0, bucket(4.0): 5.0})
    assert (quantile(one, 0.94), quantile(one, 0.95), quantile(one, 1.0)) == (0.5, 1.0, 4.0)


@given(cores)
def test_a_bucket_is_never_below_and_at_most_its_error_above(value: float) -> None:
    upper = bound(bucket(value))
    assert value <= upper <= value * (1 + ERROR) * (1 + 1e-9)


@pytest.mark.parametrize("value", [0.0, -1.0, 1e-9, bound(load.LOWEST)])
def test_next_to_nothing_is_in_the_lowest_bucket(value: float) -> None:
    assert bucket(value) == load.LOWEST


@given(loads)
def test_it_is_read_as_it_was_written(one: Load) -> None:
    assert load.load(str(one)) == one


@pytest.mark.parametrize("text", ["", "1 2", "1 2 3 4 5 6 x", "1 2 3 4 5 6 7 8"])
def test_another_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        load.load(text)


@given(loads, loads, loads)
def test_hours_can_be_put_together_in_any_groups(one: Load, two: Load, three: Load) -> None:
    assert str((one + two) + three) == str(one + (two + three))
    assert str(one + Load()) == str(Load() + one) == str(one)
    both = added({LIVE: one}, {LIVE: two, ("other", "live", ""): three})
    assert both[LIVE].seconds == one.seconds + two.seconds
    assert sum(both[LIVE].buckets.values()) == sum(one.buckets.values()) + sum(two.buckets.values())
