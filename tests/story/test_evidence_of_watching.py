"""What is recorded of a release that serves: what it used, and the judge's verdict. On fakes and a real store."""

from __future__ import annotations

import json

import pytest

from pipeline.adapters.fake import Killed
from pipeline.domain.engine_types import Answered
from pipeline.errors import EngineAway, RequestError
from pipeline.evidence.bundle import SCHEMA_FILE
from pipeline.evidence.records import Records
from tests.story.test_evidence import BAKED, content, exported, folder, look  # noqa: F401 - a fixture
from tests.story.test_latencies import FAST, SLOW
from tests.story.test_latencies import serve as in_time
from tests.support.json_schema import problems

SCHEMA = json.loads(SCHEMA_FILE.read_text())["$defs"]


def kept(world, kind: str) -> list[dict]:
    return [one.record() for one in Records(world.settings.data).of("hello") if one.kind == kind]


def serve(world, requests: int, errors: int, looks: int) -> None:
    """The slot that serves answers that often, and with so many errors, between two looks of the keeper."""
    engine = world.engine
    ref = next(ref for ref in engine.contents if ref.slot == engine.active[("hello", "live")])
    world.jobs.answers.run()
    for _ in range(looks):
        known = engine.counted.get(ref, Answered())
        engine.counted[ref] = Answered(known.requests + requests, known.errors + errors)
        world.clock.sleep(15)
        world.jobs.answers.run()
    world.jobs.acting.run()
    world.jobs.evidence.run()


def test_a_verdict_after_an_hour_is_recorded_once_with_its_figures(make_world, folder):  # noqa: F811
    world = make_world(BAKED)
    world.push("one")
    serve(world, 10, 0, looks=230)
    assert kept(world, "verdict-live") == []
    serve(world, 10, 1, looks=20)
    serve(world, 10, 1, looks=20)

    (record,) = kept(world, "verdict-live")

    found = record["verdict"]
    assert (record["id"], found["outcome"], found["before"]) == ("hello#1", "nothing to compare with", None)
    assert found["requests"] == sum(one[1] for one in found["minutes"])
    assert found["errors"] == sum(one[2] for one in found["minutes"]) > 0
    assert problems(record, SCHEMA["verdict"]) == []
    files = content(exported(world, folder, release=1))
    assert json.loads(files["records/verdict-live-1.json"]) == record
    assert "hello#1 verdict in live" in files["index.html"].decode()
    assert world.store.evidence_due() == ()
    assert world.store.facts.get("verdict:hello/live:1") == ""


def test_a_release_that_is_worse_is_recorded_at_once(make_world):
    world = make_world(BAKED)
    world.push("one")
    serve(world, 100, 0, looks=60)
    world.push("two")
    serve(world, 100, 50, looks=40)

    first, second = kept(world, "verdict-live")

    assert first["verdict"]["outcome"] == "nothing to compare with"  # the next release came within the hour
    assert second["verdict"]["outcome"] == second["verdict"]["by_errors"]["outcome"] == "worse"
    assert second["verdict"]["by_latency"] is None
    assert second["verdict"]["before"]["release"] == 1
    assert second["verdict"]["minutes_before"]
    assert (first["followed"], second["followed"]["state"]) == (None, "observed")
    assert problems(second, SCHEMA["verdict"]) == []


def judged(judge: str, on_failure: str = "revert") -> str:
    bake = f"{{for: 0, on_failure: {on_failure}}}"
    return f"pipelines: {{hello: {{environments: {{live: {{bake: {bake}, judge: {judge}}}}}}}}}"


FOLLOWED = [
    ("act", "revert", "taken back"),
    ("act", "hold", "held"),
    ("act", "tell", "told"),
    ("observe", "revert", "observed"),
]


@pytest.mark.parametrize(("judge", "on_failure", "state"), FOLLOWED)
def test_a_verdict_s_record_says_what_followed_from_more_errors(make_world, folder, judge, on_failure, state):  # noqa: F811
    world = make_world(judged(judge, on_failure))
    world.push("one")
    serve(world, 100, 0, looks=60)
    world.push("two")
    serve(world, 100, 50, looks=40)

    record = kept(world, "verdict-live")[-1]

    found = record["followed"]
    assert (record["id"], record["verdict"]["outcome"]) == ("hello#2", "worse")
    assert (found["judge"], found["on_failure"], found["state"]) == (judge, on_failure, state)
    assert found["reason"].startswith("r2: errors ")
    assert found["revert"] == ("hello#3" if state == "taken back" else "")
    would = "With `judge: act` it would have been taken back to r1"
    assert found["would"] == (would if judge == "observe" else "")
    assert problems(record, SCHEMA["verdict"]) == []
    assert f'"state": "{state}"' in content(exported(world, folder, release=2))[
        "index.html"
    ].decode().replace("&quot;", '"')


