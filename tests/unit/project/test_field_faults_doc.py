"""docs/field-faults.md: every row has a kind, a number of its own, and tests that are there."""

from __future__ import annotations

import re

from tests.support.paths import ROOT

DOC = (ROOT / "docs" / "field-faults.md").read_text()
KINDS = re.findall(r"^- \*\*([A-Z])\*\* ", DOC, re.M)
ROWS = [line.strip("| ").split(" | ") for line in DOC.splitlines() if re.match(r"\| [A-Z]\d", line)]


def test_every_row_has_five_cells_a_kind_and_a_number_of_its_own() -> None:
    assert [row for row in ROWS if len(row) != 5] == []
    numbers = [row[0] for row in ROWS]
    assert sorted(set(numbers)) == sorted(numbers)
    assert {number[0] for number in numbers} <= set(KINDS)


def test_every_row_names_existing_tests() -> None:
    for number, *_, cell in ROWS:
        named = re.findall(r"`(tests/[^`:]+)::(\w+)`", cell)
        assert named, number
        for file, test in named:
            assert f"def {test}(" in (ROOT / file).read_text(), f"{number}: {file}::{test}"
