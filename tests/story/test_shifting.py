"""`shift`: a release gets a part of the visitors before it gets all."""

from __future__ import annotations

import subprocess
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from pipeline.adapters.fake.script import Killed
from pipeline.domain.engine_types import Answered, Share
from pipeline.domain.environment import Bake, BakeOutcome
from pipeline.domain.judging.latency.times import Timed, bucket_of
from pipeline.domain.run import Kind, Outcome, Run, State
from pipeline.errors import EngineAway, RequestError
from tests.story.conftest import World
from tests.story.test_notifications import CHAT, Mail
from webhooks.api.exposition import exposition

SHIFT = """\
pipelines:
  hello:
    service: {health: /healthz, drain: 2s}
    smoke: [{get: /, contains: r}]
    environments: {live: {shift: {steps: [5%, 25%], for: 5m}}}
"""


class Visitors:
    """They ask so often in a second, and each release answers so much of it with errors."""

    def __init__(self, world: World, rate: float = 20.0) -> None:
        self.world, self.rate, self.errors = world, rate, dict[int, float]()
        self.took = dict[int, float]()  # seconds until a release answers, if not 40 ms
        self.timed = defaultdict[object, Counter[int]](Counter)
        self.at = world.clock.now()
        self.asked: dict[object, float] = {}
        self.failed: dict[object, float] = {}
        world.engine.before("answered", self.come, times=10**6)
        world.engine.before("timed", self.come, times=10**6)

    def come(self) -> None:
        now = self.world.clock.now()
        passed, self.at = now - self.at, now
        for ref, content in self.world.engine.contents.items():
            share = self.world.engine.shares.get((ref.pipeline, ref.environment))
            part = share.percent / 100 if share and share.slot == ref.slot else 0.0
            if self.world.engine.active.get((ref.pipeline, ref.environment)) == ref.slot:
                part = 1 - (share.percent / 100 if share else 0.0)
            new = passed * self.rate * part
            bucket = bucket_of(self.took.get(content.spec.release, 0.04))
            self.timed[ref][bucket] += int(self.asked.get(ref, 0.0) + new) - int(self.asked.get(ref, 0.0))
            self.world.engine.times[ref] = Timed(1, dict(self.timed[ref]))
            self.asked[ref] = self.asked.get(ref, 0.0) + new
            self.failed[ref] = self.failed.get(ref, 0.0) + new * self.errors.get(content.spec.release, 0.0)
            self.world.engine.counted[ref] = Answered(int(self.asked[ref]), int(self.failed[ref]))


@pytest.fixture
def visited(world: World) -> World:
    """r1 serves."""
    world.configure(SHIFT)
    assert world.push().outcome == Outcome.LIVE
    return world


def shares(world: World) -> list[float]:
    """Those that the new release got, in order, each once."""
    found = [arguments[1] for name, arguments in world.engine.calls if name == "share"]
    return list(dict.fromkeys(found))


def said(world: World, run: Run) -> str:
    return " ".join(event.text for event in world.events(run))


def ends(world: World) -> dict[tuple[str, str], int]:
    """How shifts ended, by environment, as measured."""
    return world.commands.measurements().pipelines["hello"].shifts


def state(world: World) -> tuple[int | None, bool, bool]:
    """What serves, whether another has a share by the record, and by the proxy."""
    environment = world.environment("live")
    assert world.engine.active[("hello", "live")] == environment.active
    return environment.serving, environment.shift is not None, bool(world.engine.shares)


def during(world: World, act: Callable[[], None], step: int = 1, *, look: int = 20) -> None:
    """Calls it in the middle of that step of the next shift, once."""
    done = [False]

    def maybe() -> None:
        shift = world.environment("live").shift
        if not done[0] and shift and shift.step >= step and shift.passed > look:
            done[0] = True
            act()

    world.engine.before("health", maybe, times=10**6)


def test_the_first_release_has_no_one_to_share_with(world: World) -> None:
    world.configure(SHIFT)
    run = world.push()
    assert run.outcome == Outcome.LIVE
    assert shares(world) == []
    assert "all visitors go to r1 at once: no release serves yet" in said(world, run)


