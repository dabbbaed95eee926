"""Previews: branches get environments of their own, and lose them."""

from __future__ import annotations

import re
import secrets
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from pipeline.adapters.fake import Killed
from pipeline.config.cost.prices import Costs
from pipeline.deploy.previews.opening import NoPreview
from pipeline.deploy.previews.requests import PullRequest
from pipeline.domain.cost.ledger import Account, Amount
from pipeline.domain.cost.month import Line
from pipeline.domain.engine_types import CommandResult, SlotRef
from pipeline.domain.previews.records import PreviewState
from pipeline.domain.run import Outcome, Push, Run
from pipeline.errors import NotFound, RequestError
from pipeline.lib.push_notes import Note, Update
from pipeline.lib.secret import Secret
from pipeline.store.costs.caps import Caps
from tests.story.conftest import World

CONFIG = """\
accessories:
  db: {image: "postgres:15", port: 5432, volume: /data, secrets: {PASSWORD: generate}}
pipelines:
  hello:
    service: {health: /healthz, volumes: {files: /files}}
    uses: {db: db}
    previews: {branches: "feature/*", from: qa, max: 3, age: 2d}
    environments: {qa: {host: qa.example.com, replicas: 2, promote: manual}, live: }
"""


@pytest.fixture
def world(make_world):
    made = make_world(CONFIG)
    made.head("main one")
    return made


def push(world: World, branch: str, text: str = "", work: bool = True) -> Run:
    commit = world.head(text or secrets.token_hex(4), branch=branch)
    pushed = Push("hello", "hello", f"refs/heads/{branch}", commit, secrets.token_hex(8), "ann")
    accepted = world.commands.accept(pushed)
    if work:
        world.work(accepted.run.pipeline)
    return world.run(accepted.run.number, accepted.run.pipeline)


def preview(world: World, name: str = "hello--login"):
    return world.store.previews.all()[name]


def keep(world: World) -> list[str]:
    return world.jobs.previews.run()


def test_a_push_to_a_matching_branch_makes_a_preview_and_the_next_one_updates_it(world):
    run = push(world, "feature/login")
    assert (run.pipeline, run.stages, run.outcome) == (
        "hello--login",
        ("build", "hello--login"),
        Outcome.LIVE,
    )
    environment = world.environment("hello--login", "hello--login")
    assert (environment.active, environment.serving) == ("blue", 1)
    push(world, "feature/login")
    environment = world.environment("hello--login", "hello--login")
    assert (environment.active, environment.serving) == ("green", 2)
    assert world.store.pipelines() == ("hello--login",)
    [row] = world.commands.previews()
    assert (row["name"], row["branch"], row["state"]) == ("hello--login", "feature/login", "open")
    assert row["address"].startswith("http://hello--login.localhost:")
    assert row["until"] == pytest.approx(world.clock.now() + 2 * 86400, abs=60)


def test_what_is_removed_goes_with_its_accessories_and_volumes_and_its_runs_stay(world):
    push(world, "feature/login")
    assert [one.id for one in world.store.accessories.all()] == ["db/hello--login"]
    world.commands.remove_preview("hello--login", "ann")
    assert keep(world) == ["the preview hello--login of feature/login is removed: by ann"]
    assert world.store.accessories.all() == ()
    assert not [one for one in world.engine.volumes() if one.ref.environment == "hello--login"]
    assert world.store.environments("hello--login") == {}
    assert world.commands.show("hello--login", 1)["run"]["outcome"] == "live"
    assert preview(world).state == PreviewState.CLOSED
    assert world.commands.previews() == []
    assert ("forget", ("hello--login",)) in world.source.calls  # what was fetched for it
    assert push(world, "feature/login").number == 2  # it opens again, with the same name


def test_the_pipeline_itself_knows_nothing_of_it(world):
    world.push("main two")
    push(world, "feature/login")
    assert world.environment("qa").serving is None  # the run waits at the gate of qa
    assert {*world.store.environments("hello")} == {"qa"}


# ── when it goes ─────────────────────────────────────────────────────────────