@pytest.mark.parametrize(("judge", "on_failure", "state"), FOLLOWED)
def test_a_verdict_s_record_says_what_followed_from_slower_answers(make_world, judge, on_failure, state):
    world = make_world(judged(judge, on_failure))
    world.push("one")
    in_time(world, FAST)
    world.push("two")
    in_time(world, SLOW)
    world.jobs.acting.run()
    world.work()
    world.clock.sleep(3600)
    world.jobs.answers.run()
    world.jobs.evidence.run()

    [record] = [one for one in kept(world, "verdict-live") if one["id"] == "hello#2"]

    found = record["verdict"]
    assert (found["outcome"], found["by_errors"]["outcome"]) == ("worse", "no worse")
    slow = found["by_latency"]
    assert (slow["outcome"], slow["slower"][0], slow["before"]["release"]) == ("worse", "p50", 1)
    assert slow["p50"] > 1.25 * slow["before"]["p50"]
    assert found["reason"] == slow["reason"]
    assert record["followed"]["state"] == state
    assert record["followed"]["reason"].startswith("r2: p50 ")
    assert problems(record, SCHEMA["verdict"]) == []


def test_a_record_waits_until_it_is_known_what_followed(make_world):
    world = make_world(judged("act"))
    world.push("one")
    serve(world, 100, 0, looks=60)
    world.push("two")
    lease = world.store.leases.take("env:hello/live", "run")
    serve(world, 100, 50, looks=40)
    world.jobs.evidence.run()
    assert [one["id"] for one in kept(world, "verdict-live")] == ["hello#1"]
    world.store.leases.drop(lease)
    world.another_process().acting.run()
    world.jobs.evidence.run()
    assert kept(world, "verdict-live")[-1]["followed"]["state"] == "taken back"


def test_another_release_that_serves_first_leaves_a_record_without(make_world):
    world = make_world(judged("act"))
    world.push("one")
    serve(world, 100, 0, looks=60)
    world.push("two")
    lease = world.store.leases.take("env:hello/live", "run")
    serve(world, 100, 50, looks=40)
    world.store.leases.drop(lease)
    world.push("three")
    world.jobs.evidence.run()
    record = kept(world, "verdict-live")[-1]
    assert (record["id"], record["verdict"]["outcome"], record["followed"]) == ("hello#2", "worse", None)


def test_after_its_hour_a_record_waits_for_the_verdict_on_its_times(make_world):
    world = make_world(judged("observe"))
    world.push("one")
    in_time(world, FAST)
    world.push("two")
    world.jobs.answers.run()
    world.clock.sleep(50)  # times are compared once a minute, so their hour begins later
    in_time(world, FAST, looks=59)
    world.clock.sleep(20)
    world.jobs.answers.run()
    world.jobs.evidence.run()
    assert world.store.evidence_due() == (("verdict-live", "hello", 2),)
    world.clock.sleep(120)
    world.jobs.evidence.run()
    assert world.store.evidence_due() == ()
    assert kept(world, "verdict-live")[-1]["followed"] is None


@pytest.mark.parametrize("point", ["note_evidence", "evidence_written"])
def test_a_keeper_that_dies_around_a_verdict_leaves_one_record(make_world, monkeypatch, point):
    world = make_world(BAKED)
    world.push("one")
    serve(world, 10, 0, looks=230)

    def killed(*_: object) -> None:
        raise Killed("SIGKILL")

    with monkeypatch.context() as patched:
        patched.setattr(type(world.store), point, killed)
        with pytest.raises(Killed):
            serve(world, 10, 0, looks=20)
    before = kept(world, "verdict-live")
    serve(world, 10, 0, looks=20)

    assert len(kept(world, "verdict-live")) == 1
    assert before in ([], kept(world, "verdict-live"))


def test_what_a_release_used_while_it_was_watched_is_in_its_record(make_world, folder):  # noqa: F811
    world = make_world(BAKED)
    world.push("one")
    for _ in range(14):
        look(world, 1)
        world.jobs.usage.run()

    (record,) = kept(world, "bake-live")

    series = record["series"]
    (one,) = series["containers"]
    assert series["at"][:4] == [0.0, 10.0, 20.0, 30.0]
    assert (one["cpu"][:3], one["memory"][:2], one["limit"]) == (
        [None, 0.1, 0.1],
        [1 << 20, 1 << 20],
        32 << 20,
    )
    assert len(one["cpu"]) == len(one["memory"]) == len(series["at"]) > 5
    assert problems(record, SCHEMA["bake"]) == []
    assert world.store.facts.get("usage:hello/live:1") == ""
    assert "Series" in content(exported(world, folder, release=1))["index.html"].decode()


@pytest.mark.parametrize("error", [RequestError("no metrics"), EngineAway("away")])
def test_an_engine_that_cannot_tell_leaves_the_record_without_a_series(make_world, folder, error):  # noqa: F811
    world = make_world(BAKED)
    world.push("one")
    for _ in range(14):
        world.engine.fail("measured", error)
        world.jobs.usage.run()
        look(world, 1)

    (record,) = kept(world, "bake-live")
    assert (record["bake"]["outcome"], record["series"]) == ("baked", None)
    assert record["series_gaps"] == f"What its containers used is not known. {error}"
    assert problems(record, SCHEMA["bake"]) == []
    page = content(exported(world, folder, release=1))["index.html"].decode()
    assert f"<h3>Series gaps</h3><p>What its containers used is not known. {error}</p>" in page