def test_step_by_step_then_all(visited: World) -> None:
    Visitors(visited)
    began = visited.clock.now()
    run = visited.push()
    assert run.outcome == Outcome.LIVE, run.reason
    assert shares(visited) == [5.0, 25.0]
    assert state(visited) == (2, False, False)
    assert 600 <= visited.clock.now() - began < 660
    assert ends(visited) == {("live", "done"): 1}
    text = said(visited, run)
    assert "5 % of new visitors go to r2, the others to r1, for 5m" in text
    assert "25 % went to r2 for 5m: errors 0 % of 1,5" in text
    (step,) = (one for one in run.steps if one.step == "shift")
    assert step.ok
    assert step.detail == "5 %, 25 % in 10m"
    assert step.seconds == pytest.approx(600, abs=5)
    shown = visited.commands.show("hello", run.number)
    (figures,) = (one["figures"] for one in shown["timing"]["stages"][-1]["steps"] if one["step"] == "shift")
    assert [one.partition(":")[0] for one in figures] == ["5 % of new visitors", "25 % of new visitors"]
    assert shown["run"]["shift"] is None
    assert shown["run"]["machine"] < 60 < shown["run"]["seconds"]


def test_no_budget_counts_the_time_of_a_shift(visited: World) -> None:
    run = visited.push()
    timing = visited.commands.show("hello", run.number)["timing"]
    assert timing["shifted"] == pytest.approx(600, abs=5)
    assert timing["deploy"] < 60
    assert timing["whole"] < 60
    assert not timing["serious"]
    assert "not counting 10:00 with a part of the visitors" in run.reason


def test_worse_goes_back_and_is_in_quarantine(visited: World) -> None:
    Visitors(visited, rate=100.0).errors[2] = 0.05
    run = visited.push()
    assert run.outcome == Outcome.FAILED
    assert state(visited) == (1, False, False)
    assert run.failure is not None
    assert "r2 failed while it had" in run.failure.message
    assert "it answers worse than r1: errors 4.9 % of" in run.failure.message
    assert run.failure.step == "shift"
    assert run.failure.evidence == (), "the figures of the only step are those of the message"
    (step,) = (one for one in run.steps if one.step == "shift")
    assert len(step.figures) == 1
    assert [one.release for one in visited.environment("live").quarantine] == [2]
    assert "all visitors are on r1 again" in said(visited, run)
    assert ends(visited) == {("live", "failed"): 1}
    names = [name for name in visited.engine.names() if name in ("unshare", "drain", "stop_and_keep")]
    assert names[-3:] == ["unshare", "drain", "stop_and_keep"]


def test_a_release_that_restarts_in_a_short_step_does_not_get_all_visitors(visited: World) -> None:
    visited.configure(SHIFT.replace("[5%, 25%], for: 5m", "[30%], for: 25s"))
    began = visited.clock.now()

    def crash_now_and_then() -> None:
        shift = visited.environment("live").shift
        ref = next((ref for ref, one in visited.engine.contents.items() if one.spec.release == 2), None)
        if shift and ref and visited.clock.now() - began > 12 * (crashes[0] + 1):
            crashes[0] += 1
            visited.engine.crash(ref)

    crashes = [0]
    visited.engine.before("health", crash_now_and_then, times=10**6)
    run = visited.push()
    assert run.outcome == Outcome.FAILED
    assert run.failure is not None
    assert "restarted 3 times" in run.failure.message
    assert "the step goes on: a container has restarted just now" in said(visited, run)
    assert state(visited) == (1, False, False)


def test_a_release_that_seems_worse_in_a_short_step_is_watched_until_that_is_certain(visited: World) -> None:
    visited.configure(SHIFT.replace("[5%, 25%], for: 5m", "[30%], for: 25s"))
    Visitors(visited, rate=22.0).errors[2] = 0.09
    run = visited.push()
    assert run.outcome == Outcome.FAILED, said(visited, run)
    assert "the step goes on: it seems to answer worse" in said(visited, run)
    assert state(visited) == (1, False, False)


