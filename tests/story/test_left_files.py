"""What a release wrote into its containers is said before they end."""

from __future__ import annotations

from pipeline.domain.engine_types import SlotRef
from pipeline.domain.run import Outcome
from pipeline.errors import EngineFailed


def written(world, *paths: str) -> None:
    live = world.environment("live")
    world.engine.contents[SlotRef("hello", "live", live.index, live.active)].written = paths


def warned(world, run) -> list[str]:
    return [event.text for event in world.events(run, "warning")]


def test_the_release_that_loses_the_traffic_has_its_files_named(world):
    world.push("one")
    written(world, *(f"/data/{number}" for number in range(7)))
    (text,) = warned(world, world.push("two"))
    assert text.startswith(
        "r1 has written /data/0, /data/1, /data/2, /data/3, /data/4 and 2 more: that ends with"
    )
    assert warned(world, world.push("three")) == []


def test_an_engine_that_cannot_tell_stops_nothing(world):
    world.push("one")
    world.engine.fail("written", EngineFailed("no."), times=3)
    run = world.push("two")
    assert (run.outcome, warned(world, run)) == (Outcome.LIVE, [])


def test_a_volume_of_the_image_is_said_at_every_build_of_it(world):
    files = {"Dockerfile": b"FROM scratch\nVOLUME /data\n"}
    for text in ("one", "two"):
        run = world.accept(world.commit(text, files={**files, "text": text.encode()}))
        world.work()
        (said,) = warned(world, run)
        assert said.startswith("the image declares VOLUME /data; what is written there ends with the release")
