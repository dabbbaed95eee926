"""When certificates are renewed, and how often an authority is asked."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipeline.domain.tls import record as records
from pipeline.domain.tls import renewal
from pipeline.domain.tls.record import Record, Records

NOW = 1_800_000_000.0
NAMES = st.text(st.sampled_from("abcdefghij-.*"), min_size=1, max_size=40)
LIVES = st.floats(min_value=60.0, max_value=400 * renewal.DAY)
LETS_ENCRYPT = (90 * renewal.DAY, 45 * renewal.DAY, 6.6 * renewal.DAY)


@given(NAMES, LIVES)
def test_it_is_renewed_about_two_thirds_into_its_life_and_always_at_the_same_time(name: str, life: float):
    at = renewal.renew_at(name, NOW, NOW + life)
    assert NOW + 0.63 * life <= at <= NOW + 0.67 * life
    assert at == renewal.renew_at(name, NOW, NOW + life)


@given(NAMES, LIVES)
def test_there_is_time_for_many_attempts_before_a_person_is_told(name: str, life: float):
    assert renewal.renew_at(name, NOW, NOW + life) < renewal.warn_at(NOW, NOW + life) < NOW + life


def test_a_warning_comes_14_days_ahead_and_less_of_a_short_life():
    ahead = [life - (renewal.warn_at(NOW, NOW + life) - NOW) for life in LETS_ENCRYPT]
    assert ahead[0] == 14 * renewal.DAY
    assert renewal.DAY < ahead[2] < 6.6 * renewal.DAY / 3 < ahead[1] <= 14 * renewal.DAY


def test_names_are_not_renewed_all_at_once():
    times = {renewal.renew_at(f"{number}.example", NOW, NOW + 90 * renewal.DAY) for number in range(100)}
    assert len(times) == 100
    assert max(times) - min(times) > 2 * renewal.DAY


@given(NAMES, st.floats(0, 4e9), st.floats(0, 4e9))
def test_the_window_of_the_authority_is_kept_to(name: str, start: float, end: float):
    at = renewal.within(name, (start, end))
    assert start <= at <= max(start, end)


@given(NAMES, st.floats(0, 4e9), st.floats(0, 4e9))
def test_times_in_the_wrong_order_are_no_error(name: str, before: float, after: float):
    assert before <= renewal.renew_at(name, before, after) <= max(before, after)
    assert renewal.warn_at(before, after) <= after


@given(st.integers(1, 10**9), st.booleans())
def test_pauses_grow_and_are_capped(failures: int, ordered: bool):
    shorter, longer = (renewal.pause(count, ordered=ordered) for count in (failures, failures + 1))
    assert 60 <= shorter <= longer <= renewal.DAY


def test_a_name_that_fails_again_and_again_stays_below_the_limit_of_an_hour():
    """Let's Encrypt refuses a name after five failed validations within an hour."""
    at, times = NOW, []
    for failures in range(1, 20):
        times.append(at)
        at += renewal.pause(failures, ordered=True)
    assert all(sum(one <= other < one + renewal.HOUR for other in times) < 5 for one in times)


@given(st.lists(st.tuples(NAMES, st.floats(0, 2 * renewal.WEEK)), max_size=80))
def test_whatever_is_issued_an_installation_keeps_its_weekly_limits(asked: list[tuple[str, float]]):
    known, times = Records(), []
    for name, later in sorted(asked, key=lambda one: one[1]):
        now = NOW + later
        one = known.names.get(name) or Record(name)
        if not records.limited(one, known, now):
            begin = now + len(times) * 1e-3
            known = known.put(
                records.has(one, begin, begin + 90 * renewal.DAY, begin + 60 * renewal.DAY, now)
            )
            times.append((name, now))
    for name, now in times:
        same = [at for other, at in times if other == name and now <= at < now + renewal.WEEK]
        assert len(same) <= renewal.DUPLICATES


def test_only_so_many_names_get_their_first_certificate_within_a_week():
    known = Records()
    for number in range(renewal.ORDERS):
        one = Record(f"{number}.example")
        assert not records.limited(one, known, NOW)
        known = known.put(records.has(one, NOW, NOW + 90 * renewal.DAY, NOW + 60 * renewal.DAY, NOW))
    assert records.limited(Record("more.example"), known, NOW + renewal.DAY)
    assert not records.limited(Record("more.example"), known, NOW + renewal.WEEK)


def test_renewals_take_no_room_from_new_names():
    """An authority does not count them: a hundred that are renewed in one week do not keep a new name waiting."""
    known = Records()
    for number in range(100):
        one = records.has(Record(f"{number}.example"), NOW, NOW + 90 * renewal.DAY, 0.0, NOW - renewal.DAY)
        later = NOW + 60 * renewal.DAY
        known = known.put(records.has(one, later, later + 90 * renewal.DAY, 0.0, later))
    assert not records.limited(Record("more.example"), known, NOW + 61 * renewal.DAY)


def test_one_that_was_issued_by_an_earlier_version_counts_as_a_renewal():
    old = Record("old.example", not_before=NOW - 60 * renewal.DAY, not_after=NOW + 30 * renewal.DAY)
    found = records.has(old, NOW, NOW + 90 * renewal.DAY, NOW + 60 * renewal.DAY, NOW)
    assert Records().put(found).firsts(NOW) == 0


@given(st.integers(0, 12), st.floats(-10 * renewal.DAY, 100 * renewal.DAY))
def test_a_person_is_told_once_and_not_while_there_is_time(failures: int, ends: float):
    one = Record("a.example", not_before=NOW - 90 * renewal.DAY + ends, not_after=NOW + ends)
    for _ in range(failures):
        one = records.failed(one, "It does not answer.", "Wait.", NOW, ordered=True)
    told = records.to_tell(one, NOW)
    assert told == (failures > 0 and ends <= 14 * renewal.DAY)
    assert not records.to_tell(records.replace(one, told=True), NOW)


def test_after_a_success_nothing_is_left_of_the_failures():
    one = records.failed(
        Record("a.example"), "It does not answer.", "Wait.", NOW, ordered=True, until=NOW + 9e6
    )
    assert one.next == NOW + 9e6
    assert not one.due(NOW + 9e6 - 1)
    good = records.has(one, NOW, NOW + 90 * renewal.DAY, NOW + 60 * renewal.DAY, NOW)
    assert (good.failures, good.problem, good.next) == (0, "", 0.0)
    assert good.state(NOW) == "valid"
    assert good.due(NOW + 60 * renewal.DAY)
    assert good.state(NOW + 90 * renewal.DAY) == "expired"