def test_it_goes_when_its_branch_is_merged_and_not_before(world):
    world.push("main two")
    base = world.source.repositories["hello"].heads["main"]
    world.source.repositories["hello"].heads["feature/login"] = base
    run = push(world, "feature/login")  # on top of main
    assert keep(world) == []
    heads = world.source.repositories["hello"].heads
    heads["main"] = run.commit  # merged, fast-forward
    world.accept(run.commit)
    world.clock.sleep(60)
    assert keep(world) == [
        "the preview hello--login of feature/login is removed: its branch was merged into main"
    ]


def test_a_branch_that_was_just_made_from_the_main_branch_is_not_merged(world):
    world.push("main two")
    base = world.source.repositories["hello"].heads["main"]
    world.source.repositories["hello"].heads["feature/login"] = base
    world.commands.accept(Push("hello", "hello", "refs/heads/feature/login", base, "d1", "ann"))
    world.push("main three")
    world.clock.sleep(60)
    assert keep(world) == []
    assert preview(world).state == PreviewState.OPEN


def test_it_goes_with_its_branch_for_want_of_a_push_and_with_the_key(world):
    push(world, "feature/login")
    push(world, "feature/old")
    del world.source.repositories["hello"].heads["feature/login"]
    world.clock.sleep(60)
    assert keep(world) == ["the preview hello--login of feature/login is removed: its branch was deleted"]
    world.clock.sleep(2 * 86400)
    assert keep(world) == ["the preview hello--old of feature/old is removed: no push for 2 d"]
    push(world, "feature/new")
    world.configure(CONFIG.replace('    previews: {branches: "feature/*", from: qa, max: 3, age: 2d}\n', ""))
    assert "pipelines.yaml has no previews of hello any more" in keep(world)[0]
    assert world.store.environments("hello--new") == {}


def test_plan_says_only_of_those_that_are_there_that_they_go_with_the_key(world):
    push(world, "feature/login")
    push(world, "feature/old")
    world.commands.remove_preview("hello--old", "ann")
    keep(world)
    assert world.commands.plan(CONFIG)["pipelines"] == {}
    without = CONFIG.replace('    previews: {branches: "feature/*", from: qa, max: 3, age: 2d}\n', "")
    found = world.commands.plan(without)["pipelines"]
    assert found["hello--login"] == {"hello--login": ("removed, with its containers, accessories and data",)}
    assert found["hello"]["previews"][0].endswith("those that there are will be removed, with their data")
    assert set(found) == {"hello", "hello--login"}


def test_one_that_goes_or_is_gone_is_not_called_an_unknown_pipeline(world):
    push(world, "feature/login")
    world.commands.remove_preview("hello--login", "ann")
    [entry] = world.commands.status("hello--login")["pipelines"]
    [environment] = entry["environments"]
    assert environment["revert"]["text"] == "not ready: it is being removed"
    assert (
        environment["removed"]
        == entry["removed"]
        == ("the preview of feature/login is being removed, with its data: by ann")
    )
    keep(world)
    with pytest.raises(NotFound, match="the preview hello--login of feature/login was removed: by ann"):
        world.commands.status("hello--login")


def test_a_run_that_is_at_work_ends_before_its_preview_goes(world):
    run = push(world, "feature/login", work=False)
    world.commands.remove_preview("hello--login", "ann")
    keep(world)
    ended = world.run(run.number, run.pipeline)
    assert (ended.outcome, ended.reason) == (Outcome.CANCELLED, "as the preview is removed: by ann")
    assert preview(world).state == PreviewState.CLOSED


def test_a_push_while_it_goes_opens_it_again(world):
    push(world, "feature/login")
    lease = world.store.leases.take("env:hello--login/hello--login", "another")
    world.commands.remove_preview("hello--login", "ann")
    assert keep(world) == []  # another process is at work there
    world.store.leases.drop(lease)
    assert push(world, "feature/login").outcome == Outcome.LIVE
    assert keep(world) == []
    assert world.environment("hello--login", "hello--login").serving == 2


def volumes(world: World) -> list[str]:
    return [one.ref.name for one in world.engine.volumes() if one.ref.environment == "hello--login"]


