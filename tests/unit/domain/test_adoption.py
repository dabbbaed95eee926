"""What becomes of what is found on an engine."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pipeline.domain.adoption import (
    FoundEnvironment,
    FoundSlot,
    environment_of,
    made_of,
    remembered,
    spec_from,
)
from pipeline.domain.engine_types import SlotRef
from pipeline.domain.environment import Environment, SlotState
from pipeline.domain.release import Release
from tests.support.specs import slot_spec

NOW = 5000.0


def slot(name: str, release: int, **changes: Any) -> FoundSlot:
    ref = SlotRef("hello", "live", 3, name)
    spec = slot_spec(ref, release, secrets=changes.pop("secrets", ()))
    found = FoundSlot(
        ref, release, release, spec.commit, "hash", 1, True, 1000.0, made=made_of(remembered(spec))
    )
    return replace(found, **changes)


def found(*slots: FoundSlot, routed: bool = True, serving: str | None = "green") -> FoundEnvironment:
    return FoundEnvironment("hello", "live", 3, "docker", routed, serving, slots)


def adopted(one: FoundEnvironment, *unexplained: str) -> Environment:
    specs = {s.ref.slot: spec_from(s, s.made) for s in one.slots if s.made and s.ref.slot not in unexplained}
    releases = {
        spec.release: Release(
            "hello", spec.release, spec.commit, spec.image, "", spec.run, NOW, {"live": spec.config}
        )
        for spec in specs.values()
    }
    return environment_of(one, specs, releases, NOW, 600.0)


def states(environment: Environment) -> dict[str, SlotState]:
    return {name: record.state for name, record in environment.slots.items()}


def test_what_serves_and_the_warm_slot_before_it_are_adopted_as_such() -> None:
    live = adopted(found(slot("blue", 4), slot("green", 5)))
    assert (live.index, live.active, live.good, live.newest_run) == (3, "green", (4, 5), 5)
    assert states(live) == {"blue": SlotState.WARM, "green": SlotState.SERVING}
    assert live.slots["blue"].until > NOW
    assert live.hold is None


@pytest.mark.parametrize("well", [True, False])
def test_a_newer_release_beside_the_serving_one_is_no_target_and_holds(well: bool) -> None:
    live = adopted(found(slot("blue", 6, well=well), slot("green", 5)))
    assert live.good == (5,)
    assert live.hold is not None
    assert "r6 was there beside r5" in live.hold.reason
    assert [entry.release for entry in live.quarantine] == ([6] if well else [])


def test_a_slot_that_is_not_well_or_cannot_be_explained_is_kept_for_a_while() -> None:
    for live in (
        adopted(found(slot("blue", 4, well=False), slot("green", 5))),
        adopted(found(slot("blue", 4), slot("green", 5)), "blue"),
    ):
        assert states(live)["blue"] == SlotState.FAILED
        assert live.slots["blue"].until == NOW + 600
        assert live.good == (5,)


def test_an_environment_without_traffic_serves_nothing() -> None:
    live = adopted(found(slot("blue", 4), serving=None))
    assert (live.active, live.good, states(live)) == (None, (), {"blue": SlotState.FAILED})
    assert adopted(found(serving=None)).slots == {}


def test_without_routes_only_a_single_slot_tells_which_one_serves() -> None:
    assert found(slot("blue", 4), routed=False, serving=None).active == "blue"
    both = found(slot("blue", 4), slot("green", 5), routed=False, serving=None)
    assert both.active is None
    assert both.ambiguous
    assert not found(slot("blue", 4, well=False), slot("green", 5), routed=False, serving=None).ambiguous


def test_a_lost_secret_holds_the_environment_and_says_how_to_set_it() -> None:
    live = adopted(found(slot("green", 5, secrets=("PASSWORD",))))
    assert live.hold is not None
    assert "`pushlive secret set hello PASSWORD`" in live.hold.reason


def test_what_a_later_version_remembers_may_be_unreadable() -> None:
    spec = slot_spec(SlotRef("hello", "live", 0, "blue"))
    assert made_of(remembered(spec)) is not None
    assert made_of(remembered(spec).replace('"config"', '"setup"')) is None
    assert made_of("") is None
