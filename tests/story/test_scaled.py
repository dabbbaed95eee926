"""What serves was scaled by hand, or by an autoscaler: the next release and a revert start with as many replicas."""

from __future__ import annotations

import pytest

from pipeline.domain.engine_types import SlotRef
from pipeline.domain.run import Outcome
from pipeline.errors import AppFailed, DoesNotFit
from tests.story.test_audit import ANN
from tests.story.test_engines import MIXED, ref

CONFIG = MIXED.replace("host:", "replicas: 2, host:")


@pytest.fixture
def world(world):
    world.configure(CONFIG)
    return world


def counts(world, environment: str = "live") -> dict[str, int]:
    """The replicas of each slot."""
    found = {
        at.slot: one.spec.replicas
        for at, one in world.engine.contents.items()
        if at.environment == environment
    }
    return dict(sorted(found.items()))


def live(world, slot: str) -> SlotRef:
    return ref(world, "live", slot)


def notes(world, run) -> str:
    return "\n".join(event.text for kind in ("note", "warning") for event in world.events(run, kind))


def test_a_deploy_keeps_what_was_scaled_by_hand_and_says_so(world):
    world.push("one")
    world.engine.scale(live(world, "blue"), 5)
    run = world.push("two")
    assert counts(world) == {"blue": 5, "green": 5}
    assert "starts with 5 replicas, as many as what serves has; 2 are configured" in notes(world, run)
    assert world.engine.missing(world.engine.contents[live(world, "green")].spec) == ()
    world.push("three")  # and it stays so
    assert counts(world) == {"blue": 5, "green": 5}


def test_plan_says_with_how_many_replicas_the_next_release_starts(world):
    world.push("one")
    assert "live" not in world.commands.plan(CONFIG)["pipelines"].get("hello", {})
    world.engine.scale(live(world, "blue"), 5)
    compared = []
    compare = world.engine.drift
    world.engine.drift = lambda spec: compared.append(spec.replicas) or compare(spec)
    kept = "replicas: 5 were set there, and the next release starts with as many; 2 are configured"
    assert world.commands.plan(CONFIG)["pipelines"]["hello"]["live"] == (kept,)
    assert compared[-1] == 5  # those before it were of other environments
    more = world.commands.plan(CONFIG.replace("replicas: 2", "replicas: 6"))["pipelines"]["hello"]["live"]
    assert more == ("replicas: 2 → 6",)


def test_a_deploy_that_configures_fewer_replicas_than_the_last_one_starts_with_fewer(world):
    world.push("one")
    world.configure(CONFIG.replace("replicas: 2", "replicas: 1"))
    world.push("two")
    assert counts(world) == {"blue": 2, "green": 1}


@pytest.mark.parametrize("keep_warm", ["10m", "0s"])
def test_a_revert_takes_no_replica_away(world, keep_warm):
    world.configure(CONFIG.replace("keep_warm: 10m", f"keep_warm: {keep_warm}"))
    world.push("one")
    world.configure(
        CONFIG.replace("replicas: 2", "replicas: 4").replace("keep_warm: 10m", f"keep_warm: {keep_warm}")
    )
    world.push("two")
    world.reconcile()
    assert counts(world) == ({"blue": 2, "green": 4} if keep_warm == "10m" else {"green": 4})
    run = world.revert()
    assert (run.outcome, world.serving()["live"], counts(world)["blue"]) == (Outcome.LIVE, 1, 4)


def test_a_warm_slot_that_has_more_replicas_keeps_them(world):
    world.push("one")
    world.engine.scale(live(world, "blue"), 5)
    world.push("two")
    world.engine.scale(live(world, "green"), 3)
    world.revert()
    assert counts(world) == {"blue": 5, "green": 3}


def test_replicas_that_are_added_while_a_release_starts_are_carried_over_at_the_switch(world):
    world.push("one")
    world.engine.before("preview", lambda: world.engine.scale(live(world, "blue"), 6), times=2)
    world.push("two")
    assert world.serving()["live"] == 2
    assert counts(world) == {"blue": 6, "green": 6}


def test_a_release_starts_as_configured_if_more_replicas_do_not_fit(world):
    world.push("one")
    world.engine.scale(live(world, "blue"), 5)
    world.engine.memory = 9 * world.engine.contents[live(world, "blue")].spec.config.service.memory
    run = world.push("two")
    assert (run.outcome, counts(world)) == (Outcome.LIVE, {"blue": 5, "green": 2})
    assert "It starts with 2 replicas" in notes(world, run)


@pytest.mark.parametrize("error", [DoesNotFit("no node has room."), AppFailed("it exited with code 1.")])
def test_a_warm_revert_goes_on_with_what_runs_if_it_cannot_have_more(world, error):
    world.push("one")
    world.push("two")
    world.engine.scale(live(world, "green"), 5)
    world.engine.fail("ready", error)
    run = world.revert()
    assert (run.outcome, world.serving()["live"], counts(world)["blue"]) == (Outcome.LIVE, 1, 2)
    assert f"{error.message} It goes on with 2 replicas" in notes(world, run)


def test_on_docker_the_configuration_alone_decides(make_world):
    world = make_world("pipelines: {hello: {environments: {live: {replicas: 3}}}}")
    world.push("one")
    world.configure("pipelines: {hello: {environments: {live: {replicas: 2}}}}")
    world.push("two")
    world.revert()
    assert counts(world) == {"blue": 3, "green": 2}
    assert "scaled" not in world.engine.names()


AUTO = CONFIG.replace("replicas: 2", "replicas: auto")


def test_an_autoscaler_decides_how_many_replicas_a_deploy_and_a_revert_start_with(world):
    world.configure(AUTO)
    world.push("one")
    assert counts(world) == {"blue": 1}
    world.engine.scale(live(world, "blue"), 5)
    run = world.push("two")
    assert counts(world) == {"blue": 5, "green": 5}
    assert "starts with 5 replicas, as many as what serves has" in notes(world, run)
    assert "configured" not in notes(world, run)
    world.engine.scale(live(world, "green"), 3)
    world.engine.scale(live(world, "blue"), 1)  # it does nothing while it is warm
    assert "live" not in world.commands.plan(AUTO)["pipelines"].get("hello", {})
    world.revert()
    assert counts(world) == {"blue": 3, "green": 3}


def test_the_number_of_replicas_is_handed_to_an_autoscaler_as_it_is(world):
    world.push("one")
    world.configure(AUTO)
    world.push("two")
    assert counts(world) == {"blue": 2, "green": 2}


def test_what_an_autoscaler_takes_away_before_the_switch_is_given_back(world):
    world.configure(AUTO)
    world.push("one")
    world.engine.scale(live(world, "blue"), 5)

    def reduce() -> None:
        if live(world, "green") in world.engine.contents:
            world.engine.scale(live(world, "green"), 2)

    world.engine.before("preview", reduce, times=2)
    world.push("two")
    assert (world.serving()["live"], counts(world)) == (2, {"blue": 5, "green": 5})


def test_a_deploy_with_fewer_replicas_than_an_autoscaler_has_set_fails_and_a_revert_goes_on(world):
    world.configure(AUTO)
    world.push("one")
    world.push("two")
    world.engine.scale(live(world, "green"), 5)
    world.engine.memory = 9 * world.engine.contents[live(world, "green")].spec.config.service.memory
    run = world.revert()
    assert (run.outcome, counts(world)["blue"]) == (Outcome.LIVE, 1)
    world.engine.scale(live(world, "blue"), 5)
    world.commands.resume("hello", ANN)
    run = world.push("three")
    assert (run.outcome, world.serving()["live"]) == (Outcome.FAILED, 1)
