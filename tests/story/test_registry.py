"""A release's image on its way to a registry, and what runs elsewhere takes it from there."""

from __future__ import annotations

import pytest

from pipeline.adapters.fake import Killed
from pipeline.domain.engine_types import Login
from pipeline.domain.release import Release
from pipeline.domain.run import Outcome
from pipeline.errors import ConfigError, EngineFailed, TryAgain
from pipeline.lib import codec
from pipeline.lib.secret import Secret
from tests.story.test_secrets import everything, put

PLAIN = """\
pipelines:
  hello:
    registry: r.example/team/hello
    service: {health: /healthz}
    smoke: [{get: /, contains: r}]
    environments: {dev: , live: {engine: {docker: ssh://me@h}}}
"""
CONFIG = PLAIN.replace(
    "r.example/team/hello", "{repository: r.example/team/hello, username: me, password: REGISTRY}"
)


@pytest.fixture
def world(make_world):
    one = make_world(CONFIG)
    put(one, "REGISTRY", "the-first-password")
    return one


def pushed(world) -> list[str]:
    """The tags in the registry, in the order in which they came there."""
    return [arguments[2] for name, arguments in world.builder.calls if name == "push"]


def test_a_release_has_its_images_address_in_the_registry(world):
    run = world.push("one")
    release = world.store.release("hello", 1)
    assert run.outcome == Outcome.LIVE
    assert pushed(world) == [run.short, "r1"]
    assert set(world.builder.remote) == {("r.example/team/hello", run.short), ("r.example/team/hello", "r1")}
    assert set(world.builder.remote.values()) == {release.image}
    assert release.remote.startswith("r.example/team/hello@sha256:")
    assert f"pushed to {release.remote}" in [event.text for event in world.events(run, "note")]


def test_the_builder_and_the_engine_log_in_to_the_registry(world):
    world.push("one")
    remote = world.store.release("hello", 1).remote
    assert world.builder.login == Login("me", Secret("the-first-password"), "hello REGISTRY")
    assert world.engine.logins == {remote: world.builder.login}


def test_without_a_registry_nothing_is_pushed_and_a_login_is_optional(make_world):
    world = make_world("pipelines:\n  hello:\n    environments: {here: }\n")
    world.push("one")
    assert pushed(world) == []
    assert world.store.release("hello", 1).remote == ""
    world.configure(PLAIN)
    world.push("two")
    assert (world.builder.login, set(world.engine.logins.values())) == (None, {None})


def test_a_release_recorded_without_a_registry_is_read():
    release = Release("hello", 1, "c", "sha256:1", "hello:r1", 1, 0.0, {})
    old = codec.dump(release).replace(',"remote":""', "")
    assert "remote" not in old
    assert codec.load(Release, old) == release


def test_a_missing_password_is_reported_before_anything_is_fetched(make_world):
    world = make_world(CONFIG)
    run = world.push("one")
    assert (run.outcome, run.failure.whose) == (Outcome.FAILED, "configuration")
    assert "REGISTRY for the registry" in run.failure.message
    assert "`pushlive secret set hello REGISTRY`" in run.failure.advice
    assert world.source.names() == []
    assert [line for line in world.commands.plan(CONFIG)["warnings"] if "REGISTRY" in line] == [
        "pipelines.hello.registry.password: REGISTRY is not set, so no run will start; "
        "`pushlive secret set hello REGISTRY`"
    ]


def test_an_environments_own_secret_is_not_the_registrys_password(make_world):
    world = make_world(CONFIG)
    put(world, "REGISTRY", "a-password", "live")
    assert "REGISTRY for the registry" in world.push("one").failure.message


def test_a_release_does_not_contain_the_password_and_the_newest_is_used(world):
    for name in ("one", "two", "three"):
        world.push(name)
    world.engine.logins.clear()
    put(world, "REGISTRY", "the-second-password")
    world.revert(environment="live", to=1)
    first = world.store.release("hello", 1)
    assert first.secrets == {}
    assert {at: login.password.reveal() for at, login in world.engine.logins.items()} == {
        first.remote: "the-second-password"
    }
    assert "the-first-password" not in everything(world)
    assert "the-second-password" not in everything(world)


def test_the_password_is_masked_in_a_runs_output(world):
    world.builder.fail("push", EngineFailed("it said the-first-password."))
    run = world.push("one")
    assert run.failure.message == "it said •••."
    assert "the-first-password" not in everything(world)


def test_a_refused_login_fails_the_run_and_no_release_is_made(world):
    world.builder.fail("push", ConfigError("unauthorized.", advice="Look."))
    run = world.push("one")
    assert (run.outcome, run.release) == (Outcome.FAILED, None)
    assert (run.failure.stage, run.failure.step, run.failure.whose) == ("build", "push", "configuration")
    assert world.serving() == {}


def test_a_temporary_problem_of_the_registry_is_retried(world):
    world.builder.fail("push", TryAgain("not reached."), times=2)
    run = world.push("one")
    assert run.outcome == Outcome.LIVE
    assert run.release == 1


def test_a_registry_that_stays_unreachable_is_an_engine_failure(world):
    world.builder.fail("push", TryAgain("not reached."), times=99)
    run = world.push("one")
    assert (run.outcome, run.failure.whose, run.release) == (Outcome.FAILED, "engine", None)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("nth", [1, 2])
def test_fault_33_a_worker_killed_at_either_push_leaves_one_release(world, nth: int, after: bool):
    tags = []  # each push comes after a tag

    def count() -> None:
        tags.append(1)
        if len(tags) == nth:
            world.builder.kill("push", after=after)

    world.builder.before("tag", count, times=nth)
    run = world.accept(world.commit("one"))
    with pytest.raises(Killed):
        world.work()
    world.work()
    assert (world.run(run.number).outcome, world.run(run.number).release) == (Outcome.LIVE, 1)
    [release] = world.store.releases("hello")
    assert release.remote.startswith("r.example/team/hello@sha256:")
    assert {tag for _, tag in world.builder.remote} == {world.run(run.number).short, "r1"}