def test_receivers_are_told_with_the_failed_run_and_its_figures(visited: World) -> None:
    visited.configure(SHIFT + f"notify: [{{url: '{CHAT}', when: [failed, live]}}]\n")
    visitors = Visitors(visited, rate=100.0)
    assert visited.push().outcome == Outcome.LIVE
    visitors.errors[3] = 0.05
    assert visited.push().outcome == Outcome.FAILED
    mail = Mail(visited)
    mail.deliver()
    live, failed = mail.said("hello#2/live"), mail.said("hello#3/failed")
    assert isinstance(live["shift"], dict)
    assert isinstance(failed["shift"], dict)
    assert (live["event"], live["shift"]["percent"], live["shift"]["shares"]) == ("live", 25.0, [5.0, 25.0])
    assert (failed["event"], failed["release"], failed["shift"]["before"]) == ("failed", 3, 2)
    assert "it answers worse than r2: errors" in str(failed["text"])
    assert failed["shift"]["errors"] > 10
    assert failed["shift"]["old"]["requests"] > 1000


def test_slower_goes_back_with_the_figures_of_both(visited: World) -> None:
    visited.configure(SHIFT.replace("drain: 2s", "drain: 0s"))
    Visitors(visited, rate=100.0).took[2] = 0.12
    run = visited.push()
    assert run.outcome == Outcome.FAILED
    assert state(visited) == (1, False, False)
    assert run.failure is not None
    assert "it answers more slowly than r1: errors 0 % of" in run.failure.message
    assert "; p50 1" in run.failure.message
    assert " ms and p95 1" in run.failure.message
    assert "ms, beside 4" in run.failure.message
    assert [one.release for one in visited.environment("live").quarantine] == [2]


def test_slower_for_both_is_no_fault_of_one(visited: World) -> None:
    visitors = Visitors(visited, rate=100.0)

    def busy() -> None:
        visitors.took.update({1: 0.2, 2: 0.2})

    during(visited, busy)
    run = visited.push()
    assert run.outcome == Outcome.LIVE, run.reason
    figures = next(one for one in run.steps if one.step == "shift").figures
    assert "; p50 4" in figures[0]
    assert "; p50 20" in figures[1] or "; p50 19" in figures[1] or "; p50 21" in figures[1]


def test_what_was_timed_is_shown_and_survives_the_worker(visited: World) -> None:
    Visitors(visited, rate=100.0).took[2] = 0.044
    number = visited.accept(visited.commit("two")).number
    during(visited, lambda: visited.engine.kill("timed"), look=60)
    with pytest.raises(Killed):
        visited.work()
    shift = visited.commands.status()["pipelines"][0]["environments"][0]["shift"]
    before = shift["latency"]["new"]["requests"]
    assert before == pytest.approx(180 * 5 + 60 * 25, rel=0.1)  # two minutes of the first step are left out
    assert 0.04 < shift["latency"]["old"]["p50"] < shift["latency"]["new"]["p50"] < 0.05
    assert "; p50 4" in shift["text"]
    visited.work()
    assert visited.run(number).outcome == Outcome.LIVE
    assert "ms of r1" in said(visited, visited.run(number))


def test_errors_of_both_are_no_fault_of_one(visited: World) -> None:
    Visitors(visited, rate=100.0).errors.update({1: 0.05, 2: 0.05})
    assert visited.push().outcome == Outcome.LIVE


def keeping(world: World) -> None:
    """From now on the keeper looks and judges, every five seconds, also while a run is at work."""
    last, busy = [world.clock.now()], [False]

    def look() -> None:
        if busy[0] or world.clock.now() - last[0] < 5:
            return
        busy[0], last[0] = True, world.clock.now()
        world.jobs.health.run()
        world.jobs.baking.run()
        busy[0] = False

    world.engine.before("health", look, times=10**6)


def failing(world: World, *releases: int) -> None:
    for ref, one in world.engine.contents.items():
        if one.spec.release in releases:
            world.engine.sicken(ref, 1, "GET /healthz answered 503")


def test_what_serves_is_watched_on_during_a_shift_and_may_be_baked(visited: World) -> None:
    keeping(visited)
    during(visited, lambda: told.append(visited.environment("live").bakes[-1]))
    told: list[Bake] = []
    assert visited.push().outcome == Outcome.LIVE
    assert [(one.release, one.outcome) for one in told] == [(1, BakeOutcome.BAKED)]
    one, two = visited.environment("live").bakes
    assert (one.outcome, two.release, two.outcome) == (BakeOutcome.BAKED, 2, None)