def test_what_was_to_go_is_gone_before_a_push_in_between_is_deployed(world):
    push(world, "feature/login")
    world.commands.remove_preview("hello--login", "ann")
    run = push(world, "feature/login", work=False)  # before the keeper's next round
    assert "what it had is removed first" in world.commands._openings.says(preview(world))
    world.engine.calls.clear()
    world.work("hello--login")
    assert world.run(run.number, "hello--login").outcome == Outcome.LIVE
    names = [name for name, _ in world.engine.calls]
    assert (
        names.index("remove")
        < names.index("remove_accessory")
        < names.index("remove_volume")
        < names.index("start")
    )
    environment = world.environment("hello--login", "hello--login")
    assert (environment.active, environment.serving) == ("blue", 2)  # it began with nothing
    assert not preview(world).leftover
    assert keep(world) == []


def test_the_keeper_removes_what_was_to_go_while_the_run_still_builds(world):
    push(world, "feature/login")
    world.commands.remove_preview("hello--login", "ann")
    push(world, "feature/login", work=False)
    assert keep(world) == ["what the preview hello--login of feature/login had before is removed"]
    assert world.store.environments("hello--login") == {}
    assert (volumes(world), world.store.accessories.all()) == ([], ())
    world.work("hello--login")
    assert world.run(2, "hello--login").outcome == Outcome.LIVE


def test_a_run_of_what_is_removed_ends_and_the_one_that_came_after_goes_on(world):
    old = push(world, "feature/login", work=False)
    world.commands.remove_preview("hello--login", "ann")
    new = world.commands.add_preview("hello", "feature/login", "ann")
    world.work("hello--login")
    ended = [world.run(one.number, "hello--login") for one in (old, new)]
    assert [one.outcome for one in ended] == [Outcome.CANCELLED, Outcome.LIVE]
    assert not preview(world).leftover


def test_a_run_waits_while_what_was_to_go_cannot_be_removed(world):
    push(world, "feature/login")
    lease = world.store.leases.take("accessory:db/hello--login", "another")
    world.commands.remove_preview("hello--login", "ann")
    run = push(world, "feature/login", work=False)
    for _ in range(3):
        world.runner.work("hello--login")
    assert world.run(run.number, "hello--login").outcome is None
    world.store.leases.drop(lease)
    world.work("hello--login")
    assert world.run(run.number, "hello--login").outcome == Outcome.LIVE
    assert world.environment("hello--login", "hello--login").active == "blue"


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("call", ["remove", "remove_accessory", "remove_volume"])
def test_a_worker_that_is_killed_while_it_removes_that_is_followed_by_one_that_ends_it(world, call, after):
    push(world, "feature/login")
    world.commands.remove_preview("hello--login", "ann")
    run = push(world, "feature/login", work=False)
    world.engine.kill(call, after=after)
    with pytest.raises(Killed):
        world.work("hello--login")
    for name in ("env:hello--login/hello--login", "accessory:db/hello--login", f"run:{run.id}"):
        world.store.client.delete(world.store.key("lease", name))  # they expire within seconds
    world.another_process().reconcile.run()
    assert preview(world).leftover
    world.work("hello--login")
    assert world.run(run.number, "hello--login").outcome == Outcome.LIVE
    assert world.environment("hello--login", "hello--login").active == "blue"


def test_a_preview_that_is_removed_twice_with_a_push_in_between_is_removed(world):
    push(world, "feature/login")
    world.commands.remove_preview("hello--login", "ann")
    run = push(world, "feature/login", work=False)
    world.commands.remove_preview("hello--login", "ann")
    keep(world)
    assert preview(world).state == PreviewState.CLOSED
    assert not preview(world).leftover
    assert world.run(run.number, "hello--login").outcome == Outcome.CANCELLED
    assert volumes(world) == []


