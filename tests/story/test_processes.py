"""Processes beside the web one follow the slot that serves."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline.adapters.fake.script import Killed
from pipeline.domain.run import Outcome
from pipeline.errors import EngineFailed, RequestError, TryAgain
from pipeline.lib.secret import Secret
from pipeline.maintenance.doctor.examine import _environment
from webhooks.api.exposition import exposition

CONFIG = """\
pipelines:
  hello:
    service:
      secrets: [TOKEN]
      processes: {worker: {command: [./work], replicas: 2}, beat: {command: [./beat], one: true}}
    environments: {live: }
"""


@pytest.fixture
def world(make_world):
    world = make_world(CONFIG)
    world.commands.set_secret("hello", "ann", "TOKEN", Secret("a-long-value"))
    return world


def running(world) -> set[tuple[str, str, int]]:
    """(slot, process, release) of what works."""
    return {
        (one.slot, one.process, one.release)
        for found in world.engine.beside.values()
        for one in found.values()
        if one.works
    }


def of(slot: str, release: int) -> set[tuple[str, str, int]]:
    return {(slot, "worker", release), (slot, "beat", release)}


def order(world) -> list[str]:
    wanted = ("switch", "stop_processes", "start_processes", "processes_ready")
    return [name for name in world.engine.names() if name in wanted]


def test_the_old_ones_end_before_the_new_ones_start_and_a_revert_does_the_same(world):
    world.push("one")
    assert running(world) == of("blue", 1)
    world.engine.calls.clear()
    run = world.push("two")
    assert order(world) == ["switch", "stop_processes", "start_processes", "processes_ready"]
    assert running(world) == of("green", 2)
    assert run.passed("live", "processes")
    assert next(step.detail for step in run.steps if step.step == "processes") == "2 × worker, beat"
    world.revert()
    assert running(world) == of("blue", 1)
    assert world.reconcile() == []


def test_a_pipeline_without_processes_has_no_such_step(make_world):
    world = make_world("pipelines: {hello: {environments: {live: }}}")
    run = world.push("one")
    assert [step.step for step in run.steps][-2:] == ["switch", "verify"]
    world.configure(CONFIG.replace("secrets: [TOKEN]", ""))
    assert world.push("two").passed("live", "processes")
    world.configure("pipelines: {hello: {environments: {live: }}}")
    run = world.push("three")  # they end with the switch away from them
    assert next(step.detail for step in run.steps if step.step == "processes") == "ended"
    assert running(world) == set()


def test_a_process_that_exits_takes_the_traffic_back(world):
    world.push("one")
    world.engine.fragile.add("worker")
    run = world.push("two")
    assert (run.outcome, run.failure.step) == (Outcome.FAILED, "processes")
    assert run.failure.evidence == ("exit code 3", "a fake's last words")
    assert world.serving() == {"live": 1}
    assert world.engine.active[("hello", "live")] == "blue"
    assert world.environment("live").quarantine
    world.engine.fragile.clear()
    assert running(world) == of("blue", 1)
    said = [event.text for event in world.events(run, "note")]
    assert "the processes of r1 run again: 2 × worker, beat" in said
    assert world.reconcile() == []


def test_a_failed_first_release_leaves_no_process_running(world):
    world.engine.fragile.add("beat")
    assert world.push("one").outcome == Outcome.FAILED
    assert world.serving() == {"live": None}
    assert running(world) == set()


def test_nothing_starts_before_the_switch(world):
    world.push("one")
    world.break_app(2)
    world.configure(CONFIG.replace("environments", "smoke: [{get: /}]\n    environments"))
    assert world.push("two").outcome == Outcome.FAILED
    assert running(world) == of("blue", 1)


@pytest.mark.parametrize("by", ["worker", "keeper"])
@pytest.mark.parametrize(("call", "after"), [("stop_processes", True), ("start_processes", True)])
def test_a_worker_killed_in_between_leaves_what_the_store_says(world, by, call, after):
    world.push("one")
    world.engine.kill(call, after=after)
    with pytest.raises(Killed):
        world.push("two")
    world.clock.sleep(10)
    if by == "keeper":
        world.reconcile()
        assert running(world) == of("green", 2)
    world.work()
    assert world.run(2).outcome == Outcome.LIVE
    assert running(world) == of("green", 2)
    assert world.reconcile() == []


def test_the_keeper_starts_what_was_removed_and_stops_what_does_not_serve(world):
    world.push("one")
    world.push("two")
    [(green, found)] = [(ref, found) for ref, found in world.engine.beside.items() if ref.slot == "green"]
    blue = next(ref for ref in world.engine.beside if ref.slot == "blue")
    gone = next(iter(found))
    del found[gone]
    assert world.reconcile() == [
        f"hello/live: processes of green (r2) did not run and were started: {gone} is missing"
    ]
    name, one = next(iter(world.engine.beside[blue].items()))
    world.engine.beside[blue][name] = replace(one, state="running")
    assert world.reconcile() == [f"hello/live: blue does not serve, but {name} ran; it was stopped"]
    assert running(world) == of("green", 2)
    assert green in world.engine.beside


def test_processes_that_do_not_start_again_at_once_are_started_by_the_keeper(world):
    world.push("one")
    world.engine.fragile.add("worker")
    world.engine.fail("restore_processes", EngineFailed("no."))
    run = world.push("two")
    assert any("the service starts them within seconds" in one.text for one in world.events(run, "warning"))
    assert running(world) == set()
    world.engine.fragile.clear()
    world.reconcile()
    assert running(world) == of("blue", 1)


def test_an_engine_that_does_not_answer_for_a_moment_does_not_fail_the_run(world):
    world.push("one")
    world.engine.fail("start_processes", TryAgain("not now."))
    assert world.push("two").outcome == Outcome.LIVE
    assert running(world) == of("green", 2)


# ── what is shown and told ───────────────────────────────────────────────────

CHAT = "https://chat.example.com/services/T0/B0/s3cr3t"


def serving_ref(world):
    active = world.environment("live").active
    return next(ref for ref in world.engine.beside if ref.slot == active)


def look(world, times: int = 1) -> list[str]:
    said = []
    for _ in range(times):
        world.clock.sleep(5)
        said += world.jobs.processes.run()
    return said


def shown(world) -> dict[str, dict]:
    [found] = world.commands.status("hello")["pipelines"][0]["environments"]
    return {one["process"]: one for one in found["processes"]}


def told(world) -> list[dict]:
    return [one for one in world.told() if one["event"] in ("degraded", "up")]


def test_fault_58_a_process_that_crash_loops_is_told_once_and_so_is_its_end(world):
    world.configure(f"notify: [{{url: {CHAT}}}]\n{CONFIG}")
    world.push("one")
    assert shown(world)["worker"] == {
        "process": "worker", "state": "", "running": None, "replicas": 2, "restarts": 0, "restarts_since": None,
        "text": "",
    }  # fmt: skip
    assert look(world) == []
    assert (shown(world)["worker"]["running"], shown(world)["beat"]["state"]) == (2, "up")
    said = []
    for _ in range(4):
        world.engine.crash_process(serving_ref(world), "beat")
        said += look(world)
    assert said == [
        "hello/live is degraded: beat of r1: live-blue-r1-beat-1 exited with code 3; restarted 3 times"
    ]
    beat = shown(world)["beat"]
    assert (beat["state"], beat["running"], beat["restarts"]) == ("down", 1, 4)
    text = "beat of r1: live-blue-r1-beat-1 exited with code 3; restarted 4 times."
    assert [(one["text"], one["advice"]) for one in doctor(world)] == [
        (text, "`pushlive logs hello live --process beat` prints its output.")
    ]
    assert measured(world, "failing", "beat") == 1
    assert measured(world, "restarts", "beat") == 4
    assert measured(world, "failing", "worker") == measured(world, "replicas_missing", "worker") == 0
    assert shown(world)["worker"]["text"] == ""
    [message] = told(world)
    assert (message["event"], message["environment"], message["release"]) == ("degraded", "live", 1)
    assert "`pushlive logs hello live --process beat` prints its output" in message["text"]
    world.jobs = world.another_process()
    assert look(world) == []
    assert look(world, 12) == ["hello/live: beat is no longer reported, with r1"]
    assert told(world)[-1]["text"].startswith(
        "hello/live: beat runs again, with r1. beat of r1 was reported "
    )
    assert shown(world)["beat"]["text"] == ""


def doctor(world) -> list[dict[str, str]]:
    """What it finds wrong with the environment."""
    return [
        one
        for one in _environment(world.environment("live"), world.services, world.adapters)
        if not one["ok"]
    ]


def measured(world, what: str, process: str) -> float:
    text = exposition(world.store.metrics.read()).decode()
    labels = f'{{environment="live",pipeline="hello",process="{process}"}} '
    return float(text.partition(f"pushlive_process_{what}{labels}")[2].partition("\n")[0])


def test_a_process_that_lacks_a_replica_for_a_minute_is_told_and_another_release_ends_it(world):
    world.configure(f"notify: [{{url: {CHAT}}}]\n{CONFIG}")
    world.push("one")
    del world.engine.beside[serving_ref(world)]["live-blue-r1-worker-2"]
    assert look(world, 14) == [
        "hello/live is degraded: worker of r1: only 1 of 2 replicas run; it is missing"
    ]
    assert (shown(world)["worker"]["state"], shown(world)["worker"]["running"]) == ("degraded", 1)
    assert "worker of r1: only 1 of 2 replicas run; it is missing." in [one["text"] for one in doctor(world)]
    assert measured(world, "failing", "worker") == measured(world, "replicas_missing", "worker") == 1
    world.push("two")
    assert look(world) == ["hello/live: worker is no longer reported, with r2"]
    assert [one["event"] for one in told(world)] == ["degraded", "up"]


def test_processes_are_not_missed_between_the_switch_and_their_start(world):
    world.push("one")
    look(world)
    world.engine.kill("stop_processes", after=True)
    with pytest.raises(Killed):
        world.push("two")
    assert look(world, 4) == []
    world.work()
    assert look(world, 2) == []


def test_a_process_that_a_release_has_no_more_is_no_longer_reported(world):
    world.push("one")
    for name in list(world.engine.beside[serving_ref(world)]):
        world.engine.crash_process(serving_ref(world), name.split("-")[-2], starting=True)
    assert len(look(world, 3)) == 2
    world.configure("pipelines: {hello: {environments: {live: }}}")
    world.push("two")
    assert sorted(look(world)) == [
        "hello/live: beat is no longer reported, with r2",
        "hello/live: worker is no longer reported, with r2",
    ]
    assert world.environment("live").processes == {}


# ── without a web process ────────────────────────────────────────────────────

ALONE = """\
pipelines:
  hello:
    service:
      web: false
      processes: {worker: {command: [./work]}}
    environments: {live: }
