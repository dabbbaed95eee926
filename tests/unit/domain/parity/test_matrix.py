"""Environments side by side: rows, kinds, shares and letters."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as some

from pipeline.config.parity.properties import Value, plain
from pipeline.domain.parity import seen
from pipeline.domain.parity.matrix import (
    UNKNOWN,
    Column,
    Kind,
    Row,
    line,
    rows,
    share,
    told_apart,
    undeclared,
)

NAMES = ("memory", "cpu", "env.DEBUG", "hosts", "image", "unset")
values = some.dictionaries(
    some.sampled_from(NAMES), some.sampled_from("abc").map(plain), min_size=1, max_size=len(NAMES)
)
environments = some.lists(values, min_size=1, max_size=5)


def columns(*found: dict[str, Value], **differs: str) -> list[Column]:
    return [Column(f"e{number}", one, one, one, differs) for number, one in enumerate(found)]


def one(name: str, *texts: str) -> Row:
    [row] = rows(columns(*({name: plain(text)} for text in texts)))
    return row


@given(environments)
def test_the_share_is_whole_only_if_nothing_differs(found: list[dict[str, Value]]) -> None:
    every = rows(columns(*found))
    counted = share(every)
    assert counted.same + counted.declared + counted.undeclared == counted.of
    assert counted.of + counted.inherent == len(every)
    assert 0 <= counted.percent <= 100
    assert (counted.percent == 100) == (counted.same == counted.of)


@given(environments)
def test_the_same_environment_twice_never_differs(found: list[dict[str, Value]]) -> None:
    for each in found:
        assert {row.kind for row in rows(columns(each, each))} <= {Kind.SAME}


@given(environments, some.permutations(range(5)))
def test_the_order_of_environments_changes_no_kind(found: list[dict[str, Value]], order: list[int]) -> None:
    every = columns(*found)
    other = [every[place] for place in order if place < len(every)]
    assert [(row.name, row.kind) for row in rows(every)] == [(row.name, row.kind) for row in rows(other)]


@given(environments)
def test_reasons_in_all_environments_leave_nothing_undeclared(found: list[dict[str, Value]]) -> None:
    reasons = dict.fromkeys(("memory", "cpu", "env", "image", "unset"), "so it is meant")
    assert undeclared(columns(*found, **reasons)) == ()


def test_one_without_a_reason_may_differ_from_those_that_have_one() -> None:
    dev, qa, live = ({"memory": plain(text)} for text in "abb")
    kinds = [
        rows([Column("dev", dev, dev, dev, by), Column("qa", qa, qa, qa), Column("live", live, live, live)])[
            0
        ].kind
        for by in ({"memory": "small"}, {"cpu": "small"}, {})
    ]
    assert kinds == [Kind.DECLARED, Kind.UNDECLARED, Kind.UNDECLARED]


def test_a_change_by_hand_is_undeclared_also_where_hosts_differ() -> None:
    made = {"hosts": plain("a"), "memory": plain("1")}
    runs = {"hosts": plain("b"), "memory": plain("2")}
    column = Column("live", made, runs, made, {"memory": "so it is meant"})
    assert [(row.name, row.kind, row.by_hand) for row in rows([column])] == [
        ("memory", Kind.UNDECLARED, True),
        ("hosts", Kind.UNDECLARED, True),
    ]


def test_what_is_not_known_is_not_compared() -> None:
    nothing = Column("dev", {"memory": plain("1")})
    [memory] = rows([nothing, *columns({"memory": plain("1")})])
    assert memory.kind == Kind.SAME
    found = rows(
        [nothing, *columns({"memory": plain("1"), "image": plain("x"), "engine.version": plain("1")})]
    )
    image = next(row for row in found if row.name == "image")
    assert ([cell.text for cell in image.cells], image.kind) == ([UNKNOWN, "x"], Kind.SAME)


def test_keys_at_their_default_everywhere_are_left_out() -> None:
    unset, given_one = Value("1", "1", unset=True), Value("2", "2")
    assert rows(columns({"shm": unset}, {"shm": unset})) == ()
    assert [row.name for row in rows(columns({"shm": unset}, {"shm": given_one}))] == ["shm"]


def test_values_that_no_one_may_see_get_letters() -> None:
    found = rows(columns(*({"env.A": seen.hidden(text)} for text in ("x", "y", "x")), {}))
    assert [cell.text for cell in told_apart(found[0]).cells] == ["value A", "value B", "value A", "none"]
    assert line(found[0]) == "env.A: value A (e0), value B (e1), value A (e2), none (e3)"
    assert "'x'" not in repr(found)


def test_texts_that_are_alike_are_told_apart() -> None:
    long = [Value(text, "a long list…") for text in "ab"]
    [row] = rows(columns({"smoke": long[0]}, {"smoke": long[1]}))
    assert [cell.text for cell in told_apart(row).cells] == ["a long list… (A)", "a long list… (B)"]


def test_rows_come_as_people_look_for_them() -> None:
    names = ["zzz", "hosts", "env.B", "env.A", "image", "replicas", "engine.version"]
    found = rows(columns({name: plain("x") for name in names}))
    assert [row.name for row in found] == [
        "image", "replicas", "env.A", "env.B", "hosts", "engine.version", "zzz",
    ]  # fmt: skip


def test_containers_that_are_not_alike_are_one_value_that_says_so() -> None:
    assert seen.merged([seen.count(1), seen.count(1)]) == seen.count(1)
    assert seen.merged([seen.memory(1 << 20), seen.memory(2 << 20)]).text == "1 MiB and 2 MiB"
    assert seen.merged([seen.hidden("x"), seen.hidden("y")]).text == "set, not all alike"
    digest = "sha256:" + "a" * 64
    assert seen.image(digest).text == f"sha256:{'a' * 12}"
    assert seen.image(f"registry.example.com/shop@{digest}") == seen.image(digest)
    assert seen.image("busybox:1.36").text == "busybox:1.36"