def test_if_what_serves_fails_all_go_to_the_new_release_at_once(visited: World) -> None:
    keeping(visited)
    during(visited, lambda: failing(visited, 1), step=0)
    run = visited.push()
    assert run.outcome == Outcome.LIVE, run.reason
    assert shares(visited) == [5.0]
    assert state(visited) == (2, False, False)
    assert "r1, which serves, is down: all visitors go to r2 at once" in said(visited, run)
    assert visited.environment("live").quarantine == ()
    assert [one.kind for one in visited.store.recent("hello", 9)] == [Kind.PUSH, Kind.PUSH]
    (step,) = (one for one in run.steps if one.step == "shift")
    assert step.detail.startswith("5 % in ")
    assert len(step.data["steps"]) == 1
    assert next(iter(visited.environment("live").bakes[-1].before)) == "/down"
    (end,) = visited.events(run, "end")
    assert end.data["more"] == [f"revert {readiness(visited)['text']}"]
    assert readiness(visited)["text"].startswith("not ready: r1 is warm, but does not work (")
    with pytest.raises(RequestError, match="r1 is warm, but does not work"):
        visited.commands.revert("hello", "ann")


def readiness(world: World) -> dict[str, Any]:
    [live] = world.commands.status("hello")["pipelines"][0]["environments"]
    return live["revert"]


def test_what_serves_and_does_not_work_is_no_way_back_during_a_shift(visited: World) -> None:
    def look() -> None:
        failing(visited, 1)
        visited.jobs.health.run()
        told.append(readiness(visited))
        with pytest.raises(RequestError) as refused:
            visited.commands.revert("hello", "ann")
        told.append(refused.value)

    told: list[Any] = []
    during(visited, look, step=0)
    visited.push()
    ready, refused = told
    assert (ready["ready"], ready["release"]) == (False, 1)
    assert ready["text"].startswith("not ready: r1 serves, but does not work (")
    assert "`pushlive revert hello --env live --to r1`" in refused.advice
    assert [run.kind for run in visited.store.recent("hello", 9)] == [Kind.PUSH, Kind.PUSH]


def test_if_both_fail_neither_is_to_blame_and_what_is_watched_is_taken_back(visited: World) -> None:
    visited.clock.sleep(300)
    visited.configure(SHIFT.replace("shift: {steps: [5%, 25%], for: 5m}", "bake: 1h"))
    assert visited.push().outcome == Outcome.LIVE
    visited.configure(SHIFT.replace("shift", "bake: 1h, shift"))
    keeping(visited)
    during(visited, lambda: failing(visited, 2, 3))
    run = visited.push()
    assert run.outcome == Outcome.FAILED
    assert run.failure is not None
    assert "r2, which serves, is down as well, since " in run.failure.message
    environment = visited.environment("live")
    assert (environment.serving, environment.quarantine) == (2, ())
    visited.jobs.baking.run()
    visited.work()
    assert state(visited) == (1, False, False)
    assert [one.release for one in visited.environment("live").quarantine] == [2]


def test_fault_67_killed_when_what_serves_is_down_the_next_worker_switches(visited: World) -> None:
    keeping(visited)
    during(visited, lambda: failing(visited, 1), step=0)
    number = visited.accept(visited.commit("two")).number
    visited.engine.kill("switch")
    with pytest.raises(Killed):
        visited.work()
    visited.reconcile()
    visited.work()
    assert visited.run(number).outcome == Outcome.LIVE
    assert state(visited) == (2, False, False)


def crash(world: World) -> None:
    slot = world.environment("live").shift
    assert slot is not None
    ref = next(ref for ref in world.engine.contents if ref.slot == slot.slot)
    world.engine.crash(ref, times=3)


def out_of_memory(world: World) -> None:
    ref = next(ref for ref, one in world.engine.contents.items() if one.spec.release == 2)
    world.engine.crash(ref, 137)


def sicken(world: World) -> None:
    ref = next(ref for ref, one in world.engine.contents.items() if one.spec.release == 2)
    world.engine.sicken(ref, 1, "GET /healthz answered 503")