"""


def live(world) -> dict:
    [found] = world.commands.status("hello")["pipelines"][0]["environments"]
    return found


def test_a_release_without_a_web_process_switches_without_the_proxy(make_world):
    world = make_world(ALONE)
    run = world.push("one")
    assert run.outcome == Outcome.LIVE
    assert [step.step for step in run.steps if step.stage == "live"] == [
        "start",
        "switch",
        "processes",
        "verify",
    ]
    assert not {"switch", "expose", "public", "preview"} & set(world.engine.names())
    assert running(world) == {("blue", "worker", 1)}
    assert world.reconcile() == []
    assert world.jobs.health.run() == []
    shown_live = live(world)
    assert (shown_live["web"], shown_live["url"], shown_live["address"]) == (False, "", "no web process")
    assert shown_live["health"] is None
    assert world.push("two").outcome == Outcome.LIVE
    assert running(world) == {("green", "worker", 2)}
    world.revert()
    assert running(world) == {("blue", "worker", 1)}
    assert world.serving() == {"live": 1}
    assert world.reconcile() == []


def test_without_a_web_process_a_worker_that_exits_brings_the_old_one_back(make_world):
    world = make_world(ALONE)
    world.push("one")
    world.engine.fragile.add("worker")
    run = world.push("two")
    assert (run.outcome, run.failure.step) == (Outcome.FAILED, "processes")
    assert world.serving() == {"live": 1}
    world.engine.fragile.clear()
    world.reconcile()
    assert running(world) == {("blue", "worker", 1)}


def test_a_web_process_goes_and_comes_back(make_world):
    world = make_world("pipelines: {hello: {environments: {live: }}}")
    world.push("one")
    assert world.engine.active[("hello", "live")] == "blue"
    world.configure(ALONE)
    assert world.push("two").outcome == Outcome.LIVE
    assert world.engine.active[("hello", "live")] is None
    assert world.reconcile() == []
    world.revert()
    assert world.engine.active[("hello", "live")] == "blue"
    assert running(world) == set()
    assert world.reconcile() == []


def test_a_proxy_that_still_serves_beside_no_web_process_is_brought_in_line(make_world):
    world = make_world(ALONE)
    world.push("one")
    world.engine.active[("hello", "live")] = "green"
    assert world.reconcile() == [
        "hello/live: the proxy served green, and blue (r1) has no web process; it answers 503 now"
    ]
    assert world.engine.active[("hello", "live")] is None


def test_a_restart_starts_the_processes_again_also_without_a_web_process(make_world):
    world = make_world(ALONE)
    world.push("one")
    told = [line for lines in world.tools.restart("hello", "ann", environment="live") for line in lines]
    assert told
    assert all("worker" in line and line.endswith("was restarted") for line in told)


def test_what_only_runs_by_a_schedule_is_not_restarted(make_world):
    world = make_world(
        "pipelines: {hello: {service: {web: false, processes: {mail: {cron: '0 * * * *', command: [./mail]}}}, "
        "environments: {live: }}}"
    )
    world.push("one")
    with pytest.raises(RequestError, match="nothing in hello/live runs all the time"):
        world.tools.restart("hello", "ann", environment="live")
