"""Environments on their own engines: which one, moves, changes by hand, connections that outlive a switch."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline.adapters.router import EngineRouter
from pipeline.config.engines import DOCKER
from pipeline.deploy.engine_addresses import address, in_use, named_in, url
from pipeline.domain.engine_types import SlotRef
from pipeline.domain.environment import Environment
from pipeline.domain.parity.by_hand import changed
from pipeline.domain.run import Outcome
from pipeline.errors import RequestError, TryAgain
from pipeline.maintenance.doctor.examine import _environment

MIXED = """\
pipelines:
  hello:
    registry: registry.example.com/hello
    service: {health: /healthz, drain: 30s, keep_warm: 10m}
    environments:
      dev:
      live: {engine: {kubernetes: prod, namespace: shop}, host: www.example.com}
"""
PROD = "kubernetes:prod/shop"
BY_HAND = changed("spec.replicas", "1", "3").at("Deployment hello-live-blue (kubectl-edit)")


@pytest.fixture
def mixed(world):
    world.configure(MIXED)
    return world


def ref(world, name: str, slot: str = "blue") -> SlotRef:
    record = world.environment(name)
    return SlotRef("hello", name, record.index, slot, record.engine)


def test_each_environment_is_on_its_configured_engine(mixed) -> None:
    assert mixed.push("one").outcome == Outcome.LIVE
    assert (mixed.environment("dev").engine, mixed.environment("live").engine) == (DOCKER, PROD)
    assert {p.engine for p in mixed.engine.contents} == {DOCKER, PROD}
    assert in_use(mixed.store, None) == {DOCKER, PROD}
    assert named_in(mixed.settings.config) == {DOCKER, PROD}


def test_a_file_that_cannot_be_read_names_docker_alone(tmp_path) -> None:
    assert named_in(tmp_path / "none.yaml") == {DOCKER}


def test_an_environment_that_serves_does_not_move_to_another_engine(mixed) -> None:
    mixed.push("one")
    mixed.configure(MIXED.replace("prod", "other"))
    run = mixed.push("two")
    assert run.outcome == Outcome.FAILED
    assert "cannot move to another engine while it serves" in run.failure.message
    assert "pushlive gc" in run.failure.advice
    assert mixed.environment("live").serving == 1
    assert mixed.environment("live").engine == PROD


def test_an_environment_with_nothing_in_it_moves(mixed) -> None:
    mixed.commands.hold("hello", "ann", environment="live", reason="not yet")
    assert mixed.environment("live").engine == PROD
    mixed.configure(MIXED.replace("prod", "other"))
    mixed.commands.resume("hello", "ann", environment="live")
    assert mixed.push("one").outcome == Outcome.LIVE
    assert mixed.environment("live").engine == "kubernetes:other/shop"
    assert mixed.engine.serving(ref(mixed, "live")) == "blue"


def test_the_address_shown_fits_the_engine(mixed) -> None:
    mixed.push("one")
    settings = mixed.settings
    assert url(settings, mixed.environment("dev"), ()).startswith("http://127.0.0.1:")
    assert url(settings, mixed.environment("live"), ("www.example.com",)) == "http://www.example.com"
    assert address(settings, mixed.environment("live"), ()) == (
        "Service hello-live in the namespace shop of prod"
    )
    there = replace(mixed.environment("live"), engine="docker:ssh://me@h")
    assert address(settings, there, ()) == "hello-live on the Docker Engine at ssh://me@h"


def test_connections_that_outlive_a_switch_end_after_drain(mixed) -> None:
    mixed.push("one")
    mixed.push("two")

    def detached() -> list[str]:
        return [where.environment for where in calls(mixed, "detach")]

    mixed.reconcile()
    assert detached() == []
    mixed.clock.sleep(31)
    mixed.reconcile()
    assert sorted(detached()) == ["dev", "live"]


def test_connections_to_a_reverted_release_end_at_once(mixed) -> None:
    mixed.push("one")
    mixed.push("two")
    mixed.revert()
    assert calls(mixed, "detach") == [ref(mixed, "live", "green")]


def test_a_change_by_hand_is_reported_and_left_as_it_is(mixed) -> None:
    mixed.push("one")
    mixed.engine.changed[ref(mixed, "live")] = (BY_HAND,)
    mixed.reconcile()
    assert mixed.engine.changed
    said = mixed.store.facts.get("problem:hello/live")
    assert BY_HAND in said
    assert "doctor --fix" in said


def test_a_change_by_hand_is_reverted_by_doctor_fix(mixed) -> None:
    mixed.push("one")
    mixed.engine.changed[ref(mixed, "live")] = (BY_HAND,)
    [check] = _environment(mixed.environment("live"), mixed.services, mixed.adapters)
    assert not check["ok"]
    assert BY_HAND in check["text"]
    said = mixed.fix()
    assert any("were reverted" in text and BY_HAND.back in text for text in said)
    assert not mixed.engine.changed
    assert mixed.store.facts.get("problem:hello/live") == ""


def test_a_cluster_pulls_from_the_registry_an_image_that_the_builder_no_longer_has(mixed) -> None:
    mixed.push("one")
    mixed.push("two")
    gone = mixed.store.release("hello", 1).image
    mixed.builder.tags = {name: digest for name, digest in mixed.builder.tags.items() if digest != gone}
    mixed.keeper.tick()
    with pytest.raises(RequestError, match="image of r1 is no longer on the Engine"):
        mixed.revert(environment="dev")
    assert mixed.revert(environment="live").outcome == Outcome.LIVE
    assert mixed.environment("live").serving == 1


def test_reconciliation_does_not_need_the_builder(mixed) -> None:
    mixed.push("one")
    mixed.push("two")
    mixed.builder.fail("images", TryAgain("Docker does not answer."), times=100)
    mixed.engine.vanish(ref(mixed, "live", "green"))
    assert any("green" in text for text in mixed.keeper.tick())
    assert mixed.environment("live").serving == 2
    assert any(
        "the build cache and containers without a record were left as they are: Docker does not answer"
        in text
        for text in mixed.gc()
    )


def test_the_router_asks_each_engine_for_its_own() -> None:
    made: list[str] = []

    def make(key: str):
        made.append(key)
        return key

    router = EngineRouter(make, lambda: ["docker", PROD])
    assert router.of(PROD) == router.of(PROD) == PROD
    assert made == [PROD]


def calls(world, name: str) -> list[SlotRef]:
    return [arguments[0] for called, arguments in world.engine.calls if called == name]


def test_an_environment_recorded_without_an_engine_is_on_docker() -> None:
    assert Environment("hello", "live", 3).engine == DOCKER