@pytest.mark.parametrize(
    ("act", "why"),
    [
        (crash, "restarted 3 times"),
        (out_of_memory, "ran out of memory and was killed"),
        (sicken, "answered 503"),
    ],
    ids=["crashes", "memory", "health"],
)
def test_a_release_that_fails_goes_back(visited: World, act: Callable[[World], None], why: str) -> None:
    during(visited, lambda: act(visited))
    run = visited.push()
    assert run.outcome == Outcome.FAILED
    assert run.failure is not None
    assert why in run.failure.message
    assert state(visited) == (1, False, False)


def test_a_run_that_waits_for_a_shift_says_so_and_its_wait_is_no_deploy_time(visited: World) -> None:
    def next_push() -> None:
        visited.accept(visited.commit("three"))
        for _ in range(3):  # other workers, one after the other
            visited.runner.work("hello")
        waiting.append(visited.run(3))
        [entry] = visited.commands.status()["pipelines"]
        shown.append(entry["run"])

    waiting: list[Run] = []
    shown: list[dict[str, Any]] = []
    during(visited, next_push)
    Visitors(visited)
    visited.push("two")
    (run,) = waiting
    assert (run.state, run.behind, run.behind_share) == (State.RUNNING, "hello#2", 25.0)
    assert shown[0]["waits_for"] == "live waits for hello#2, which has 25 % of the visitors"
    assert shown[0]["id"] == "hello#3"
    visited.work()
    assert visited.run(3).outcome == Outcome.LIVE
    assert said(visited, run).count("waits for hello#2, which has 25 % of the visitors") == 1
    assert (visited.run(3).behind, visited.run(3).parked) == ("", 0.0)
    timing = visited.commands.show("hello", 3)["timing"]
    assert timing["queue"] > 250
    assert timing["deploy"] < 30
    assert (timing["whole"] < 30, timing["serious"]) == (True, False)
    assert 250 < timing["after_shift"] <= timing["queue"]
    assert "behind another run's shift; deploy" in visited.run(3).reason


def test_a_run_that_is_cancelled_while_it_waits_has_only_waited(visited: World) -> None:
    def next_push() -> None:
        visited.accept(visited.commit("three"))
        visited.runner.work("hello")
        visited.clock.sleep(100)
        visited.commands.cancel("hello", 3, "ann")
        visited.runner.work("hello")

    during(visited, next_push)
    visited.push("two")
    visited.work()
    assert visited.run(3).outcome == Outcome.CANCELLED
    timing = visited.commands.show("hello", 3)["timing"]
    assert timing["queue"] > 95
    assert timing["deploy"] < 5


def test_a_cancelled_shift_goes_back(visited: World) -> None:
    during(visited, lambda: visited.commands.cancel("hello", 2, "ann") and None)
    run = visited.push()
    assert run.outcome == Outcome.CANCELLED
    assert ends(visited) == {("live", "back"): 1}
    assert state(visited) == (1, False, False)
    assert visited.environment("live").quarantine == ()


def test_a_hold_goes_back_and_after_it_the_shift_begins_again(visited: World) -> None:
    during(visited, lambda: visited.commands.hold("hello", "ann", environment="live", reason="wait") and None)
    run = visited.push()
    assert run.state == State.WAITING
    assert state(visited) == (1, False, False)
    visited.commands.resume("hello", "ann", environment="live")
    visited.work()
    assert visited.run(run.number).outcome == Outcome.LIVE
    assert state(visited) == (2, False, False)
    assert ends(visited) == {("live", "back"): 1, ("live", "done"): 1}


