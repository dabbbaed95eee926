"""How often the keeper's jobs come, by how long they take."""

from __future__ import annotations

import pytest

from pipeline.adapters.fake import FakeClock
from pipeline.maintenance.job import Job
from pipeline.maintenance.jobs import Period
from pipeline.maintenance.loop import _Timer


class Working(Job):
    """Takes so many seconds, of which it only waits for some."""

    def __init__(self, clock: FakeClock, seconds: float, waited: float) -> None:
        self._clock, self._seconds, self.waited = clock, seconds, waited
        self.rounds = 0

    def run(self) -> list[str]:
        self.rounds += 1
        self._clock.sleep(self._seconds)
        return []


@pytest.mark.parametrize(
    ("seconds", "waited", "next_round"),
    [
        (0.0, 0.0, 3.0),
        (0.5, 0.0, 3.0),
        (1.0, 0.0, 5.0),
        (8.0, 0.0, 18.0),  # five times as long would leave a lost container for 40 s
        (60.0, 0.0, 70.0),
        (8.0, 7.5, 3.0),
    ],
)
def test_slow_jobs_come_less_often_and_never_rest_for_long(
    seconds: float, waited: float, next_round: float
) -> None:
    clock = FakeClock()
    job = Working(clock, seconds, waited)
    timer = _Timer(Period(3.0, (job,)), clock)
    timer.run(0.0)
    timer.run(next_round - 0.1)
    assert job.rounds == 1
    timer.run(next_round)
    assert job.rounds == 2
