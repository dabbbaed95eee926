"""One backoff: how its delays grow, and when a series of attempts ends."""

from __future__ import annotations

import pytest

from pipeline.adapters.fake import FakeClock
from pipeline.lib.retry import Backoff, Retry, poll


def test_delays_grow_by_the_factor_up_to_the_ceiling() -> None:
    backoff = Backoff(0.5, factor=2, ceiling=8)
    assert [backoff.delay(failures) for failures in range(1, 8)] == [0.5, 1, 2, 4, 8, 8, 8]


def test_a_factor_of_one_gives_equal_delays() -> None:
    assert {Backoff(0.1, factor=1).delay(failures) for failures in (1, 2, 500)} == {0.1}


def test_the_delay_after_very_many_failures_is_the_ceiling() -> None:
    assert Backoff(1, ceiling=600).delay(100_000) == 600


def test_jitter_shortens_a_delay_by_at_most_its_share() -> None:
    delays = [Backoff(1, jitter=0.9).delay(1) for _ in range(200)]
    assert all(0.1 <= delay <= 1 for delay in delays)
    assert len(set(delays)) > 100


def test_a_retry_gives_up_after_so_many_pauses() -> None:
    retry = Retry(Backoff(1), FakeClock(), retries=3)
    assert [retry.pause() for _ in range(4)] == [1, 2, 4, None]
    assert retry.failures == 4


def test_a_retry_gives_up_before_a_pause_that_would_pass_the_timeout() -> None:
    clock = FakeClock()
    retry = Retry(Backoff(4, factor=1), clock, timeout=10)
    while (pause := retry.pause()) is not None:
        clock.sleep(pause)
    assert clock.monotonic() == 8


def test_the_time_that_the_attempts_take_counts() -> None:
    clock = FakeClock()
    retry = Retry(Backoff(1), clock, timeout=10)
    clock.sleep(9.5)
    assert retry.pause() is None


def test_an_extension_lengthens_the_timeout_and_never_shortens_it() -> None:
    clock = FakeClock()
    retry = Retry(Backoff(1, factor=1), clock, timeout=2)
    retry.extend(1)
    clock.sleep(2)
    assert retry.pause() is None
    retry.extend(5)
    assert retry.pause() == 1


def test_after_a_reset_the_delays_begin_again() -> None:
    retry = Retry(Backoff(1), FakeClock())
    assert [retry.pause(), retry.pause()] == [1, 2]
    retry.reset()
    assert retry.pause() == 1


@pytest.mark.parametrize("every", [0.5, Backoff(0.5, factor=1)])
def test_poll_returns_the_first_true_answer(every: float | Backoff) -> None:
    clock = FakeClock()
    answers = iter(["", "", "ready", "never asked for"])
    assert poll(lambda: next(answers), every, clock, timeout=10) == "ready"
    assert clock.monotonic() == 1


def test_poll_returns_the_last_answer_when_the_time_is_over() -> None:
    clock = FakeClock()
    assert poll(lambda: 0, 0.5, clock, timeout=2) == 0
    assert clock.monotonic() == 2


def test_poll_ends_with_what_the_question_raises() -> None:
    def ask() -> bool:
        raise LookupError

    with pytest.raises(LookupError):
        poll(ask, 1.0, FakeClock(), timeout=10)
