"""A retry repeats a run; it takes nothing newer back without being told to."""

from __future__ import annotations

import pytest

from pipeline.cli.show import next_lines
from pipeline.domain.run import Outcome
from pipeline.errors import NotFound, RequestError


@pytest.fixture
def overtaken(world):
    """v2 was cancelled, v3 is live."""
    world.push("one")
    cancelled = world.accept(world.commit("two"))
    world.commands.cancel("hello", cancelled.number, "ann")
    world.push("three")
    assert world.serving()["live"] == 2
    return world


def test_a_retry_that_would_take_live_back_is_refused_and_names_what(overtaken):
    newer = overtaken.commands.show("hello", 2)["run"]["newer"]
    assert newer["run"] == 3
    with pytest.raises(
        RequestError, match=r"hello#3 .r2, .* “three”. is newer than hello#2 and serves live"
    ) as refused:
        overtaken.commands.retry("hello", 2, "ann")
    assert "`pushlive retry 'hello#2' --over 'hello#3'`" in refused.value.advice
    assert overtaken.run(3).outcome == Outcome.LIVE
    assert [run.number for run in overtaken.store.recent("hello", 9)] == [3, 2, 1]


def test_it_is_done_over_the_run_that_was_shown_and_no_other(overtaken):
    overtaken.push("four")
    with pytest.raises(RequestError, match=r"hello#4"):
        overtaken.commands.retry("hello", 2, "ann", over=3)
    again = overtaken.commands.retry("hello", 2, "ann", over=4)
    overtaken.work()
    assert overtaken.run(again.number).outcome == Outcome.LIVE
    serving = overtaken.store.release("hello", overtaken.serving()["live"])
    assert serving.commit == overtaken.run(2).commit


def test_a_newer_run_on_its_way_is_not_overtaken_either(world):
    world.push("one")
    failed = world.accept(world.commit("two"))
    world.commands.cancel("hello", failed.number, "ann")
    world.commands.hold("hello", "ann")
    world.push("three")
    with pytest.raises(RequestError, match=r"hello#3 .* is on its way to live"):
        world.commands.retry("hello", 2, "ann")


def test_nothing_is_asked_if_only_older_runs_serve(overtaken):
    assert overtaken.revert().release == 1
    assert overtaken.commands.show("hello", 2)["run"]["newer"] is None
    assert overtaken.commands.retry("hello", 2, "ann").commit == overtaken.run(2).commit


def test_an_older_release_that_a_person_deployed_since_is_not_taken_back_silently(overtaken):
    deployed = overtaken.commands.deploy("hello", "bo", release=1)
    overtaken.work()
    assert overtaken.serving()["live"] == 1
    with pytest.raises(RequestError, match=rf"hello#{deployed.number} .r1"):
        overtaken.commands.retry("hello", 2, "ann")


def test_the_retry_of_an_old_revert_takes_nothing_newer_back(world):
    world.push("one")
    world.push("two")
    reverted = world.revert()
    world.commands.resume("hello", "ann")
    world.push("three")
    with pytest.raises(RequestError, match=r"hello#4 \(r3"):
        world.commands.retry("hello", reverted.number, "ann")
    assert world.environment("live").hold is None
    world.commands.retry("hello", reverted.number, "ann", over=4)
    world.work()
    assert world.serving()["live"] == 1


def test_a_retry_takes_the_current_configuration(world):
    world.configure(world.settings.config.read_text() + "# a correction\n")
    world.push("one")
    world.configure(world.settings.config.read_text() + "# another\n")
    again = world.commands.retry("hello", 1, "ann")
    assert again.config == world.services.configurations.current()[0] != world.run(1).config


@pytest.mark.parametrize(
    ("over", "error", "said"), [(9, NotFound, "no run hello#9"), (1, RequestError, "not newer")]
)
def test_only_a_newer_run_that_there_is_can_be_taken_back(overtaken, over, error, said):
    with pytest.raises(error, match=said):
        overtaken.commands.retry("hello", 2, "ann", over=over)
    assert [run.number for run in overtaken.store.recent("hello", 9)] == [3, 2, 1]


FAILS_IN_LIVE = """\
pipelines:
  hello:
    smoke: [{get: /, contains: r}]
    environments: {live: {bake: 1h}}
"""


@pytest.fixture
def quarantined(world):
    """r2 failed its checks in live, where r1 is watched."""
    world.configure(FAILS_IN_LIVE)
    world.push("one")
    world.break_app(2)
    assert world.push("two").failure.stage == "live"
    assert [entry.release for entry in world.environment("live").quarantine] == [2]
    return world


def test_a_retry_of_what_is_in_quarantine_is_refused_before_anything_starts(quarantined):
    before = quarantined.environment("live")
    for _ in range(2):
        with pytest.raises(
            RequestError, match=r"a retry of hello#2 would stop before live: r2, .* is in qua"
        ) as no:
            quarantined.commands.retry("hello", 2, "ann")
    assert no.value.advice == (
        "Push a fix; or `pushlive unquarantine hello r2 --env live`, then `pushlive retry 'hello#2'`."
    )
    assert [run.number for run in quarantined.store.recent("hello", 9)] == [2, 1]
    assert quarantined.environment("live") == before
    assert before.bake
    refused = quarantined.commands.show("hello", 2)["run"]
    assert refused["no_retry"].startswith("a retry of hello#2 would stop before live: r2, ")
    assert refused["no_retry"].endswith(no.value.advice)
    assert "runs it again" not in " ".join(next_lines(refused, lambda text, _style: text))
    quarantined.commands.unquarantine("hello", "ann", 2, environment="live")
    assert quarantined.commands.show("hello", 2)["run"]["no_retry"] == ""
    assert quarantined.commands.retry("hello", 2, "ann").number == 3


def test_the_card_of_what_went_into_quarantine_says_so(quarantined):
    advice = quarantined.run(2).failure.advice
    assert (
        "r2 is in quarantine in live: a retry needs `pushlive unquarantine hello r2 --env live` first."
        in advice
    )


def test_a_retry_of_a_release_as_it_was_is_refused_as_well(quarantined):
    run = quarantined.commands.deploy("hello", "ann", release=2)
    quarantined.work()
    assert quarantined.run(run.number).failure.step == "enter"
    assert "needs `pushlive unquarantine" not in quarantined.run(run.number).failure.advice
    with pytest.raises(RequestError, match="would stop before live"):
        quarantined.commands.retry("hello", run.number, "ann")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("live: {bake: 1h}", "live: {bake: 1h, env: {A: b}}"),
        ("    smoke: [{get", "    build: {target: x}\n    smoke: [{get"),
    ],
    ids=["configuration", "build"],
)
def test_what_a_retry_makes_otherwise_may_enter(quarantined, old, new):
    quarantined.configure(FAILS_IN_LIVE.replace(old, new))
    assert quarantined.commands.retry("hello", 2, "ann").number == 3