@pytest.mark.parametrize("gone", [False, True])
def test_the_same_commit_is_deployed_again_after_its_preview_was_removed(world, gone):
    run = push(world, "feature/login")
    world.commands.remove_preview("hello--login", "ann")
    if gone:
        keep(world)
    again = Push("hello", "hello", "refs/heads/feature/login", run.commit, "again", "ann")
    accepted = world.commands.accept(again)
    assert (accepted.run.number, accepted.duplicate) == (2, False)
    assert world.commands.accept(again).run.number == 2
    world.work("hello--login")
    assert world.environment("hello--login", "hello--login").serving == 2


def test_gc_leaves_previews_to_the_keeper(world):
    push(world, "feature/login")
    world.commands.remove_preview("hello--login", "ann")
    assert not [text for text in world.gc() if "hello--login" in text]
    keep(world)
    assert not [one for one in world.engine.volumes() if one.ref.environment == "hello--login"]


# ── which branches, and under which name ─────────────────────────────────────


def test_one_more_than_max_gets_none_and_is_told_which_to_remove(world):
    for name in "abc":
        push(world, f"feature/{name}")
    with pytest.raises(NoPreview, match=r"hello--a .*`pushlive preview rm hello--a` removes it"):
        push(world, "feature/d")
    push(world, "feature/b")  # one that is there goes on
    world.commands.remove_preview("hello--a", "ann")
    keep(world)
    world.source.push("hello", {"Dockerfile": b"FROM scratch\n"}, branch="feature/d")
    world.commands.add_preview("hello", "feature/d", "ann")
    world.work("hello--d")
    assert world.environment("hello--d", "hello--d").serving == 1


@pytest.mark.parametrize(
    "branch",
    ["feature/Login", "feature/LOGIN!", "feature/" + "x" * 200, "feature/ümlaut", "feature/日本", "feature/a/b",
     "feature/-", "feature/--x", "feature/$(id)", "feature/x'y", "feature/1"],
)  # fmt: skip
def test_a_name_is_always_one_that_dns_and_docker_take(world, branch):
    name = push(world, branch).pipeline
    assert re.fullmatch(r"hello--[a-z0-9]([a-z0-9-]{0,18}[a-z0-9])?", name), name
    assert world.environment(name, name).serving == 1


def test_two_branches_with_one_name_get_two(world):
    names = {push(world, branch).pipeline for branch in ("feature/a-b", "feature/a/b", "feature/A.b")}
    assert len(names) == 3
    assert {push(world, branch).pipeline for branch in ("feature/a-b", "feature/a/b", "feature/A.b")} == names


def test_other_branches_and_tags_get_none(world):
    assert world.commands.preview_takers(("hello",), "refs/tags/feature/x") == ()
    assert world.commands.preview_takers(("hello",), "refs/heads/other") == ()
    assert world.commands.preview_takers(("hello",), "refs/heads/feature/x") == ("hello",)
    with pytest.raises(RequestError, match="only of feature"):
        world.commands.add_preview("hello", "other", "ann")


def test_a_branch_that_is_not_there_gets_none(world):
    with pytest.raises(RequestError, match="no branch 'feature/nope'") as caught:
        world.commands.add_preview("hello", "feature/nope", "ann")
    assert re.search(r"`git push http://\S+/git/hello\.git feature/nope`", str(caught.value))
    assert world.commands.previews() == []
    assert world.store.pipelines() == ()


def test_one_that_was_added_has_its_branchs_commit(world):
    commit = world.head("x", branch="feature/login")
    world.commands.add_preview("hello", "feature/login", "ann")
    assert world.commands.previews()[0]["commit"] == commit


def test_a_branch_that_is_pushed_twice_at_once_has_one_preview(world):
    commits = [world.head(str(n), branch="feature/login") for n in range(6)]
    pushes = [Push("hello", "hello", "refs/heads/feature/login", one, one, "ann") for one in commits]
    with ThreadPoolExecutor(6) as pool:
        names = {one.run.pipeline for one in pool.map(world.commands.accept, pushes)}
    assert names == {"hello--login"}
    world.work("hello--login")
    ended = [world.run(n, "hello--login") for n in range(1, world.store.last_run("hello--login") + 1)]
    assert all(run.outcome for run in ended)


