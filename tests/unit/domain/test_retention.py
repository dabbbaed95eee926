"""What is kept although it is old."""

from __future__ import annotations

from dataclasses import replace

from pipeline.domain import slots
from pipeline.domain.environment import Environment, Quarantined, SlotState
from pipeline.domain.retention import needed
from tests.support.records import environment, release, run, slot


def after(*images: str) -> Environment:
    """The environment after a release of each of these images was verified there."""
    place = environment(active="blue")
    for number, image in enumerate(images, 1):
        place = replace(place, slots={"blue": slot(number, SlotState.SERVING)})
        place = slots.verified(place, release(number, image), run(number))
    return place


def test_needed_is_what_is_in_a_slot_what_a_revert_goes_back_to_and_what_is_on_its_way() -> None:
    place = after("one", "two", *(["three"] * 20))
    assert slots.revert_target(place) == 2
    waiting = [run(30, release=23), run(31, from_release=4), run(32)]
    assert needed([place], waiting) == {2, 22, 23, 4}
    assert needed([], []) == frozenset()


def test_a_revert_goes_back_past_any_number_of_releases_of_the_same_image() -> None:
    place = after("one", *(["two"] * 99))
    assert slots.revert_target(place) == 1
    assert place.good == (1, *range(52, 101))
    assert set(place.pairs) == set(place.good)


def test_an_environment_remembers_the_last_good_releases() -> None:
    assert after(*map(str, range(80))).good == tuple(range(31, 81))


def test_it_is_said_why_no_good_release_is_one_to_go_back_to() -> None:
    assert slots.passed_over(after("one")) == ""
    assert slots.passed_over(environment()) == ""
    assert slots.passed_over(after("one", "one")) == "r1 has the image and configuration of r2"
    assert slots.passed_over(after("one", "one", "one")) == "r1 and r2 have the image and configuration of r3"
    many = after(*(["one"] * 9))
    assert slots.passed_over(many) == "r1 to r8 have the image and configuration of r9"
    back = replace(after("two", "one"), slots={"blue": slot(2, SlotState.SERVING)})
    entry = Quarantined(*back.pairs[1], 1, "bad", 0.0)
    assert slots.passed_over(replace(back, quarantine=(entry,))) == "r1 is in quarantine"
    mixed = after("two", "one", "one")
    text = "r2 has the image and configuration of r3, r1 is in quarantine"
    assert (
        slots.passed_over(replace(mixed, quarantine=(Quarantined(*mixed.pairs[1], 1, "bad", 0.0),))) == text
    )


def test_releases_are_listed_in_order_and_as_a_range_only_where_none_is_left_out() -> None:
    place = replace(after(*map(str, range(8))), good=(1, 3, 7, 4, 5, 8, 2))  # r2 came back
    place = replace(place, slots={"blue": slot(2, SlotState.SERVING)})
    bad = tuple(Quarantined(*place.pairs[one], one, "bad", 0.0) for one in place.good[:-1])
    assert slots.passed_over(replace(place, quarantine=bad)) == "r1, r3 to r5, r7 and r8 are in quarantine"
