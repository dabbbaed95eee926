"""``pushlive gc`` and odd records: what cannot be cleaned up is said, and everything else is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline.config.engines import DOCKER
from pipeline.domain.run import Outcome
from pipeline.errors import EngineAway, EngineFailed, PushliveError

TYPO = "docker:ssh://deploy@typo.example"
FAR = """\
pipelines:
  hello:
    registry: registry.example.com/hello
    environments:
      dev:
      live: {engine: {docker: "ssh://deploy@typo.example"}}
"""
NEAR = FAR.replace("typo", "right")


class Engines:
    """The world's engine under every key except ``TYPO``, which raises ``error``."""

    def __init__(self, world, error: PushliveError) -> None:
        self._there, self._world, self.error = world.engines, world, error

    def of(self, key: str):
        if key == TYPO:
            raise self.error
        return self._there.of(key)

    def in_use(self) -> list[str]:
        records = self._world.store.environments("hello").values()
        return sorted({DOCKER, *(record.engine for record in records)})


ERRORS = [EngineFailed("there is no such machine."), EngineAway("it does not answer.")]


@pytest.fixture(params=ERRORS, ids=["wrong", "away"])
def broken(world, request):
    """A service with a mistake in the address of an engine, which a run has put on record."""
    engines = Engines(world, request.param)
    world.adapters = replace(world.adapters, engines=engines)
    world.runner._adapters = world.adapters
    world.jobs = world.another_process()
    world.configure(FAR)
    assert world.push("one").outcome == Outcome.FAILED
    assert world.environment("live").engine == TYPO
    return world


def test_an_engine_that_does_not_exist_keeps_gc_from_nothing(broken) -> None:
    broken.configure(NEAR.replace("live:", "prod:").replace("dev:", "qa:"))
    said = broken.gc()
    assert any(
        text.startswith(f"containers without a record on {TYPO} were not looked for: ") for text in said
    )
    assert "hello/dev is no longer in pipelines.yaml and was removed" in said
    assert any(
        text.startswith(
            "hello/live is no longer in pipelines.yaml and was removed; nothing ever ran there, and "
        )
        for text in said
    )
    assert broken.store.environments("hello") == {}
    assert broken.gc() == ("Nothing to clean up.",)


def test_a_corrected_address_is_used_by_the_next_run(broken) -> None:
    broken.configure(NEAR)
    run = broken.push("two")
    assert run.outcome == Outcome.LIVE, run.reason
    assert broken.environment("live").engine == "docker:ssh://deploy@right.example"
    notes = [event.text for event in broken.events(run, "warning")]
    assert any(f"{TYPO}, where nothing ever ran, was not asked to remove anything" in text for text in notes)


def test_what_ran_on_an_engine_that_is_away_stays_on_record(world) -> None:
    world.configure(NEAR)
    assert world.push("one").outcome == Outcome.LIVE
    world.engine.fail("remove", EngineAway("it does not answer."), times=1)
    world.configure(NEAR.replace("live:", "prod:"))
    assert "hello/live is no longer in pipelines.yaml, but was not removed: it does not answer." in world.gc()
    assert world.environment("live").serving == 1
    assert "hello/live is no longer in pipelines.yaml and was removed" in world.gc()


def test_a_damaged_record_keeps_gc_from_its_own_pipeline_alone(world) -> None:
    """What the damaged records may name is left alone; else their containers would count as no one's."""
    world.configure(
        "pipelines: {hello: {environments: {dev: , live: }}, shop: {environments: {dev: , live: }}}"
    )
    world.push("one")
    world.push("one", "shop")
    world.store.client.hset(world.store.key("environments", "hello"), "dev", "{")
    world.configure("pipelines: {hello: {environments: {live: }}, shop: {environments: {live: }}}")
    said = world.gc()
    assert any(text.startswith("hello was left as it is: ") for text in said)
    assert "shop/dev is no longer in pipelines.yaml and was removed" in said
    there = {(one.pipeline, one.environment) for one in world.engine.contents}
    assert there == {("hello", "dev"), ("hello", "live"), ("shop", "live")}


# ── what a revert needs ──────────────────────────────────────────────────────


def images(world) -> set[str]:
    """The releases whose tag is there."""
    return {tag for _, tag in world.builder.tags if tag[1:].isdigit()}


def test_the_release_that_status_names_is_kept_however_many_came_after_it(world) -> None:
    """Commits of the same tree are releases of the same image: a revert goes back past all of them."""
    world.push("one")
    for _ in range(60):
        number = world.accept(world.commit("two")).number
        world.work()
        assert world.run(number).outcome == Outcome.LIVE
    said = world.gc()
    assert f"{world.settings.instance}/hello:r2: the tag was removed; r61 has the same image" in said
    assert images(world) == {"r1", *(f"r{number}" for number in range(52, 62))}
    world.jobs.missing_images.run()
    assert revert_of(world) == "revert ready: r1, cold, about 1 s"
    assert world.revert().release == 1
    assert world.serving()["live"] == 1


def revert_of(world) -> str:
    [hello] = world.commands.status("hello")["pipelines"]
    return hello["environments"][-1]["revert"]["text"]


def test_gc_names_what_it_removed_once(world) -> None:
    for number in range(13):
        world.push(str(number))
    world.jobs.image_gc.keep = 1
    assert f"{world.settings.instance}/hello:r3: the image is no longer kept" in world.gc()
    assert world.gc() == ("Nothing to clean up.",)