def test_thirty_branches_at_once_are_as_many_as_max_and_no_more(world):
    commit = world.source.repositories["hello"].heads["main"]

    def one(number: int) -> bool:
        ref = f"refs/heads/feature/{number}"
        world.source.repositories["hello"].heads[f"feature/{number}"] = commit
        try:
            world.commands.accept(Push("hello", "hello", ref, commit, str(number), "ann"))
        except NoPreview:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(one, range(30))) == 3
    assert len(world.commands.previews()) == 3


# ── a crash between git and the record ───────────────────────────────────────


def test_a_push_that_was_noted_and_not_recorded_makes_the_preview_later(world):
    commit = world.head("x", branch="feature/login")
    update = Update("0" * 40, commit, "refs/heads/feature/login")
    world.hosted.note("hello", Note("a" * 32, "ann", "developer", "", (update,)))
    world.jobs.heads.run()
    said = world.jobs.heads.run()
    assert said == [f"hello--login#1: {commit[:7]} was pushed but not recorded; its run starts now"]
    world.jobs.heads.run()
    assert world.store.last_run("hello--login") == 1
    assert world.hosted.noted("hello") == ()


# ── secrets ──────────────────────────────────────────────────────────────────


def test_a_preview_gets_only_the_secrets_of_previews(make_world):
    world = make_world(CONFIG.replace("{health: /healthz,", "{health: /healthz, secrets: [KEY],"))
    for environment in ("qa", "live", ""):
        value = Secret(f"of-{environment or 'every'}")
        world.commands.set_secret("hello", "ann", "KEY", value, environment=environment)
    run = push(world, "feature/login")
    assert run.outcome == Outcome.FAILED
    assert "`pushlive secret set hello KEY --env previews`" in str(run.failure)
    world.commands.set_secret("hello", "ann", "KEY", Secret("of-previews"), environment="previews")
    assert push(world, "feature/login").outcome == Outcome.LIVE
    specs = [given[0] for name, given in world.engine.calls if name == "start"]
    assert {spec.reveal()["KEY"].reveal() for spec in specs} == {"of-previews"}
    with pytest.raises(NotFound, match="previews share theirs"):
        world.commands.set_secret("hello--login", "ann", "KEY", Secret("another"))
    for turn in range(12):  # a version that a preview has is kept
        world.commands.set_secret("hello", "ann", "KEY", Secret(f"turn-{turn}"), environment="previews")
    assert world.commands.deploy("hello--login", "ann", release=1)
    world.work("hello--login")
    assert world.run(3, "hello--login").outcome == Outcome.LIVE


# ── from another repository ──────────────────────────────────────────────────

OWN = "https://code.example/me/hello.git"
ON_GITHUB = CONFIG.replace("    service:", f"    source: {{url: {OWN}}}\n    service:", 1)
ON_GITHUB = ON_GITHUB.replace('branches: "feature/*"', 'branches: "feature/*", pull_requests: true')
FORK = "https://code.example/eve/hello.git"


def request(world: World, commit: str, url: str = FORK, **more):
    delivery = secrets.token_hex(8)
    asked = PullRequest(OWN, url, "main", 12, "login", commit, delivery, pusher="eve", **more)
    return world.commands.pull_request(("hello",), asked, "eve")


def test_a_pull_request_of_another_repository_waits_for_a_yes_for_each_commit(make_world):
    world = make_world(ON_GITHUB)
    commit = world.source.push("hello--pr-12", {"Dockerfile": b"FROM scratch\n"}, branch="login")
    runs, notes = request(world, commit)
    assert runs == ("hello--pr-12#1",)
    assert f"`pushlive preview allow hello--pr-12 --commit {commit[:7]}`" in notes[-1]
    world.work("hello--pr-12")
    assert world.builder.names() == []  # nothing of it was built
    with pytest.raises(RequestError, match="no one has allowed"):
        world.commands.deploy("hello--pr-12", "ann")
    with pytest.raises(RequestError, match="is at"):
        world.commands.allow_preview("hello#12", "ann", commit="0123456")
    world.commands.allow_preview("hello#12", "ann", commit=commit[:7])
    world.work("hello--pr-12")
    assert world.environment("hello--pr-12", "hello--pr-12").serving == 1
    second = world.source.push("hello--pr-12", {"Dockerfile": b"FROM evil\n"}, branch="login")
    request(world, second)
    world.work("hello--pr-12")
    assert world.environment("hello--pr-12", "hello--pr-12").serving == 1
    assert preview(world, "hello--pr-12").state == PreviewState.WAITING
    assert request(world, second, closed="closed")[1] == (
        "the preview hello--pr-12 is removed, with its data: pull request #12 was closed",
    )
    keep(world)
    assert preview(world, "hello--pr-12").state == PreviewState.CLOSED


