"""Output lines are put together from the entries in which the Engine keeps them."""

from __future__ import annotations

from pipeline.adapters.docker_api.container_calls import ENTRY, join_entries

STAMP = b"2026-11-25T12:55:13.471591353Z "


def test_a_line_is_one_entry_with_its_time() -> None:
    assert join_entries(STAMP + b"all is well") == [STAMP + b"all is well"]
    assert join_entries(STAMP) == [STAMP]


def test_fault_21_a_line_of_several_entries_has_no_time_in_its_middle() -> None:
    text = b"x" * (ENTRY - 5) + b"the-secret-value" + b"y" * ENTRY
    kept = STAMP + STAMP.join(text[at : at + ENTRY] for at in range(0, len(text), ENTRY))
    found = join_entries(kept)
    assert len(found) == 3
    assert b"".join(found) == STAMP + text


def test_a_line_that_fills_its_last_entry_loses_nothing() -> None:
    text = b"x" * ENTRY
    assert b"".join(join_entries(STAMP + text + STAMP)) == STAMP + text
    assert b"".join(join_entries(STAMP + text)) == STAMP + text
