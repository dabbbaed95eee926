"""docs/faults.md: every row has tests that are there, and every fault that is tried has its row."""

from __future__ import annotations

import importlib
import re

from tests.faults.__main__ import GROUPS
from tests.faults.registry import FAULTS
from tests.support.paths import ROOT

DOC = (ROOT / "docs" / "faults.md").read_text()


def rows() -> dict[int, list[str]]:
    """The document's cells, by row."""
    lines = [line.strip("| ").split(" | ") for line in DOC.splitlines() if re.match(r"\| \d+ \|", line)]
    return {int(cells[0]): cells[1:] for cells in lines}


ROWS = range(1, len(rows()) + 1)  # numbered without a gap


def known_tests() -> set[str]:
    """``file::name`` of every test for a row."""
    return {
        f"{file.relative_to(ROOT)}::{name}"
        for file in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"def (test_fault_\w+)", file.read_text())
    }


def test_every_row_has_a_test_by_its_number() -> None:
    numbers = {int(match[1]) for name in known_tests() if (match := re.search(r"::test_fault_(\d\d)_", name))}
    assert numbers == set(ROWS)


def test_numbers_have_two_digits() -> None:
    assert [name for name in known_tests() if not re.search(r"::test_fault_\d\d_", name)] == []


def test_every_row_names_existing_tests() -> None:
    assert sorted(rows()) == list(ROWS)
    known = known_tests()
    for number, cells in rows().items():
        named = re.findall(r"`(tests/[^`]+)`", cells[2])
        assert set(named) <= known
        assert all(f"::test_fault_{number:02}_" in name for name in named)
        assert named, number


def test_every_fault_of_the_script_is_named_in_its_rows() -> None:
    for group in GROUPS:
        importlib.import_module(f"tests.faults.{group}")
    for fault in FAULTS.values():
        for number in fault.rows:
            named = re.findall(r"`([a-z-]+)(…?)`", rows()[number][3])
            assert any(
                fault.name == name or (more and fault.name.startswith(name)) for name, more in named
            ), fault
