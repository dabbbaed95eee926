"""What is suggested: by tables, and for any load that it never goes below what was measured."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.domain.cost.load import Load, bucket
from pipeline.domain.cost.purposes import Replica, memory_with, need
from pipeline.domain.cost.rightsizing import ENOUGH, STEP, Change, Part, Sizes, changes
from pipeline.lib.units import parse_size

MIB = 1 << 20
WEEK = 7 * 86400.0
EACH = Replica(1.0, 256 * MIB)
DOCKER = Sizes(EACH, 1.0, 200 * MIB)


def part(
    cores: float = 0.3,
    replicas: int = 3,
    floor: int = 40,
    top: int = 60,
    nodes: int = 0,
    process: str = "",
    **more: float,
) -> Part:
    seconds = more.get("seconds", WEEK)
    load = Load(
        seconds, cores * seconds, replicas * seconds, floor * MIB, top * MIB, replicas, nodes,
        {bucket(cores): seconds},
    )  # fmt: skip
    found = need(load, replicas, EACH, 0.3)
    assert found
    return Part(process, replicas, load, found, 1.5, 4.1)


def suggested(*parts: Part, sizes: Sizes = DOCKER, spare: bool = True) -> dict[str, tuple[str, str]]:
    found = changes({one.process: one for one in parts}, sizes, 0.3, spare=spare)
    return {one.key: (one.before, one.after) for one in found}


def one_change(one: Part, sizes: Sizes = DOCKER, spare: bool = True) -> Change:
    (found,) = changes({one.process: one}, sizes, 0.3, spare=spare)
    return found


def test_an_idle_replica_goes_and_redundancy_stays_unless_asked() -> None:
    found = one_change(part())
    assert found == Change(
        "replicas", "3", "2", 4.1, 256 * MIB,
        "p95 load 16 % of the CPU, at the highest 16 %; memory up to 70 MiB of 256 MiB; loss of one survived (p95 load "
        "32 % then)",
    )  # fmt: skip
    lean = one_change(part(), spare=False)
    assert (lean.after, lean.monthly) == ("1", 5.6)
    assert lean.risk.endswith("while it is lost or starts again, nothing works there")
    less = one_change(part(1.2, 3), spare=False)
    assert (
        less.after,
        less.risk.endswith("loss of one not survived with headroom (p95 load 130 % then)"),
    ) == ("2", True)


@pytest.mark.parametrize(
    ("cores", "replicas", "nodes", "after"),
    [
        (0.3, 2, 0, None),
        (0.3, 1, 0, None),
        (0.3, 12, 0, "3"),
        (1.2, 4, 2, None),
        (1.2, 6, 2, "4"),
        (1.2, 6, 3, "3"),
    ],
)
def test_as_many_as_the_load_and_a_loss_need(
    cores: float, replicas: int, nodes: int, after: str | None
) -> None:
    assert suggested(part(cores, replicas, nodes=nodes)).get("replicas", ("", None))[1] == after


def test_what_others_set_and_what_the_file_has_already_are_left() -> None:
    assert suggested(replace(part(), declared=0)) == {}
    assert suggested(replace(part(), declared=2)) == {}
    assert suggested(replace(part(), declared=5)) == {"replicas": ("5", "2")}


def test_processes_are_named() -> None:
    found = suggested(part(replicas=2), part(process="mail"))
    assert found == {"processes.mail.replicas": ("3", "2")}


def test_too_little_measured_suggests_nothing() -> None:
    assert suggested(part(seconds=ENOUGH - 1)) == {}
    assert changes({}, DOCKER, 0.3) == []


def test_memory_stays_above_all_that_was_measured_with_headroom() -> None:
    small = replace(DOCKER, everything=100 * MIB)
    found = one_change(part(replicas=2), small)
    assert (found.key, found.before, found.after, found.monthly) == ("memory", "256MiB", "144MiB", 0.0)
    assert found.frees == 2 * 112 * MIB
    assert suggested(part(replicas=2, top=150), sizes=small) == {}
    assert suggested(part(replicas=2), sizes=replace(small, complete=False)) == {}
    cluster = replace(small, reserves_memory=True, gib=8.0)
    assert one_change(part(replicas=2), cluster).monthly == pytest.approx(8.0 * 224 / 1024)


def test_cpu_only_where_it_is_reserved() -> None:
    each = Replica(4.0, 256 * MIB)
    sizes = Sizes(each, 4.0, 200 * MIB, reserves_cpu=0.1, core=10.0)
    load = part(0.25, 2).load
    found = need(load, 2, each, 0.3)
    assert found
    one = Part("", 2, load, found)
    change = one_change(one, sizes)
    assert (change.key, change.before, change.after) == ("cpu", "4", "0.35")
    assert change.monthly == pytest.approx(2 * (0.4 - 0.125) * 10.0)
    assert suggested(one, sizes=replace(sizes, reserves_cpu=0.0)) == {}
    assert suggested(one, sizes=replace(sizes, reserves_cpu=0.001)) == {}


@given(
    st.floats(0.0, 8.0),
    st.integers(1, 12),
    st.integers(0, 4),
    st.integers(1, 250),
    st.integers(0, 250),
    st.booleans(),
)
def test_nothing_goes_below_what_was_measured(
    cores: float, replicas: int, nodes: int, floor: int, more: int, spare: bool
) -> None:
    one = part(cores, replicas, floor, min(256, floor + more), nodes)
    sizes = replace(DOCKER, everything=max(one.load.top, 30 * MIB), reserves_cpu=0.1)
    found = {change.key: change for change in changes({"": one}, sizes, 0.3, spare=spare)}
    left = int(found["replicas"].after) if "replicas" in found else replicas
    assert 1 <= left <= replicas
    assert left >= min(replicas, one.need.wanted)
    if spare:
        assert left >= min(replicas, 2)
    if "memory" in found:
        limit = parse_size(found["memory"].after)
        assert limit >= 1.3 * max(sizes.everything, memory_with(one.load, left))
        assert limit % STEP == 0
    if "cpu" in found:
        assert float(found["cpu"].after) * left >= one.need.most * 1.3 * (1 - 1e-9)
