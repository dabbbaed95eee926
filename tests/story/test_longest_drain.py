"""How long the proxy of an engine has to end its requests when another one takes over."""

from __future__ import annotations

from pipeline.config.engines import DOCKER
from pipeline.deploy.longest_drain import longest_drain

PIPELINES = """\
pipelines:
  hello: {environments: {dev: {drain: 2m}, live: {drain: 45s, keep_warm: 10m}}}
  shop: {environments: {live: {drain: 5m}}}
"""


def test_fault_55_it_is_the_longest_of_what_serves_and_of_what_is_still_warm(make_world) -> None:
    world = make_world(PIPELINES)
    assert longest_drain(world.store, DOCKER) == 0
    world.push("one")
    assert longest_drain(world.store, DOCKER) == 120
    world.configure(PIPELINES.replace("2m", "1s").replace("45s", "20s"))
    world.push("two")
    world.reconcile()
    assert longest_drain(world.store, DOCKER) == 45
    world.push("three", "shop")
    assert longest_drain(world.store, DOCKER) == 300
    assert longest_drain(world.store, "docker:tcp://elsewhere") == 0
