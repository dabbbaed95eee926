"""`pushlive plan` says what a change does to *revert ready*."""

from __future__ import annotations

import pytest

CONFIG = """\
pipelines:
  hello:
    service: {health: /healthz}
    environments: {dev: , live: {replicas: 2}}
"""


@pytest.fixture
def world(make_world):
    world = make_world(CONFIG)
    world.push("one")
    return world


def plan(world, old: str = "", new: str = "") -> dict:
    return world.commands.plan(CONFIG.replace(old, new) if old else CONFIG)


def reverts(world, new: str) -> dict:
    return plan(world, "replicas: 2", new)["reverts"]["hello"]


def test_nothing_changes_nothing_is_said(world):
    assert plan(world)["reverts"] == {}


def test_the_next_deploy_makes_what_serves_warm(world):
    assert reverts(world, "replicas: 3") == {
        "live": "after the next deploy; r1 is then warm for 10m, and a revert to it is one switch"
    }


def test_a_revert_during_a_shift_moves_all_back(world):
    assert reverts(world, "replicas: 3, shift: [5%]")["live"].endswith(
        ". until the next release has all visitors (`shift`), a revert moves its own back to r1 at once"
    )


def test_the_next_deploy_ends_the_warm_release(world):
    world.push("two")
    assert reverts(world, "replicas: 3")["live"].startswith(
        "the next deploy ends the warm r1; r2 is then warm for 10m"
    )


def test_without_keep_warm_a_revert_starts_what_serves_again(world):
    world.push("two")
    found = reverts(world, "replicas: 2, keep_warm: 0")["live"]
    assert found.startswith(
        "the next deploy ends the warm r1; with keep_warm 0 nothing is warm after the switch: "
    )
    assert "starts r2 again, about " in found


def test_before_the_last_environment_nothing_is_kept_warm(world):
    found = plan(world, "dev: ,", "dev: {replicas: 3},")["reverts"]["hello"]
    assert found == {
        "dev": "after the next deploy; nothing is kept warm here: a revert starts r1 again, about 1s"
    }


def test_one_at_a_time_is_said(world):
    found = reverts(world, "replicas: 1, one: true")["live"]
    assert "while requests wait (`one`)" in found


def test_a_release_command_that_is_not_reversible_asks(world):
    found = reverts(world, "release: {command: [migrate], reversible: false}")["live"]
    assert found.endswith("a revert across the new release's command asks first (`reversible: false`)")


def test_what_no_release_carries_leaves_it_as_it_is_and_is_in_the_plan(world):
    world.push("two")
    answer = plan(world, "replicas: 2", "replicas: 2, promote: manual")
    assert answer["pipelines"] == {"hello": {"live": ("promote: auto → manual",)}}
    assert answer["reverts"]["hello"] == {
        "live": "no release is needed for this, so it stays as it is: revert ready: r1, warm"
    }


def test_an_environment_that_never_served_and_one_that_goes_have_none(world):
    answer = plan(world, "dev: , ", "dev: , qa: , ")
    assert "qa" not in answer["reverts"].get("hello", {})
    answer = plan(world, "dev: , ", "")
    assert "dev" not in answer["reverts"].get("hello", {})