def test_status_has_it_and_says_what_a_revert_would_do(visited: World) -> None:
    Visitors(visited)
    seen: list[dict[str, Any]] = []

    def look() -> None:
        seen.extend(visited.commands.status()["pipelines"][0]["environments"])
        measured = visited.commands.measurements()
        found = measured.pipelines["hello"]
        assert (found.shares, found.shift_steps) == ({"live": 25.0}, {"live": 2})
        text = exposition(measured)
        assert b'pushlive_environment_shift_ratio{environment="live",pipeline="hello"} 0.25' in text
        checked = subprocess.run(
            ["promtool", "check", "metrics"], input=text, capture_output=True, check=False
        )
        assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")
        assert visited.commands.show("hello", 1)["run"]["shift"] is None
        assert visited.commands.show("hello", 2)["run"]["shift"] == seen[-1]["shift"]

    during(visited, look, look=60)
    visited.push()
    (live,) = seen
    assert (live["release"], live["slots"]["green"]["state"]) == (1, "starting")
    shift = live["shift"]
    assert (shift["release"], shift["before"], shift["percent"], shift["run"]) == (2, 1, 25.0, "hello#2")
    assert (shift["step"], shift["steps"], shift["for"]) == (2, [5.0, 25.0], 300.0)
    assert 60 < shift["passed"] < 70
    assert shift["left"] == 300.0 - shift["passed"]
    assert [one.partition(":")[0] for one in shift["figures"]] == [
        "5 % of new visitors",
        "25 % of new visitors",
    ]
    assert shift["old"]["requests"] > shift["requests"] > 300
    assert shift["text"].startswith("25 % to r2 for 6")
    assert live["revert"]["text"] == "revert ready: all visitors back to r1, at once"
    assert visited.commands.status()["pipelines"][0]["environments"][0]["shift"] is None


def test_what_a_reverted_release_still_answers_may_end(visited: World) -> None:
    def revert() -> None:
        visited.commands.revert("hello", "ann")
        ref = next(ref for ref, one in visited.engine.contents.items() if one.spec.release == 2)
        visited.engine.sessions(ref, 3)

    during(visited, revert)
    visited.push()
    visited.work()
    assert state(visited) == (1, False, False)
    ref = next(ref for ref, one in visited.engine.contents.items() if one.spec.release == 2)
    visited.reconcile()
    assert ref in visited.engine.contents
    visited.engine.sessions(ref, 0)
    visited.reconcile()
    assert ref not in visited.engine.contents


def test_a_freeze_lets_it_finish(visited: World) -> None:
    during(visited, lambda: visited.commands.freeze("ann", pipeline="hello", reason="fair") and None)
    assert visited.push().outcome == Outcome.LIVE
    assert state(visited) == (2, False, False)


def test_a_revert_during_it_takes_back_what_has_a_part(visited: World) -> None:
    visited.configure(SHIFT.replace("[5%, 25%]", "[]").replace(", for: 5m", ""))
    visited.push()
    visited.configure(SHIFT)
    reverts: list[Run] = []
    during(visited, lambda: reverts.append(visited.commands.revert("hello", "ann")))
    found = visited.push()
    visited.work()
    assert visited.run(found.number).outcome == Outcome.CANCELLED
    (made,) = reverts
    assert visited.run(made.number).outcome == Outcome.LIVE
    assert (made.kind, made.release) == (Kind.REVERT, 2)
    assert state(visited) == (2, False, False)
    environment = visited.environment("live")
    assert [one.release for one in environment.quarantine] == [3]
    assert environment.hold is not None


def test_a_revert_to_another_release_during_it_goes_there(visited: World) -> None:
    visited.configure(SHIFT.replace("[5%, 25%]", "[]").replace(", for: 5m", ""))
    visited.push()
    visited.configure(SHIFT)
    during(visited, lambda: visited.commands.revert("hello", "ann", to=1) and None)
    visited.push()
    visited.work()
    assert state(visited) == (1, False, False)


def test_without_a_shift_a_revert_to_what_serves_is_still_refused(visited: World) -> None:
    with pytest.raises(RequestError, match="already serves"):
        visited.commands.revert("hello", "ann", to=1)


def killed_once(visited: World, call: str, after: bool) -> Outcome | None:
    """How r2's run ended, whose worker dies at that call; the keeper and the next worker go on."""
    number = visited.accept(visited.commit("two")).number
    visited.engine.kill(call, after=after)
    with pytest.raises(Killed):
        visited.work()
    visited.reconcile()
    visited.work()
    return visited.run(number).outcome


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("call", ["share", "switch", "answered", "health"])
def test_fault_67_killed_at_any_call_the_next_worker_goes_on(visited: World, call: str, after: bool) -> None:
    assert killed_once(visited, call, after) == Outcome.LIVE
    assert state(visited) == (2, False, False)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("call", ["unshare", "drain", "stop_and_keep"])
