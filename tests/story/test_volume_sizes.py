"""How large volumes are, and which of them a change of the file would leave behind."""

from __future__ import annotations

import pytest

from pipeline.cli.status import pipeline_lines
from pipeline.domain.volumes import VolumeRef
from pipeline.errors import EngineAway
from tests.story.conftest import World

KEEPING = """\
pipelines:
  hello:
    service: {volumes: {data: {path: /app/data}}}
    environments: {dev: , live: }
"""
DATA = VolumeRef("hello", "live", "data")
TAR = b"x" * 1536


@pytest.fixture
def keeping(world: World) -> World:
    world.configure(KEEPING)
    world.push()
    world.engine.stored[DATA] = TAR
    return world


def test_the_status_says_how_large_the_volumes_are(keeping: World) -> None:
    def shown() -> tuple[object, object, str]:
        [entry] = keeping.commands.status("hello")["pipelines"]
        [live] = [one for one in entry["environments"] if one["name"] == "live"]
        [found] = live["volumes"]
        lines = pipeline_lines(entry, keeping.clock.now(), lambda text, _: text, 120)
        assert any(found["text"] in line for line in lines)
        return found["size"], found["counted"], found["text"]

    assert shown() == (None, None, "volume data not counted yet")
    keeping.jobs.volume_sizes.count()
    counted = (len(TAR), keeping.clock.now(), "volume data 1.5 KiB")
    assert shown() == counted
    keeping.jobs.volume_sizes.count_new()
    keeping.engine.stored[DATA] = TAR * 2
    keeping.jobs.volume_sizes.count_new()  # it is not new
    assert shown() == counted
    keeping.engine.stored[VolumeRef("hello", "dev", "more")] = TAR
    keeping.jobs.volume_sizes.count_new()
    counted = (2 * len(TAR), keeping.clock.now(), "volume data 3 KiB")
    assert shown() == counted
    keeping.engine.fail("volumes", EngineAway("it does not answer"), times=9)
    keeping.jobs.volume_sizes.count()
    assert shown() == counted


def test_an_engine_is_asked_once_for_all_sizes(keeping: World) -> None:
    def asked() -> int:
        return keeping.engine.names().count("volumes")

    before = asked()
    keeping.jobs.volume_sizes.count()
    assert asked() == before + 1
    keeping.jobs.volume_sizes.count_new()  # a list without sizes shows that nothing is new
    assert asked() == before + 2


@pytest.mark.parametrize(
    ("old", "new", "where", "left"),
    [
        ("hello:", "shop:", ("hello", "live"), "hello/live/data"),
        ("live:", "prod:", ("hello", "live"), "hello/live/data"),
        ("{data: {", "{files: {", ("hello", "dev"), "hello/dev/data"),
    ],
)
def test_the_plan_names_data_that_would_be_left_behind(
    keeping: World, old: str, new: str, where: tuple[str, str], left: str
) -> None:
    def data(text: str) -> list[str]:
        found = keeping.commands.plan(text)["pipelines"].get(where[0], {}).get(where[1], ())
        return [line for line in found if line.startswith("volumes: the files")]

    assert data(KEEPING) == []
    [line] = data(KEEPING.replace(old, new))
    assert f"the files of the volume {left} stay, and no release has them any more" in line