def test_a_pull_request_of_the_same_repository_needs_no_yes(make_world):
    world = make_world(ON_GITHUB)
    commit = world.source.push("hello", {"Dockerfile": b"FROM scratch\n"}, branch="login")
    runs, _ = request(world, commit, url="")
    assert runs == ("hello--login#1",)
    world.work("hello--login")
    assert world.environment("hello--login", "hello--login").serving == 1
    request(world, commit, url="", closed="merged")
    assert keep(world) == ["the preview hello--login of #12 login is removed: pull request #12 was merged"]


# ── killed half-way ──────────────────────────────────────────────────────────


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("call", ["remove", "remove_accessory", "remove_volume", "volumes"])
def test_a_keeper_that_is_killed_while_it_removes_one_is_followed_by_one_that_ends_it(world, call, after):
    push(world, "feature/login")
    world.commands.remove_preview("hello--login", "ann")
    world.engine.kill(call, after=after)
    with pytest.raises(Killed):
        keep(world)
    for name in ("env:hello--login/hello--login", "accessory:db/hello--login"):
        world.store.client.delete(world.store.key("lease", name))  # they expire within seconds
    world.another_process().reconcile.run()  # what was removed is not started again
    assert world.another_process().previews.run() == [
        "the preview hello--login of feature/login is removed: by ann"
    ]
    assert world.store.environments("hello--login") == {}
    assert world.store.accessories.all() == ()
    assert not [one for one in world.engine.volumes() if one.ref.environment == "hello--login"]
    assert world.engine.replicas(SlotRef("hello--login", "hello--login", 0, "blue")) == ()


def test_a_service_that_is_killed_between_the_preview_and_its_run_is_made_up_for(world, monkeypatch):
    commit = world.head("x", branch="feature/login")
    update = Update("0" * 40, commit, "refs/heads/feature/login")
    world.hosted.note("hello", Note("b" * 32, "ann", "developer", "", (update,)))
    with monkeypatch.context() as patched:
        patched.setattr(
            world.store, "transact", lambda *_, **__: (_ for _ in ()).throw(Killed("before its run"))
        )
        with pytest.raises(Killed):
            world.commands.accept(Push("hello", "hello", update.ref, commit, f"git:{'b' * 32}", "ann"))
    assert preview(world).state == PreviewState.OPEN
    world.jobs.heads.run()
    world.jobs.heads.run()
    world.work("hello--login")
    assert world.environment("hello--login", "hello--login").serving == 1


def test_a_record_that_cannot_be_read_stops_no_pipeline(world):
    world.push("main two")
    push(world, "feature/login")
    world.store.facts.set("previews", "{nonsense")
    assert keep(world) == []
    assert world.push("main three").state.value == "waiting"
    assert next(one["name"] for one in world.commands.status()["pipelines"]) == "hello"


# ── data, and what it may cost ───────────────────────────────────────────────


def test_the_data_command_runs_once_and_again_for_a_preview_that_is_made_again(make_world):
    world = make_world(CONFIG.replace("max: 3", "max: 3, data: [./seed.sh]"))
    world.head("main one")
    ran = lambda: [given[2] for name, given in world.engine.calls if name == "command"]  # noqa: E731
    run = push(world, "feature/login")
    assert [step.step for step in run.steps if step.stage == "hello--login"] == [
        "accessories", "data", "start", "smoke", "switch", "verify",
    ]  # fmt: skip
    push(world, "feature/login")
    assert ran() == [("./seed.sh",)]
    world.commands.remove_preview("hello--login", "ann")
    keep(world)
    push(world, "feature/login")
    assert ran() == [("./seed.sh",)] * 2


