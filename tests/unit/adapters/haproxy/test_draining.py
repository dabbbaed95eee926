"""How long a proxy that was replaced has for its requests."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.adapters.haproxy.handover.draining import LEAST, MOST, Draining, Mark, limit


@pytest.mark.parametrize(("drain", "seconds"), [(0.0, LEAST), (30.0, LEAST), (120.0, 120.0), (86400.0, MOST)])
def test_fault_55_it_has_as_long_as_the_longest_drain_within_bounds(drain: float, seconds: float) -> None:
    assert limit(drain) == seconds


def test_fault_55_its_time_is_over_after_a_reboot_as_well() -> None:
    draining = Draining(until=1000.0, limit=120.0)
    assert [draining.over(now) for now in (880.0, 999.0, 1000.0, 2000.0)] == [False, False, True, True]
    assert draining.over(5.0)  # the clock began again


def test_fault_55_a_file_that_cannot_be_read_counts_as_over(tmp_path: Path) -> None:
    mark = Mark(tmp_path)
    assert mark.read() is None
    mark.write(Draining(10.0, 5.0, 9901))
    assert mark.read() == Draining(10.0, 5.0, 9901)
    (tmp_path / "draining.json").write_text("{")
    found = mark.read()
    assert found is not None
    assert found.over(1.0)
    mark.remove()
    mark.remove()
    assert mark.read() is None
