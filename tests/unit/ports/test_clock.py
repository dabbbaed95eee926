"""Deadlines go by the monotonic clock."""

from __future__ import annotations

import pytest

from pipeline.adapters.fake import FakeClock
from pipeline.errors import TimedOut
from pipeline.ports.clock import Deadline


def test_a_deadline_comes_when_its_seconds_have_passed() -> None:
    clock = FakeClock()
    watch = Deadline(clock, 10, "draining")
    watch.wait(4)
    assert watch.remaining() == 6
    with pytest.raises(TimedOut, match="draining took longer than 10 seconds"):
        watch.wait(60)
    assert clock.monotonic() == 10
    assert watch.remaining() == 0


@pytest.mark.parametrize("jump", [-3600.0, 3600.0])
def test_fault_38_a_jump_of_the_wall_clock_moves_no_deadline(jump: float) -> None:
    clock = FakeClock()
    watch = Deadline(clock, 10)
    clock.jump(jump)
    watch.check()
    assert watch.remaining() == 10
