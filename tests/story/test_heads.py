"""What the keeper takes for a push: what was pushed here and is not recorded, and nothing else."""

from __future__ import annotations

import pytest

from pipeline.domain.run import Outcome, Push
from pipeline.errors import EngineFailed
from pipeline.lib.push_notes import Note, Update
from tests.story.conftest import CONFIG

OTHER = "refs/heads/other"
SECOND = CONFIG + "  copy:\n    source: {repository: hello}\n    environments: {live: }\n"
RENAMED = SECOND.replace("  hello:\n", "  shop:\n    source: {repository: hello}\n")


def ticks(world, rounds: int = 3) -> list[str]:
    """The keeper's rounds, and what they say."""
    said = []
    for _ in range(rounds):
        said += world.keeper.tick()
        world.clock.sleep(10)
    world.work()
    world.work("copy")
    return said


def on_branch(name: str) -> str:
    return CONFIG.replace("  hello:\n", f"  hello:\n    source: {{branch: {name}}}\n")


def undeployed(world, pipeline: str = "hello") -> dict | None:
    entry = next(one for one in world.commands.status()["pipelines"] if one["name"] == pipeline)
    return entry["undeployed"]


def test_another_branch_in_the_file_deploys_nothing_and_status_says_what_would(world):
    world.push("one")
    head = world.head("draft", branch="other")
    world.configure(on_branch("other"))
    assert ticks(world) == []
    assert world.store.last_run("hello") == 1
    assert undeployed(world) == {
        "commit": head,
        "text": f"other is at {head[:7]}, which is not deployed",
        "command": f"pushlive deploy hello --commit {head[:7]}",
    }
    world.commands.deploy("hello", "ann", commit=head[:7])
    ticks(world)
    ticks(world)
    assert world.run(2).outcome == Outcome.LIVE
    assert undeployed(world) is None


def test_a_repository_that_cannot_be_read_stops_no_other_ones_sweep(make_world):
    world = make_world(CONFIG + "  copy:\n    environments: {live: }\n")
    heads = world.hosted.heads

    def unreadable(repository):
        if repository == "hello":
            raise EngineFailed("Reading hello.git: git exited with 128.")
        return heads(repository)

    world.hosted.heads = unreadable
    world.commit("one", "copy")
    said = ticks(world)
    assert [text for text in said if "hello" in text] == [
        "pushes to hello are not looked for: Reading hello.git: git exited with 128."
    ]
    assert world.run(1, "copy").outcome == Outcome.LIVE


@pytest.mark.parametrize("config", [SECOND, RENAMED])
def test_a_pipeline_that_is_added_or_renamed_deploys_nothing(world, config):
    world.push("one")
    world.configure(config)
    assert ticks(world) == []
    names = set(world.store.pipelines())
    assert names == {"hello"}
    added = "copy" if config == SECOND else "shop"
    assert undeployed(world, added)["command"].startswith(f"pushlive deploy {added} --commit ")


def test_a_head_that_was_moved_by_hand_is_not_deployed(world):
    world.push("one")
    world.head("by hand")
    assert ticks(world) == []
    assert world.store.last_run("hello") == 1


def test_a_push_that_a_crash_left_unrecorded_has_its_pusher(world):
    world.push("one")
    commit = world.commit("two")
    ticks(world)
    run = world.run(2)
    assert (run.commit, run.pusher, run.outcome) == (commit, "ann", Outcome.LIVE)
    entry = world.commands.audit_log("hello")[0]
    assert [entry[key] for key in ("act", "who", "role", "way")] == ["push", "ann", "developer", "git"]
    assert world.hosted.noted("hello") == ()


def test_every_pipeline_of_the_repository_gets_a_push_that_only_one_has_recorded(make_world):
    world = make_world(SECOND)
    commit = world.commit("one")
    world.commands.accept(
        Push("hello", "hello", "refs/heads/main", commit, "git:1", "ann")
    )  # the crash came here
    ticks(world)
    assert world.run(1, "copy").commit == commit
    assert world.store.last_run("hello") == 1


def test_the_hook_that_reports_after_the_keeper_gets_the_same_run(world):
    commit = world.commit("one")
    push = world.hosted.noted("hello")[0].push
    ticks(world)
    assert world.accept(commit, delivery=f"git:{push}").number == 1
    assert world.store.last_run("hello") == 1


def test_a_push_that_git_never_let_in_is_forgotten_after_an_hour(world):
    world.push("one")
    world.hosted.note(
        "hello", Note("f" * 32, "ann", "", "", (Update("0" * 40, "1" * 40, "refs/heads/main"),))
    )
    ticks(world)
    assert world.hosted.noted("hello")  # git may be about to move the ref
    world.clock.sleep(3600)
    ticks(world)
    assert world.hosted.noted("hello") == ()
    assert world.store.last_run("hello") == 1


def test_a_noted_branch_that_nothing_deploys_is_forgotten_at_once(world):
    head = world.head("draft", branch="other")
    world.hosted.note("hello", Note("f" * 32, "ann", "", "", (Update("0" * 40, head, OTHER),)))
    ticks(world)
    assert world.hosted.noted("hello") == ()
    world.configure(on_branch("other"))
    assert ticks(world) == []


def test_a_push_from_before_notes_were_kept_is_found(world):
    world.push("one")
    commit = world.head("pushed to the version before")
    world.hosted.old.add("hello")
    ticks(world)
    assert world.run(2).commit == commit
    assert world.hosted.keeps_notes("hello")


def test_a_first_push_from_before_notes_were_kept_is_found(world):
    commit = world.head("pushed to the version before")
    world.hosted.old.add("hello")
    ticks(world)
    assert world.run(1).commit == commit


@pytest.mark.parametrize("config", [on_branch("other"), SECOND])
def test_a_file_that_is_changed_with_the_version_deploys_nothing(world, config):
    world.push("one")
    world.head("draft", branch="other")
    world.configure(config)
    world.hosted.old.add("hello")
    assert ticks(world) == []
    assert world.store.pipelines() == ("hello",)
    assert world.store.last_run("hello") == 1


def test_a_run_that_is_superseded_after_the_branch_was_changed_brings_no_other_head(world):
    first = world.accept(world.commit("one"))
    world.head("two")  # of main: the commit of the run is its head no longer
    world.head("draft", branch="other")
    world.configure(on_branch("other"))
    world.work()
    assert world.run(first.number).outcome == Outcome.SUPERSEDED
    assert world.store.last_run("hello") == 1


def test_a_repository_that_is_put_there_by_hand_deploys_nothing(world):
    world.push("one")
    ticks(world)  # this version has been here
    world.head("from elsewhere", "copy")
    world.hosted.old.add("copy")
    world.configure(CONFIG + "  copy:\n    environments: {live: }\n")
    assert ticks(world) == []
    assert world.store.last_run("copy") == 0
