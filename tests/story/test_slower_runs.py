"""A run says what made it slower or faster than usual."""

from __future__ import annotations

import pytest

from pipeline.cli.show import run_lines
from pipeline.cli.status import pipeline_lines, run_row
from pipeline.domain.events import Event
from pipeline.domain.run import Outcome
from pipeline.errors import EngineFailed
from pipeline.lib.secret import Secret
from pipeline.runlog import file

CONFIG = "pipelines: {hello: {environments: {dev: , live: }}}"
DOCKERFILE = b"FROM scratch\nCOPY needs.txt .\nRUN install\nCOPY . .\n"


@pytest.fixture
def world(make_world):
    return make_world(CONFIG)


def plain(text: str, _style: str) -> str:
    return text


def push(world, needs: str = "1", text: str = "", seconds: float = 0.0):
    """A push whose build takes so long, and misses its cache from line 2 on."""
    files = {"Dockerfile": DOCKERFILE, "needs.txt": needs.encode(), "text": text.encode()}
    commit = world.commit(f"change {text}", files=files)
    if seconds:
        world.builder.before("build", lambda: world.clock.sleep(seconds))
        world.builder.ran = (("[1/3] COPY needs.txt .", 0.1), ("[2/3] RUN install", seconds))
    number = world.accept(commit).number
    world.work()
    world.builder.ran = ()
    return world.run(number)


def log(world, number: int) -> str:
    return "\n".join(file.read(file.path(world.settings.data, "hello", number)))


def usual(world, count: int = 5) -> None:
    for number in range(count):
        push(world, text=str(number), seconds=3.0)


def test_a_slow_build_is_named_with_the_file_that_changed(world):
    usual(world)
    run = push(world, needs="2", text="bump", seconds=90.0)
    assert run.outcome == Outcome.LIVE
    missed = f"Dockerfile line 2 `COPY needs.txt .` on: needs.txt changed in {run.short} “change bump”"
    assert run.unusual is not None
    (step,) = run.unusual.steps
    assert (step.stage, step.step) == ("build", "build")
    assert step.why == ""  # every run here misses that line, so it is not what is different
    assert run.unusual.text.startswith("push → live 1:3")
    assert "build/build 1:27 slower" in run.unusual.text
    assert f"not cached from {missed}" in log(world, run.number)
    assert run.unusual.text in log(world, run.number)


def test_a_line_that_is_usually_cached_is_the_reason(world):
    for number in range(5):
        push(world, text=str(number))
    run = push(world, needs="2", text="bump", seconds=90.0)
    assert run.unusual is not None
    missed = f"Dockerfile line 2 `COPY needs.txt .` on: needs.txt changed in {run.short} “change bump”"
    assert run.unusual.text.endswith(f"slower: its cache missed from {missed}")
    shown = world.commands.show("hello", run.number)
    assert shown["run"]["unusual"]["steps"][0]["why"].endswith(missed)
    assert run.unusual.text in "\n".join(run_lines(shown, plain, 300))
    (row, *_) = world.commands.runs("hello")
    assert str(run_row(row, world.clock.now())[7]).endswith("(+1:30)")
    entry = world.commands.status("hello")["pipelines"][0]
    assert f"  · {run.id}: {run.unusual.text}" in pipeline_lines(entry, world.clock.now(), plain, 300)


def test_an_ordinary_run_and_the_first_ones_say_nothing(world):
    usual(world, 4)
    assert push(world, text="early", seconds=500.0).unusual is None
    assert push(world, text="again", seconds=3.0).unusual is None


def test_waiting_at_a_gate_is_not_slower(make_world):
    world = make_world("pipelines: {hello: {environments: {dev: , live: {promote: manual}}}}")

    def through(seconds: float):
        number = world.push().number
        world.clock.sleep(seconds)
        world.commands.promote("hello", "ann", run=number)
        world.work()
        return world.run(number)

    for _ in range(6):
        through(1.0)
    run = through(5000.0)
    assert (run.outcome, run.unusual) == (Outcome.LIVE, None)


def test_secrets_are_masked_in_what_is_said(world):
    world.commands.set_secret("hello", "ann", "TOKEN", Secret("hunter2hunter2"))
    for number in range(5):
        push(world, text=str(number))
    run = push(world, needs="2", text="hunter2hunter2", seconds=90.0)
    assert run.unusual is not None
    assert "hunter2" not in repr(run.unusual)
    assert "hunter2" not in run.unusual.text
    assert "hunter2" not in repr(run.steps)


def test_cache_that_the_keeper_gave_back_is_named(world):
    push(world, text="one", seconds=3.0)
    assert "so its cache may be gone" in why(push(world, text="two", seconds=3.0))
    world.clock.sleep(1.0)
    world.builder.cache = 12 << 30
    world.gc()
    found = why(push(world, text="three", seconds=3.0))
    assert "since hello#2, but 2 GiB of build cache were given back at 20" in found
    world.clock.sleep(1.0)
    assert "so its cache may be gone" in why(push(world, text="four", seconds=3.0))
    world.store.facts.set("cache-given-back", "soon much")
    assert "so its cache may be gone" in why(push(world, text="five", seconds=3.0))


def why(run) -> str:
    return next(step.data["missed"]["why"] for step in run.steps if "missed" in step.data)


def test_a_build_is_never_failed_by_its_explanation(world):
    push(world, text="one", seconds=3.0)
    world.source.fail("changed", EngineFailed("git died."))
    run = push(world, needs="2", text="two", seconds=3.0)
    assert run.outcome == Outcome.LIVE
    assert not any("missed" in step.data for step in run.steps)


def test_events_of_the_end_have_the_sentence_first(world):
    for number in range(5):
        push(world, text=str(number))
    run = push(world, needs="2", text="bump", seconds=90.0)
    ends: list[Event] = world.events(run, "end")
    assert run.unusual is not None
    assert ends[-1].data["more"][0] == run.unusual.text
