"""Which slot a run uses, and how the two slots change."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pipeline.config.models import Service
from pipeline.domain import slots
from pipeline.domain.environment import Environment, Quarantined, SlotState, other
from pipeline.domain.run import Kind, StepResult
from tests.support.records import environment, release, run, slot

STARTING, SERVING, WARM, FAILED = SlotState.STARTING, SlotState.SERVING, SlotState.WARM, SlotState.FAILED
BLUE_SERVES: dict[str, Any] = {
    "active": "blue",
    "slots": {"blue": slot(1, SERVING), "green": slot(2, WARM, until=9.0)},
}


def test_blue_and_green_are_the_other_of_each_other() -> None:
    assert (other("blue"), other("green")) == ("green", "blue")


# ── which slot ───────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("record", "number", "wanted", "expected"),
    [
        ({}, 1, 1, "blue"),  # nothing is there yet
        (BLUE_SERVES, 9, 3, "green"),  # the idle one
        (BLUE_SERVES, 9, 2, "green"),  # the idle one, where the release is warm
        (BLUE_SERVES, 9, 1, "blue"),  # it serves already
        ({"slots": {"green": slot(3, STARTING, run=9)}}, 9, 3, "green"),  # its own, from before a crash
        ({"slots": {"green": slot(3, FAILED, run=9)}}, 9, 3, "blue"),  # kept for inspection: not used again
        ({"slots": {"green": slot(3, STARTING, run=8)}}, 9, 3, "blue"),  # another run's
        ({"slots": {"green": slot(4, STARTING, run=9)}}, 9, 3, "blue"),  # another release's
        ({"active": "green", "slots": {"green": slot(1, SERVING)}}, 9, 3, "blue"),
    ],
)
def test_a_run_uses_its_own_slot_or_the_one_that_does_not_serve(
    record: dict[str, Any], number: int, wanted: int, expected: str
) -> None:
    assert slots.slot_for(environment(**record), run(number), wanted) == expected


def test_a_slot_is_told_to_the_engine_with_its_place() -> None:
    ref = slots.slot_ref(environment(engine="kubernetes"), "green")
    assert (ref.pipeline, ref.environment, ref.index, ref.slot, ref.engine) == (
        "hello", "live", 3, "green", "kubernetes",
    )  # fmt: skip


def test_a_spec_has_the_releases_secrets_unless_the_slot_has_its_own() -> None:
    one = release(4, secrets={"live": {"A": 2}}, remote="r.example/x@sha256:4")
    ref = slots.slot_ref(environment(), "blue")
    spec = slots.spec_of(ref, one, 7)
    assert (spec.release, spec.run, spec.image, spec.remote, spec.secrets) == (
        4, 7, "sha256:4", "r.example/x@sha256:4", {"A": 2},
    )  # fmt: skip
    assert spec.config == one.environments["live"]
    assert slots.spec_of(ref, one, 7, {"A": 3}).secrets == {"A": 3}
    assert slots.spec_of(ref, one, 7, {}).secrets == {}, "none is also an answer"


@pytest.mark.parametrize(
    ("record", "secrets", "warm"),
    [
        (slot(2, WARM), None, True),
        (slot(2, WARM, secrets={"A": 1}), {"A": 1}, True),
        (slot(2, WARM, secrets={"A": 1}), {"A": 2}, False),
        (slot(2, WARM, secrets={"A": 1}), {}, False),
        (slot(3, WARM), None, False),
        (slot(2, SERVING), None, False),
        (slot(2, FAILED), None, False),
        (slot(2, STARTING), None, False),
        (None, None, False),
    ],
)
def test_warm_is_the_same_release_with_the_same_secrets(record: Any, secrets: Any, warm: bool) -> None:
    there = environment(slots={"green": record} if record else {})
    assert slots.is_warm(there, "green", 2, secrets) is warm


# ── how slots change ─────────────────────────────────────────────────────────


def test_a_starting_slot_belongs_to_the_run_and_the_other_is_untouched() -> None:
    there = environment(**BLUE_SERVES)
    spec = slots.spec_of(slots.slot_ref(there, "green"), release(3, secrets={"live": {"A": 1}}), 9)
    found = slots.starting(there, "green", run(9), spec, 50.0)
    assert found.slots["green"] == replace(slot(3, STARTING, run=9, secrets={"A": 1}), since=50.0)
    assert found.slots["blue"] == there.slots["blue"]
    assert found.active == "blue"


def test_after_the_switch_one_slot_serves_and_the_other_is_warm_for_a_while() -> None:
    there = environment(
        active="blue", switching="green", slots={"blue": slot(1, SERVING), "green": slot(2, STARTING, run=9)}
    )
    found = slots.serving(there, "green", run(9), 100.0, 600.0)
    assert (found.active, found.switching, found.serving) == ("green", None, 2)
    assert found.slots["green"] == replace(slot(2, SERVING, run=9), since=100.0)
    assert found.slots["blue"] == replace(slot(1, WARM), since=100.0, until=700.0)
    assert slots.serving(found, "green", run(9), 100.0, 600.0) == found, (
        "again, after a crash: nothing changes"
    )


def test_the_first_switch_has_nothing_to_keep_warm() -> None:
    found = slots.serving(environment(slots={"blue": slot(1, STARTING)}), "blue", run(1), 1.0, 600.0)
    assert (found.active, list(found.slots)) == ("blue", ["blue"])


def test_a_failed_slot_beside_it_does_not_become_warm() -> None:
    there = environment(slots={"blue": slot(1, STARTING), "green": slot(2, FAILED, until=5.0)})
    assert slots.serving(there, "blue", run(1), 1.0, 600.0).slots["green"] == slot(2, FAILED, until=5.0)


def test_a_failed_verification_gives_the_traffic_back() -> None:
    there = environment(
        active="green",
        interrupt=9,
        slots={"blue": slot(1, WARM, until=700.0), "green": slot(2, SERVING, run=9)},
    )
    found = slots.switched_back(there, "green", run(9), 200.0, 60.0)
    assert (found.active, found.interrupt, found.serving) == ("blue", 0, 1)
    assert found.slots["blue"] == replace(slot(1, SERVING), since=200.0)
    assert found.slots["green"] == replace(slot(2, FAILED, run=9), since=200.0, until=260.0)


@pytest.mark.parametrize("old", [None, slot(1, FAILED), slot(1, STARTING)])
def test_without_a_warm_slot_nothing_serves_then(old: Any) -> None:
    records = {"green": slot(2, SERVING, run=9)} | ({"blue": old} if old else {})
    found = slots.switched_back(environment(active="green", slots=records), "green", run(9), 1.0, 60.0)
    assert found.active is None
    assert found.slots.get("blue") == old


def test_a_failed_slot_is_kept_for_inspection() -> None:
    there = environment(
        active="blue", switching="green", interrupt=9, slots={"green": slot(2, STARTING, run=9)}
    )
    found = slots.failed(there, "green", run(9), 10.0, 60.0)
    assert found.slots["green"] == replace(slot(2, FAILED, run=9), since=10.0, until=70.0)
    assert (found.active, found.switching, found.interrupt) == ("blue", None, 0)


@pytest.mark.parametrize(
    "record",
    [
        {"slots": {}},
        {"slots": {"green": slot(2, STARTING, run=8)}},  # another run's
        {"active": "green", "slots": {"green": slot(2, SERVING, run=9)}},  # it serves
    ],
)
def test_what_serves_or_belongs_to_another_run_does_not_fail_with_this_one(record: dict[str, Any]) -> None:
    there = environment(switching="green", interrupt=4, **record)
    assert slots.failed(there, "green", run(9), 10.0, 60.0) == replace(there, switching=None)


# ── what a run has done already ──────────────────────────────────────────────


def test_a_switch_is_recognised_after_a_crash() -> None:
    there = environment(active="blue", slots={"blue": slot(1, SERVING, run=9), "green": slot(2, WARM, run=8)})
    assert slots.switched(there, run(9), "blue")
    assert not slots.switched(there, run(8), "blue")
    assert not slots.switched(there, run(8), "green")
    assert not slots.switched(environment(active="blue"), run(9), "blue")


@pytest.mark.parametrize(
    ("record", "steps", "unfinished"),
    [
        ({}, (), False),
        ({"slots": {"green": slot(2, STARTING, run=9)}}, (), True),
        ({"slots": {"green": slot(2, STARTING, run=8)}}, (), False),
        ({"slots": {"green": slot(2, FAILED, run=9)}}, (), False),
        ({"active": "green", "slots": {"green": slot(2, SERVING, run=9)}}, (), True),
        ({"active": "green", "slots": {"green": slot(2, SERVING, run=9)}}, (("live", True),), False),
        ({"active": "green", "slots": {"green": slot(2, SERVING, run=9)}}, (("live", False),), True),
        ({"active": "green", "slots": {"green": slot(2, SERVING, run=9)}}, (("dev", True),), True),
    ],
)
def test_a_run_is_unfinished_until_it_verified_its_switch(
    record: dict[str, Any], steps: tuple[tuple[str, bool], ...], unfinished: bool
) -> None:
    done = tuple(StepResult(stage, "verify", 0.0, 1.0, ok) for stage, ok in steps)
    assert slots.unfinished(environment(**record), run(9, steps=done)) is unfinished


def test_a_mark_names_one_switch() -> None:
    assert slots.mark_of(replace(slot(1, WARM, run=9), since=1.23456)) == "9-1.235"


# ── what was good ────────────────────────────────────────────────────────────


def verified(*numbers: int, kind: Kind = Kind.PUSH, **changes: Any) -> Environment:
    there = environment(**changes)
    for number in numbers:
        there = slots.verified(there, release(number), run(number, kind))
    return there


def test_a_verified_release_is_good_once_and_the_newest() -> None:
    there = verified(1, 2, 1)
    assert there.good == (2, 1)
    assert there.pairs[1] == ("sha256:1", release(1).fingerprint("live"))
    assert there.newest_run == 2


def test_a_revert_does_not_make_older_runs_the_newest() -> None:
    there = slots.verified(verified(1, 2), release(1), run(7, Kind.REVERT))
    assert (there.good, there.newest_run) == ((2, 1), 2)


def test_only_fifty_good_releases_are_remembered_with_their_pairs() -> None:
    there = verified(*range(1, 61))
    assert there.good == tuple(range(11, 61))
    assert sorted(there.pairs) == list(there.good)


def test_only_its_own_interruption_is_cleared() -> None:
    assert verified(9, interrupt=9).interrupt == 0
    assert verified(9, interrupt=8).interrupt == 8


def quarantine(number: int, image: str = "") -> Quarantined:
    one = release(number, image)
    return Quarantined(one.image, one.fingerprint("live"), number, "bad", 0.0)


def test_a_revert_goes_to_the_newest_good_release_before_the_one_that_serves() -> None:
    there = replace(verified(1, 2, 3), active="blue", slots={"blue": slot(3, SERVING)})
    assert slots.revert_target(there) == 2
    assert slots.revert_target(replace(there, quarantine=(quarantine(2),))) == 1
    assert slots.revert_target(replace(there, quarantine=(quarantine(2), quarantine(1)))) is None


def test_after_a_revert_the_next_one_goes_further_back() -> None:
    there = replace(verified(1, 2, 3, 2), active="blue", slots={"blue": slot(2, SERVING)})
    assert there.good == (1, 3, 2)
    assert slots.revert_target(there) == 3, "unless it is in quarantine, which a revert sees to"
    assert slots.revert_target(replace(there, quarantine=(quarantine(3),))) == 1


def test_a_revert_does_not_go_to_what_is_the_same() -> None:
    there = slots.verified(verified(1), release(2, image="sha256:1"), run(2))
    assert slots.revert_target(replace(there, active="blue", slots={"blue": slot(2, SERVING)})) is None


def test_if_nothing_serves_a_revert_goes_to_the_newest_good_release() -> None:
    assert slots.revert_target(environment()) is None
    assert slots.revert_target(verified(1, 2)) == 2


def test_if_what_serves_was_never_good_a_revert_goes_to_the_newest_good_release() -> None:
    there = replace(verified(1, 2), active="blue", slots={"blue": slot(3, SERVING)})
    assert slots.revert_target(there) == 2


def test_warm_and_failed_slots_expire_and_no_others() -> None:
    def there(state: SlotState) -> Environment:
        return environment(slots={"blue": slot(1, state, until=10.0)})

    assert [slots.expired(there(state), 10.0) for state in (WARM, FAILED)] == [("blue",), ("blue",)]
    assert [slots.expired(there(state), 9.9) for state in (WARM, FAILED)] == [(), ()]
    assert [slots.expired(there(state), 99.0) for state in (STARTING, SERVING)] == [(), ()]


# ── how many replicas ────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("before", "now", "kind", "wanted", "carried"),
    [
        (2, 5, Kind.DEPLOY, 2, 5),  # scaled by hand
        (2, 2, Kind.DEPLOY, 1, 0),  # the next configuration may have fewer
        (5, 3, Kind.DEPLOY, 5, 0),
        (5, 5, Kind.REVERT, 2, 5),
        (2, 1, Kind.REVERT, 2, 1),
        (5, 5, Kind.DEPLOY, "auto", 5),
        ("auto", 4, Kind.DEPLOY, "auto", 4),
        ("auto", 4, Kind.DEPLOY, 2, 4),
    ],
)
def test_a_revert_carries_every_replica_over_and_a_deploy_those_that_others_added(
    before: int | str, now: int, kind: Kind, wanted: int | str, carried: int
) -> None:
    serving, new = (Service.model_validate({"replicas": one}) for one in (before, wanted))
    assert slots.carried(serving, now, kind, new) == carried