def test_the_data_command_runs_again_if_the_preview_was_opened_while_it_went(make_world):
    world = make_world(CONFIG.replace("max: 3", "max: 3, data: [./seed.sh]"))
    world.head("main one")
    push(world, "feature/login")
    world.commands.remove_preview("hello--login", "ann")
    push(world, "feature/login")
    assert [given[2] for name, given in world.engine.calls if name == "command"] == [("./seed.sh",)] * 2
    assert preview(world).filled


def test_a_data_command_that_fails_ends_the_run_and_runs_again_with_the_next(make_world):
    world = make_world(CONFIG.replace("max: 3", "max: 3, data: [./seed.sh]"))
    world.head("main one")
    world.engine.commands = lambda *_: CommandResult(1, "no such table", 0.1)
    run = push(world, "feature/login")
    assert (run.outcome, run.failure.step) == (Outcome.FAILED, "data")
    assert "no such table" in run.failure.evidence
    assert not preview(world).filled
    world.engine.commands = lambda *_: CommandResult(0, "", 0.1)
    assert push(world, "feature/login").outcome == Outcome.LIVE
    assert preview(world).filled


def test_one_that_has_cost_too_much_goes(make_world, monkeypatch):
    world = make_world("costs: {machines: {here: 30}}\n" + CONFIG.replace("max: 3", "max: 3, cost: 1.50"))
    world.head("main one")
    push(world, "feature/login")
    push(world, "feature/other")
    line = Line(Account("docker", "hello--login", "hello--login", "serving"), 1.6, Amount())
    assert keep(world) == []
    standing = replace(Caps(world.store).standing(Costs(), world.clock.now()), lines=(line,))
    monkeypatch.setattr(Caps, "standing", lambda *_, **__: standing)
    world.clock.sleep(61)
    assert keep(world) == [
        "the preview hello--login of feature/login is removed: it has cost 1.60 EUR this month, and `cost` allows 1.50"
    ]
    assert [one["name"] for one in world.commands.previews()] == ["hello--other"]


def test_on_a_cluster_it_is_the_same(make_world):
    text = CONFIG.replace("    uses:", "    registry: registry.example.com/team/hello\n    uses:")
    world = make_world(text.replace("qa: {host", "qa: {engine: {kubernetes: prod, namespace: shop}, host"))
    world.head("main one")
    run = push(world, "feature/login")
    assert run.outcome == Outcome.LIVE
    environment = world.environment("hello--login", "hello--login")
    assert environment.engine == preview(world).engine == "kubernetes:prod/shop"
    pushed = [given[2] for name, given in world.builder.calls if name == "push"]
    assert pushed == [f"login-{run.short}", "login-r1"]  # hello has an r1 of its own there
    world.commands.remove_preview("hello--login", "ann")
    assert keep(world) == ["the preview hello--login of feature/login is removed: by ann"]
    assert world.store.environments("hello--login") == {}


def test_a_person_puts_it_to_sleep_at_once_since_no_release_is_watched_there(world):
    push(world, "feature/login")
    said = world.sleeping.put_to_sleep("hello--login", "ann", environment="hello--login")
    assert said == ("hello--login/hello--login sleeps; the next request wakes it.",)
    assert world.environment("hello--login", "hello--login").asleep


def test_it_sleeps_where_it_can_unless_its_model_says_otherwise(world, make_world):
    push(world, "feature/login")
    config = world.services.configurations.current()[1]
    assert config.pipelines["hello--login"].environment("hello--login").sleep_after == 3600
    other = make_world(CONFIG.replace("qa: {host", "qa: {sleep_after: 10m, host"))
    other.head("main one")
    push(other, "feature/login")
    config = other.services.configurations.current()[1]
    assert config.pipelines["hello--login"].environment("hello--login").sleep_after == 600
