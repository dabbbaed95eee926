"""A push's way, what supersedes it, and that each has exactly one end."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import pytest

from pipeline.deploy.heartbeat import LeaseHeartbeat
from pipeline.deploy.run_context import RunContext
from pipeline.domain.events import Event
from pipeline.domain.run import Outcome, Push, State
from pipeline.errors import NotFound
from pipeline.lib.secret import Secret
from pipeline.runlog import file as logs
from tests.story.conftest import CONFIG


def test_a_push_goes_live_through_every_environment(world):
    run = world.push("one")
    assert (run.state, run.outcome, run.release) == (State.ENDED, Outcome.LIVE, 1)
    assert world.serving() == {"dev": 1, "qa": 1, "live": 1}
    assert [s.step for s in run.steps if s.stage == "build"] == ["fetch", "build", "push"]
    assert [s.step for s in run.steps if s.stage == "live"] == ["start", "smoke", "switch", "verify"]
    assert all(step.ok for step in run.steps)
    assert {check.ok for checks in run.checks.values() for check in checks} == {True}
    kinds = [event.kind for event in world.events(run)]
    assert (kinds[0], kinds[-1]) == ("accepted", "end")


def test_the_digest_travels_and_is_built_once(world):
    world.push("one")
    assert world.builder.names().count("build") == 1
    images = {spec.image for name, (spec, *_) in world.engine.calls if name == "start"}
    assert len(images) == 1


def test_tags_carry_commit_and_release(world):
    run = world.push("one")
    repository = f"{world.settings.instance}/hello"
    assert set(world.builder.tags) == {(repository, run.short), (repository, "r1")}


def test_a_second_push_keeps_the_first_warm(world):
    world.push("one")
    world.push("two")
    live = world.environment("live")
    assert (live.active, live.serving) == ("green", 2)
    assert (live.slots["blue"].state, live.slots["blue"].release) == ("warm", 1)
    assert live.good == (1, 2)


def test_fault_05_a_delivery_a_hundred_times_at_once_makes_one_run(world):
    commit = world.commit("one")
    push = Push("hello", "hello", "refs/heads/main", commit, "github:1")
    with ThreadPoolExecutor(16) as pool:
        accepted = list(pool.map(lambda _: world.commands.accept(push), range(100)))
    assert {one.run.number for one in accepted} == {1}
    assert sum(not one.duplicate for one in accepted) == 1
    assert world.store.last_run("hello") == 1


def test_fault_06_another_delivery_of_the_same_commit_is_coalesced(world):
    commit = world.commit("one")
    first, second = world.accept(commit), world.accept(commit)
    assert first.number == second.number


def test_fault_08_the_later_head_goes_live_when_its_delivery_comes_first(world):
    a = world.commit("a")
    b = world.commit("b")
    run_b, run_a = world.accept(b), world.accept(a)
    world.work()
    ends = {n: world.run(n) for n in range(1, world.store.last_run("hello") + 1)}
    assert ends[run_a.number].outcome == Outcome.SUPERSEDED
    assert all(run.state == State.ENDED for run in ends.values())
    live = world.environment("live").serving
    assert world.store.release("hello", live).commit == b
    assert [r.commit for r in ends.values() if r.outcome == Outcome.LIVE] == [b]
    assert run_b.commit == b


def test_fault_08_a_forced_push_back_to_an_older_commit_goes_live(world):
    a = world.commit("a")
    world.accept(a)
    world.work()
    world.push("b")
    world.source.repositories["hello"].heads["main"] = a
    run = world.accept(a)
    world.work()
    assert world.run(run.number).outcome == Outcome.LIVE
    live = world.store.release("hello", world.environment("live").serving)
    assert live.commit == a


@pytest.mark.long
def test_fault_09_five_hundred_pushes_are_each_kept_and_have_one_end(world):
    commits = [world.commit(str(n)) for n in range(500)]
    with ThreadPoolExecutor(8) as pool:
        runs = list(pool.map(world.accept, commits))
    assert sorted(run.number for run in runs) == list(range(1, 501))
    world.work()
    last = world.store.last_run("hello")
    ended = [world.run(n) for n in range(1, last + 1)]
    assert all(run.state == State.ENDED and run.outcome for run in ended)
    assert [run.commit for run in ended if run.outcome == Outcome.LIVE] == [commits[-1]]


def test_a_queued_run_is_superseded_by_a_newer_head_and_says_so(world):
    first = world.accept(world.commit("a"))
    second = world.commands.accept(Push("hello", "hello", "refs/heads/main", world.commit("b"), "d2"))
    assert second.notes == (f"{first.id} had not started and is superseded",)
    assert world.run(first.number).outcome == Outcome.SUPERSEDED


def test_an_unknown_pipeline_is_refused_and_nothing_is_stored(world):
    with pytest.raises(NotFound, match="no pipeline 'nobody'"):
        world.commands.accept(Push("nobody", "x", "refs/heads/main", "a" * 40, "d"))
    assert world.store.pipelines() == ()


def test_a_missing_dockerfile_is_reported_with_a_minimal_one(world):
    run = world.accept(world.commit(files={"README": b"nothing"}))
    world.work()
    ended = world.run(run.number)
    assert ended.outcome == Outcome.FAILED
    assert "there is no Dockerfile" in ended.failure.message
    assert "FROM python" in ended.failure.message
    run = world.accept(world.commit(files={"package.json": b"{}"}))
    world.work()
    assert "FROM node" in world.run(run.number).failure.message
    assert (ended.failure.stage, ended.failure.step, ended.failure.whose) == ("build", "build", "application")


def test_a_push_goes_through_environments_of_any_name_and_number(make_world):
    names = ["one", "two", "three", "four", "five"]
    world = make_world("pipelines: {hello: {environments: {" + ", ".join(f"{n}: " for n in names) + "}}}")
    world.push("x")
    assert world.serving() == dict.fromkeys(names, 1)


def test_a_run_continues_when_another_pipeline_fails(make_world):
    world = make_world("pipelines: {a: {environments: {live: }}, b: {environments: {live: }}}")
    world.push("x", "a")
    world.source.fail("fetch", RuntimeError("unexpected"))
    with pytest.raises(RuntimeError):
        world.push("y", "b")
    assert world.push("z", "a").outcome == Outcome.LIVE


def test_a_newer_run_that_fails_verification_does_not_supersede_an_older_one(world):
    world.push("one")
    a = world.commands.deploy("hello", "ann")  # #2
    b = world.commands.deploy("hello", "ann", rebuild=True)  # #3, newer
    # #3 is quicker than #2: another worker holds #2 at this moment
    lease = world.store.leases.take(f"run:hello#{a.number}")
    real = world.engine.public

    def broken(spec):
        route = real(spec)
        return replace(route, expect=("nobody",)) if spec.run == b.number else route

    world.engine.public = broken
    world.work()
    assert world.run(b.number).outcome == Outcome.FAILED
    world.store.leases.drop(lease)
    world.work()
    assert world.run(a.number).outcome == Outcome.LIVE, world.run(a.number).reason


def test_a_retried_configuration_deploy_keeps_its_configuration(world):
    world.push("one")
    text = world.settings.config.read_text().replace("replicas: 2", "replicas: 3")
    run = world.commands.deploy("hello", "ann", config=text)
    world.work()
    again = world.commands.retry("hello", run.number, "ann")
    assert (again.config, again.from_release) == (run.config, run.from_release)


def test_a_sent_configuration_that_changes_nothing_makes_no_release(world):
    first = world.push("one")
    text = world.settings.config.read_text()
    assert world.commands.deploy("hello", "ann", config=f"# a comment\n{text}") == world.run(first.number)
    assert world.store.last_run("hello") == first.number
    assert (
        world.commands.deploy("hello", "ann", config=text, release=1).state == State.QUEUED
    )  # asked for by name


def test_a_sent_configuration_is_a_release_while_something_else_serves_or_a_secret_is_newer(make_world):
    world = make_world(CONFIG.replace("{health: /healthz}", "{health: /healthz, secrets: [TOKEN]}"))
    text = world.settings.config.read_text()

    def put(value: str) -> None:
        now = world.clock.now()
        world.services.vault.put("hello", "TOKEN", Secret(value), environment="", by="ann", now=now)

    put("the-first")
    world.push("one")
    put("the-second")
    run = world.commands.deploy("hello", "ann", config=text)
    world.work()
    assert world.run(run.number).release == 2
    assert world.commands.deploy("hello", "ann", config=text).id == run.id
    world.commands.revert("hello", "ann", environment="dev")
    world.work()
    assert world.commands.deploy("hello", "ann", config=text).number == 4


def test_a_retried_release_deploy_keeps_its_release(world):
    world.push("one")
    run = world.commands.deploy("hello", "ann", release=1)
    world.work()
    again = world.commands.retry("hello", run.number, "ann")
    assert again.release == 1


def test_waiting_for_another_run_is_not_machine_time(world):
    world.push("one")
    lease = world.store.leases.take("env:hello/dev")
    run = world.push("two")
    assert run.state == State.RUNNING
    world.clock.sleep(1200)
    world.store.leases.drop(lease)
    world.work()
    run = world.run(run.number)
    timing = world.commands.show("hello", run.number)["timing"]
    assert timing["machine"] < 300
    assert timing["deploy"] < 300
    assert timing["queue"] >= 1200


def test_the_last_line_before_a_silence_reaches_followers(world, tmp_path):
    with a_run(world, tmp_path) as (run, work), work.step("live", "release", 1800, "") as step:
        work.emit(Event("line", 0.0, "first"))
        work.emit(Event("line", 0.0, "waiting for the lock on table users"))
        for _ in range(100):
            step.watch.wait(0.2)
        time.sleep(0.3)
        step.watch.check()
        seen = [e.text for _, e in world.store.events.read(run.id)]
        assert "waiting for the lock on table users" in seen


@pytest.mark.parametrize(("width", "kept"), [(8000, 132), (10, 4000)])
def test_a_flood_of_output_is_kept_in_the_log_and_not_in_the_store(world, tmp_path, width, kept):
    with a_run(world, tmp_path) as (run, work):
        for number in range(5000):
            work.emit(Event("line", 0.0, f"{number:04} " + "x" * (width - 5)))
        work.note("done")
        work.flush()
    *output, last, end = world.store.client.xrange(world.store.events.key(run.id))[1:]
    assert len(output) + 1 == kept
    assert "more output is in the log: `pushlive logs 'hello#2'`" in last[1]["e"]
    assert "done" in end[1]["e"]
    assert "4999 xxx" in (tmp_path / "x.log").read_text()


@contextmanager
def a_run(world, tmp_path):
    """A run that this process works on, with its log at ``x.log``."""
    world.push("one")
    run = world.commands.deploy("hello", "ann")
    lease = world.store.leases.take(f"run:{run.id}")
    log = logs.RunLog(tmp_path / "x.log", 1 << 30)
    try:
        with LeaseHeartbeat(world.store) as heartbeat:
            heartbeat.hold(lease)
            yield run, RunContext(world.store, world.clock, run, lease, heartbeat, log)
    finally:
        log.close()


def test_a_stopping_worker_starts_nothing_new(make_world):
    world = make_world("pipelines: {hello: {environments: {live: }}}")
    world.push("one")
    world.commands.deploy("hello", "ann")
    b = world.commands.deploy("hello", "ann")
    # a reaches its environment, is asked to stop there and parks; b must not be begun
    world.runner._stopping = lambda: True
    world.runner.work("hello")
    assert world.run(b.number).state == State.QUEUED, world.run(b.number).state


# ── what a person names ──────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["main", "HEAD", "refs/heads/main", "abcdef", "v1.0", "0" * 40])
def test_a_name_is_no_commit(world, name):
    with pytest.raises(NotFound) as error:
        world.commands.deploy("hello", "ann", commit=name)
    assert f"{name!r} is not a commit id." in str(error.value)
    assert "Without a commit, the head of main is deployed." in str(error.value)
    assert world.store.recent("hello", 10) == ()


def test_a_short_id_is_recorded_as_the_whole_one(world):
    commit = world.commit("one")
    run = world.commands.deploy("hello", "ann", commit=commit[:9])
    world.work()
    assert (world.run(run.number).commit, world.run(run.number).outcome) == (commit, Outcome.LIVE)


def test_a_commit_that_is_not_there_is_refused_at_once(world):
    world.push("one")
    with pytest.raises(NotFound) as error:
        world.commands.deploy("hello", "ann", commit="abcdef1")
    assert "abcdef1" in error.value.message
    assert len(world.store.recent("hello", 10)) == 1


def test_what_a_repository_lacks_is_laid_to_the_repository(make_world):
    world = make_world(
        "pipelines: {hello: {source: {url: https://git.example.com/a.git}, environments: {live: }}}"
    )
    run = world.commands.deploy("hello", "ann", commit="abcdef1")
    world.work()
    failure = world.run(run.number).failure
    assert (failure.stage, failure.whose) == ("build", "repository")


def test_run_0_is_not_the_latest_one(world):
    world.push("one")
    assert world.commands.show("hello", None)["run"]["number"] == 1
    with pytest.raises(NotFound):
        world.commands.show("hello", 0)


def test_release_0_is_not_the_live_one(world):
    world.push("one")
    with pytest.raises(NotFound):
        world.commands.deploy("hello", "ann", config=world.settings.config.read_text(), release=0)


def test_the_author_of_a_commit_is_not_its_pusher(world):
    """Anyone can write any author into a commit."""
    pushed = world.push("one")
    assert (pushed.pusher, pushed.author) == ("ann", "A. Developer")
    asked = world.commands.deploy("hello", "bob")
    world.work()
    shown = world.commands.show("hello", asked.number)["run"]
    assert (shown["pusher"], shown["by"], shown["author"]) == ("bob", "bob", "A. Developer")
    commit = world.commit("two")
    world.commands.accept(Push("hello", "hello", "refs/heads/main", commit, "sweep:1"))
    world.work()
    found = world.run(3)
    assert (found.outcome, found.pusher, found.author) == (Outcome.LIVE, "", "A. Developer")
    assert "A. Developer" not in " ".join(event.text for event in world.events(found))


def test_a_head_that_a_fetch_found_is_not_said_to_be_the_earlier_pushers(world):
    first = world.commit("one")
    number = world.accept(first).number
    head = world.commit("two")
    world.work()
    assert world.run(number).outcome == Outcome.SUPERSEDED
    assert (world.run(number + 1).commit, world.run(number + 1).pusher) == (head, "")


@pytest.mark.parametrize("after", [f"{2**64 - 1}", f"{2**64 - 1}-{2**64 - 1}"])
def test_the_store_knows_every_id_that_the_api_lets_through(world, after):
    run = world.push("one")
    assert list(world.commands.follow("hello", run.number, after)) == []


def test_the_log_of_one_stage_names_the_stages_if_there_is_no_such_one(world):
    run = world.push("one")
    assert list(world.commands.log("hello", run.number, "dev"))
    with pytest.raises(NotFound, match="has no stage 'prod'") as raised:
        world.commands.log("hello", run.number, "prod")
    assert raised.value.advice == "It has: build, dev, qa, live."


def test_a_revert_to_an_unknown_release_says_where_they_are_listed(world):
    world.push("one")
    with pytest.raises(NotFound, match="there is no release r77 of hello") as raised:
        world.commands.revert("hello", "ann", to=77)
    assert raised.value.advice == "`pushlive runs hello` lists them."
