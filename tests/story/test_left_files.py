"""What a release wrote into its containers is said before they end."""

from __future__ import annotations

from pipeline.domain.engine_types import SlotRef, Written
from pipeline.domain.run import Outcome
from pipeline.errors import EngineFailed


def written(world, *paths: str) -> None:
    live = world.environment("live")
    world.engine.contents[SlotRef("hello", "live", live.index, live.active)].written = tuple(
        Written(path, 1024 * number) for number, path in enumerate(paths)
    )


def warned(world, run) -> list[str]:
    return [event.text for event in world.events(run, "warning")]


def test_the_release_that_loses_the_traffic_has_its_files_named(world):
    world.push("one")
    written(world, *(f"/data/{number}" for number in range(7)))
    text, copied = warned(world, world.push("two"))
    assert text.startswith(
        "hello/live r1 wrote 7 files (/data/6, 6 KiB; /data/5, 5 KiB; /data/4, 4 KiB; /data/3, 3 KiB; /data/2, 2 KiB "
        "…) that end with its containers in blue. If they have to stay, write "
    )
    copy = world.settings.data / "left-files" / "hello_live.tar"
    assert copied.startswith(f"what r1 wrote was copied to {copy} (")
    assert copy.read_text() == "\n".join(f"/data/{number}" for number in range(7))
    assert warned(world, world.push("three")) == []


def test_a_copy_that_no_one_has_taken_stays(world):
    world.push("one")
    written(world, "/data/first")
    world.push("two")
    written(world, "/data/second")
    (text,) = warned(world, world.push("three"))
    assert "r2 wrote 1 file" in text
    copy = world.settings.data / "left-files" / "hello_live.tar"
    assert copy.read_text() == "/data/first"
    copy.unlink()
    written(world, "/data/third")
    world.push("four")
    assert copy.read_text() == "/data/third"


def test_what_may_end_with_the_release_is_neither_named_nor_copied(make_world):
    world = make_world(
        "pipelines: {hello: {service: {ignore: [/app/cache, /log.txt]}, environments: {live: }}}"
    )
    world.push("one")
    written(world, "/app/cache/a", "/log.txt")
    assert warned(world, world.push("two")) == []
    assert not (world.settings.data / "left-files").exists()


def test_more_than_is_copied_is_said(world, monkeypatch):
    monkeypatch.setattr("pipeline.deploy.slot.left_files.COPIED", 3)
    world.push("one")
    written(world, "/data/large")
    _, text = warned(world, world.push("two"))
    assert text.startswith("what r1 wrote was not copied aside: it is more than 3 B.")
    assert list((world.settings.data / "left-files").iterdir()) == []


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