def test_fault_67_killed_on_the_way_back_the_keeper_ends_it(visited: World, call: str, after: bool) -> None:
    Visitors(visited, rate=100.0).errors[2] = 0.05
    assert killed_once(visited, call, after) == Outcome.FAILED
    assert state(visited) == (1, False, False)
    assert [one.spec.release for one in visited.engine.contents.values() if one.alive] == [1]


@pytest.mark.long
def test_fault_67_killed_at_every_write_the_next_worker_takes_it_up_where_it_was(
    visited: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    visited.configure(SHIFT.replace("for: 5m", "for: 20s"))
    transact, number, survived = visited.store.transact, 0, False
    while not survived:
        writes, number = [0], number + 1

        def counted(*arguments: object, _n: int = number, _w: list[int] = writes, **named: object) -> object:
            _w[0] += 1
            if _w[0] == _n:
                raise Killed("before a write")
            found = transact(*arguments, **named)  # type: ignore[arg-type]
            if _w[0] == _n + 1:
                raise Killed("after a write")
            return found

        run = visited.accept(visited.commit(f"{number}")).number
        monkeypatch.setattr(visited.store, "transact", counted)
        try:
            visited.work()
            survived = True
        except Killed:
            monkeypatch.setattr(visited.store, "transact", transact)
            visited.reconcile()
            visited.work()
        finally:
            monkeypatch.setattr(visited.store, "transact", transact)
        assert visited.run(run).outcome == Outcome.LIVE, visited.run(run).reason
        assert state(visited)[1:] == (False, False)
    assert number > 15


def test_taken_up_where_it_was_it_does_not_begin_again(visited: World) -> None:
    number = visited.accept(visited.commit("two")).number
    began = visited.clock.now()
    during(visited, lambda: visited.engine.kill("answered"))
    with pytest.raises(Killed):
        visited.work()
    visited.engine.shares[("hello", "live")] = replace(visited.engine.shares[("hello", "live")], percent=99.0)
    visited.clock.sleep(3600)  # no one looks
    assert any("25 % of the new visitors to green (r2) again" in one for one in visited.reconcile())
    assert visited.engine.shares[("hello", "live")] == Share("green", 25.0)
    visited.work()
    assert visited.run(number).outcome == Outcome.LIVE
    assert 4200 <= visited.clock.now() - began < 4260
    (step,) = (one for one in visited.run(number).steps if one.step == "shift")
    assert step.seconds == pytest.approx(4200, abs=60), "it began with its first worker"


def test_an_engine_that_is_away_for_a_moment_does_not_begin_it_again(visited: World) -> None:
    during(visited, lambda: visited.engine.fail("answered", EngineAway("gone"), times=3))
    began = visited.clock.now()
    assert visited.push().outcome == Outcome.LIVE
    assert visited.clock.now() - began < 680
    assert state(visited) == (2, False, False)


def test_a_proxy_with_a_share_that_no_run_wants_is_brought_back(visited: World) -> None:
    spec = next(iter(visited.engine.contents.values())).spec
    visited.engine.shares[("hello", "live")] = Share("green", 25.0)
    assert any("no longer do" in one for one in visited.reconcile())
    assert visited.engine.shares == {}
    assert visited.engine.serving(spec.ref) == "blue"


def test_what_serves_is_down_so_the_next_release_gets_all_at_once(visited: World) -> None:
    ref = next(iter(visited.engine.contents))
    visited.engine.sicken(ref, 1, "GET /healthz answered 500")
    for _ in range(4):
        visited.jobs.health.run()
        visited.clock.sleep(5)
    run = visited.push()
    assert run.outcome == Outcome.LIVE
    assert shares(visited) == []
    assert "all visitors go to r2 at once: r1, which serves, is down" in said(visited, run)


def test_enough_requests_end_a_step_before_its_time(visited: World) -> None:
    visited.configure(SHIFT.replace("for: 5m", "for: 5m, requests: 100"))
    Visitors(visited, rate=100.0)
    began = visited.clock.now()
    assert visited.push().outcome == Outcome.LIVE
    assert visited.clock.now() - began < 90
