"""Visitors of an environment in maintenance read a notice, whatever happens behind it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

import pytest

from pipeline.adapters.fake.script import Killed
from pipeline.cli.status import environment_row, pipeline_lines
from pipeline.domain.run import Outcome
from pipeline.domain.visitors.maintenance import LONGEST, Notice
from pipeline.errors import ConfigError, EngineAway, EngineFailed, NotFound, PushliveError, RequestError
from pipeline.maintenance.doctor.examine import _environment
from tests.story.conftest import World
from tests.support.paths import ROOT
from tests.support.typed import typist

CONFIG = """\
pipelines:
  hello:
    service: {health: /healthz}
    environments: {dev: {sleep_after: 30m}, live: }
"""
KEY = ("hello", "live")
SAID = "We are back at nine."


@pytest.fixture
def serving(world: World) -> World:
    """r1 serves in dev and live."""
    world.configure(CONFIG)
    assert world.push().outcome == Outcome.LIVE
    world.jobs.reconcile.run()
    return world


def on(world: World, message: str = SAID, **more: str) -> str:
    where = {"environment": "live", **more}
    return " ".join(world.maintenance.turn_on("hello", "ann", message=message, **where))  # type: ignore[arg-type]


def off(world: World) -> str:
    return " ".join(world.maintenance.turn_off("hello", "bob", environment="live"))


def shown(world: World) -> Notice | None:
    """What visitors get, by the record and by the proxy, which must agree."""
    record, found = world.environment("live").maintenance, world.engine.notices.get(KEY)
    assert (record.notice if record else None) == found
    return found


def doctor(world: World) -> list[tuple[bool, str]]:
    found = _environment(world.environment("live"), world.services, world.adapters)
    return [(one["ok"], one["text"]) for one in found]


def test_it_begins_and_ends_with_an_entry_each(serving: World) -> None:
    said = on(serving)
    assert said == (
        "hello/live is in maintenance: We are back at nine. (by ann); `pushlive maintenance off hello live` ends it."
    )
    assert shown(serving) == Notice(SAID)
    assert off(serving) == "hello/live is no longer in maintenance."
    assert shown(serving) is None
    assert off(serving) == "hello/live is not in maintenance."
    found = [
        (one["act"], one["environment"], one["before"], one["after"])
        for one in serving.commands.audit_log("hello", 2)
    ]
    is_ = f"in maintenance: {SAID} (by ann)"
    assert found == [
        ("maintenance off", "live", is_, "not in maintenance"),
        ("maintenance on", "live", "not in maintenance", is_),
    ]


def test_it_is_the_environments_and_not_a_releases(serving: World) -> None:
    on(serving)
    assert serving.push("two").outcome == Outcome.LIVE
    assert shown(serving) == Notice(SAID)
    assert serving.revert(environment="live").outcome == Outcome.LIVE
    assert shown(serving) == Notice(SAID)
    assert serving.serving() == {"dev": 2, "live": 1}
    assert serving.environment("dev").maintenance is None
    serving.jobs = serving.another_process()
    serving.jobs.notices.run()
    serving.jobs.reconcile.run()
    assert shown(serving) == Notice(SAID)


def test_another_message_takes_the_place_of_the_first(serving: World) -> None:
    on(serving)
    on(serving, "A bit later.", lasting="2h")
    assert shown(serving) == Notice("A bit later.", serving.clock.now() + 7200)


def test_it_ends_by_itself(serving: World) -> None:
    assert "until" in on(serving, lasting="1h")
    serving.clock.sleep(3500.0)
    assert serving.jobs.notices.run() == []
    assert shown(serving) is not None
    serving.clock.sleep(101.0)
    assert serving.jobs.notices.run() == ["hello/live is no longer in maintenance: its time is over"]
    assert shown(serving) is None
    assert serving.jobs.notices.run() == []


@pytest.mark.parametrize("lost", [None, Notice("another")])
def test_a_proxy_that_has_it_otherwise_is_brought_back(serving: World, lost: Notice | None) -> None:
    on(serving)
    serving.engine.notices.pop(KEY)
    if lost:
        serving.engine.notices[KEY] = lost
    assert [text for ok, text in doctor(serving) if not ok] == [
        "visitors should get the notice of its maintenance."
    ]
    serving.jobs.notices.run()
    assert shown(serving) == Notice(SAID)
    off(serving)
    serving.engine.notices[KEY] = Notice("of a hand")
    assert serving.fix() == ("hello/live: visitors now get no notice: it is not in maintenance",)
    assert shown(serving) is None


@pytest.mark.parametrize("act", [on, off])
def test_a_service_that_dies_on_the_way_is_made_up_for(serving: World, act: object) -> None:
    if act is off:
        on(serving)
    serving.engine.fail("set_notice", Killed())
    with pytest.raises(Killed):
        act(serving)  # type: ignore[operator]
    serving.jobs.notices.run()
    assert (shown(serving) is None) == (act is off)


def test_a_proxy_that_is_away_follows_later(serving: World) -> None:
    serving.engine.fail("set_notice", EngineAway("no answer"))
    assert "follows as soon as it does" in on(serving)
    serving.engine.fail("has_notice", EngineAway("no answer"))
    assert serving.jobs.notices.run() == []
    serving.jobs.notices.run()
    assert shown(serving) == Notice(SAID)


def test_it_says_so_before_anything_is_recorded_where_it_cannot_be(serving: World) -> None:
    serving.engine.fail(
        "can_have_notice", EngineFailed("an earlier version started it", advice="Replace it.")
    )
    with pytest.raises(EngineFailed):
        on(serving)
    assert serving.environment("live").maintenance is None


def test_what_sleeps_need_not_wake(serving: World) -> None:
    serving.sleeping.put_to_sleep("hello", "ann", environment="dev")
    on(serving, environment="dev")
    serving.jobs.notices.run()
    serving.jobs.reconcile.run()
    assert serving.environment("dev").asleep is not None
    assert serving.engine.notices[("hello", "dev")] == Notice(SAID)


def wrong() -> Iterator[tuple[str, dict[str, str], type[PushliveError]]]:
    yield " ", {}, ConfigError
    yield "x" * (LONGEST + 1), {}, ConfigError
    for one in ("a\nb", "a\x00b", "a\x1b[2Jb", "a\u2028b", "a\u202eb", "\ud800"):
        yield one, {}, ConfigError
    yield SAID, {"until": "08:00", "lasting": "1h"}, ConfigError
    yield SAID, {"until": "2020-01-01 08:00"}, ConfigError
    yield SAID, {"zone": "Mars/Base"}, ConfigError
    yield SAID, {"environment": "nowhere"}, NotFound


@pytest.mark.parametrize(("message", "more", "error"), list(wrong()))
def test_what_is_wrong_is_refused(
    serving: World, message: str, more: dict[str, str], error: type[PushliveError]
) -> None:
    with pytest.raises(error):
        on(serving, message, **more)
    assert shown(serving) is None


def test_where_nothing_serves_there_is_nothing_to_keep_visitors_from(world: World) -> None:
    with pytest.raises(RequestError, match="nothing serves in hello/live"):
        on(world)


def test_it_is_shown(serving: World) -> None:
    def seen() -> dict[str, object]:
        (entry,) = serving.commands.status()["pipelines"]
        return {**entry, "environment": entry["environments"][-1]}

    assert seen()["environment"]["maintenance"] is None  # type: ignore[index]
    on(serving)
    entry, now = seen(), serving.clock.now()
    one: dict[str, object] = entry["environment"]  # type: ignore[assignment]
    assert one["maintenance"] == {
        "message": SAID,
        "by": "ann",
        "since": now,
        "until": 0.0,
        "text": f"in maintenance: {SAID} (by ann)",
        "command": "pushlive maintenance off hello live",
    }
    assert ("maintenance", "yellow") in environment_row(one, now)
    lines = "\n".join(pipeline_lines(entry, now, lambda text, *_: text, 200))
    assert f"! live is in maintenance: {SAID} (by ann)  → `pushlive maintenance off hello live`" in lines
    assert doctor(serving) == [(True, f"in maintenance: {SAID} (by ann)")]


def test_the_guides_commands_work_as_they_are_written(serving: World) -> None:
    page = (ROOT / "docs" / "guides" / "maintenance.md").read_text().replace("shop", "hello")
    long = page.partition("```\n")[2].partition("```")[0]
    first, status, last = page.partition("## Commands\n```\n")[2].partition("```")[0].splitlines()
    with typist(serving) as at:
        assert at.types(*shlex.split(long)[1:]).code == 0
        assert at.types(*shlex.split(first)[1:]).code == 0
        assert shown(serving) == Notice("We are back soon.", serving.clock.now() + 7200)
        assert "live is in maintenance until" in at.types(*shlex.split(status)[1:]).text
        assert at.types(*shlex.split(last)[1:]).code == 0
        assert shown(serving) is None
