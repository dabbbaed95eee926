"""The audit log's chain: whatever is changed in it from outside is found."""

from __future__ import annotations

import hashlib
import json
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.domain import audit_chain
from pipeline.domain.audit_chain import BEGINNING, Actor, Entry, Mark, verify
from pipeline.lib.text import printable

ANN = Actor("ann", "developer", "10.0.0.9", "cli")


def chain(count: int, word: str = "") -> tuple[list[str], Mark]:
    last, lines = BEGINNING, []
    for number in range(count):
        raw = audit_chain.canonical(
            audit_chain.entry(ANN, "hold", 1e9 + number, pipeline="hello", why=f"{word}{number}")
        )
        line, last = audit_chain.link(raw, last)
        lines.append(line)
    return lines, last


def relinked(value: Entry) -> str:
    """The entry with a hash that fits what it says now."""
    return audit_chain.canonical(value | {"hash": audit_chain.digest(value)})


LINES, HEAD = chain(12)
places = st.integers(0, len(LINES) - 1)


def test_a_whole_chain_has_no_problem():
    report = verify(LINES, HEAD, HEAD.hash)
    assert (report.entries, report.newest, report.problems) == (12, HEAD, [])
    assert verify([]).problems == []
    assert verify(LINES, Mark(5, str(json.loads(LINES[4])["hash"]))).problems == []  # the file may be behind


def test_the_hash_can_be_checked_with_other_tools():
    value = json.loads(LINES[3])
    own = value.pop("hash")
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    assert hashlib.sha256(text.encode()).hexdigest() == own
    assert value["previous"] == json.loads(LINES[2])["hash"]
    assert json.loads(LINES[0])["previous"] == "0" * 64


@given(places, st.data())
def test_any_changed_character_is_found(place, data):
    line = LINES[place]
    at = data.draw(st.integers(0, len(line) - 1))
    other = data.draw(st.characters(exclude_characters=line[at]) | st.just(""))
    found = verify([*LINES[:place], line[:at] + other + line[at + 1 :], *LINES[place + 1 :]], HEAD).problems
    assert f"line {place + 1} " in found[0]


@given(
    places, st.sampled_from(["who", "act", "why", "time", "release", "run", "address"]), st.text(min_size=1)
)
def test_a_changed_entry_with_a_fitting_hash_is_found(place, key, text):
    value = json.loads(LINES[place])
    changed = relinked(value | {key: value[key] + text})
    problems = verify([*LINES[:place], changed, *LINES[place + 1 :]], HEAD).problems
    number = min(place + 2, len(LINES))
    assert any(f"entry {number} " in problem for problem in problems), problems


@given(places, st.integers(-3, 20))
def test_a_renumbered_entry_is_found(place, number):
    value = json.loads(LINES[place])
    problems = verify(
        [*LINES[:place], relinked(value | {"number": number}), *LINES[place + 1 :]], HEAD
    ).problems
    assert bool(problems) == (number != place + 1)


@given(places, st.integers(1, 12))
def test_missing_entries_are_named(place, count):
    left = [*LINES[:place], *LINES[place + count :]]
    problems = verify(left, HEAD).problems
    last = min(place + count, len(LINES))
    if last == len(LINES):
        assert problems == [
            f"the log ends with entry {place}, but there was an entry 12: the end was cut off"
        ]
    else:
        one = f"entry {place + 1} is missing"
        assert problems == [one if count == 1 else f"entries {place + 1} to {last} are missing"]


@given(places, places)
def test_swapped_entries_are_found(one, other):
    lines = list(LINES)
    lines[one], lines[other] = lines[other], lines[one]
    problems = verify(lines, HEAD).problems
    assert bool(problems) == (one != other)
    assert all("moved" in problem for problem in problems)


@given(places, places)
def test_a_repeated_entry_is_found(source, place):
    problems = verify([*LINES[:place], LINES[source], *LINES[place:]], HEAD).problems
    assert any("two entries" in problem or "moved" in problem for problem in problems), problems


@given(places)
def test_an_inserted_entry_is_found(place):
    before = BEGINNING if place == 0 else audit_chain.mark_of(LINES[place - 1], place)
    made, _ = audit_chain.link(audit_chain.canonical(audit_chain.entry("mallory", "push", 1.0)), before)
    assert verify([*LINES[:place], made, *LINES[place:]], HEAD).problems != []


def test_a_recreated_log_is_found_by_its_head_and_by_a_noted_hash():
    other, _ = chain(15, "other")
    assert verify(other).problems == []
    (problem,) = verify(other, HEAD).problems
    assert "entry 12 is not the one in audit.head" in problem
    (problem,) = verify(other, None, HEAD.hash).problems
    assert f"no entry has the hash {HEAD.hash} that you noted" in problem
    assert verify([], HEAD).problems


def test_a_long_list_of_problems_is_cut():
    problems = verify([line.replace("ann", "bob") for line in chain(50)[0]]).problems
    assert (len(problems), problems[-1]) == (audit_chain.SAID_AT_MOST + 1, "… and 30 more")


@pytest.mark.parametrize(
    "line", ["", "[]", "null", "1" * 5000, "[" * 100_000, '{"number": 1}', '{"hash": 3}']
)
def test_nonsense_is_a_problem_and_no_error(line):
    assert verify([line]).problems == ["line 1 of the log cannot be read: it was changed"]
    audit_chain.mark_of(line, 1)
    made, mark = audit_chain.link(line, BEGINNING)
    assert audit_chain.mark_of(made, 1) == mark


@settings(deadline=None)
@given(st.text(), st.text(), st.text())
def test_fault_47_entries_hold_one_bounded_printable_line(name, why, address):
    one = audit_chain.entry(Actor(name * 50, "x", address, "api"), "hold", 1.0, why=why * 300)
    for key, value in one.items():
        assert len(str(value)) <= (
            audit_chain.WHY_LIMIT if key in ("why", "detail", "before", "after") else audit_chain.LIMIT
        )
        assert printable(str(value)) == str(value)
        assert not {unicodedata.category(c) for c in str(value)} & {"Cc", "Cs", "Zl", "Zp"}
    audit_chain.canonical(one).encode("ascii")


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("use pl_0123456789abcdefghij-_ABCD please", "use ••• please"),
        ("from https://ann:hunter2@code.example/x", "from https://ann:•••@code.example/x"),
        ("see https://code.example/x", "see https://code.example/x"),
    ],
)
def test_fault_21_no_token_or_password_stays_in_an_entry(said, kept):
    assert audit_chain.entry("ann", "hold", 1.0, why=said)["why"] == kept
