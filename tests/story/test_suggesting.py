"""Suggestions, from what was measured to a release: shown, written and deployed, and what keeps them from it."""

from __future__ import annotations

import subprocess

import pytest

from pipeline.domain.audit_chain import Actor
from pipeline.domain.cost.load import Load
from pipeline.errors import ConfigError, NotFound, RequestError
from pipeline.store.costs.loads import DAY, Loads
from tests.story.test_configuration_in_git import AWAY, OPS, push, taken
from tests.story.test_previews import push as push_to_branch
from tests.story.test_purposes import CONFIG, MIB, looks, worked
from tests.support.typed import typist

ANN, BOB = Actor("ann", "maintainer"), Actor("bob", "developer")


@pytest.fixture
def world(make_world):
    world = make_world(CONFIG)
    world.push("one")
    return world


@pytest.fixture
def measured(world):
    worked(world, 7)
    return world


def keys(answer: dict) -> dict[str, tuple[str, str]]:
    return {f"{one['environment']} {one['key']}": (one["before"], one["after"]) for one in answer["changes"]}


def test_before_enough_was_measured_nothing_is_suggested(world):
    assert "Nothing that serves was measured" in world.commands.suggest(BOB)["said"]
    worked(world, 2)
    said = world.commands.suggest(BOB)
    assert (said["changes"], said["diff"], "hours are" in said["said"]) == ([], "", True)
    assert world.commands.suggest(ANN, seen=said["suggestion"])["runs"] == []


def test_an_idle_replica_is_taken_out_of_the_file_and_deployed(measured, tmp_path):
    world, file = measured, measured.settings.config
    shown = world.commands.suggest(BOB)
    assert keys(shown) == {"live replicas": ("3", "2"), "live memory": ("256MiB", "80MiB")}
    assert shown["changes"][0]["monthly"] > 0
    assert file.read_text() == CONFIG
    folder = tmp_path / "clone"
    folder.mkdir()
    (folder / "pipelines.yaml").write_text(CONFIG)
    subprocess.run(["git", "apply", "-"], input=shown["diff"], text=True, cwd=folder, check=True)
    done = world.commands.suggest(BOB, seen=shown["suggestion"])
    assert (folder / "pipelines.yaml").read_text() == file.read_text()
    assert file.read_text() == CONFIG.replace("{replicas: 3}", "{memory: 80MiB, replicas: 2}")
    assert (len(done["runs"]), done["messages"]) == (1, [])
    world.work()
    service = world.store.release("hello", 2).environments["live"].service
    assert (service.replicas, service.memory) == (2, 80 * MIB)
    assert world.store.release("hello", 2).image == world.store.release("hello", 1).image
    looks(world, 1)
    assert keys(world.commands.suggest(BOB)) == {}
    assert "no replica is idle" in world.commands.suggest(BOB)["said"]


def test_live_keeps_its_redundancy_unless_a_person_asks_to_go_without(measured):
    assert keys(measured.commands.suggest(BOB))["live replicas"] == ("3", "2")
    assert keys(measured.commands.suggest(BOB, without_redundancy=True))["live replicas"] == ("3", "1")


def test_what_was_shown_is_what_is_done(measured):
    seen = measured.commands.suggest(BOB)["suggestion"]
    with pytest.raises(RequestError, match="has changed since"):
        measured.commands.suggest(BOB, without_redundancy=True, seen=seen)
    measured.settings.config.write_text(CONFIG + "# more\n")
    with pytest.raises(RequestError, match="has changed since"):
        measured.commands.suggest(BOB, seen=seen)
    assert measured.settings.config.read_text() == CONFIG + "# more\n"


def test_a_wrong_file_and_one_that_cannot_be_written_stay_as_they_are(measured, monkeypatch):
    seen = measured.commands.suggest(BOB)["suggestion"]
    measured.settings.config.write_text("nonsense: [")
    with pytest.raises(ConfigError, match="wrong at the moment"):
        measured.commands.suggest(BOB, seen=seen)
    measured.settings.config.write_text(CONFIG)
    monkeypatch.setattr(measured.services.configurations, "writable", lambda: False)
    monkeypatch.setattr(type(measured.services.configurations), "writable", lambda _: False)
    shown = measured.commands.suggest(BOB)
    assert not shown["writes"]
    with pytest.raises(RequestError, match="nothing was changed") as caught:
        measured.commands.suggest(BOB, seen=seen)
    assert "Commit the change where the file comes from" in str(caught.value.advice)
    assert len(measured.commands.runs("hello")) == 1


def test_what_cannot_be_put_into_the_text_is_left_to_a_person(make_world):
    config = CONFIG.replace(
        "{replicas: 3}   #", "\n        memory: >-\n          256MiB\n        replicas: 3   #"
    )
    world = make_world(config)
    world.push("one")
    worked(world, 7)
    answer = world.commands.suggest(ANN)
    assert keys(answer) == {"live replicas": ("3", "2")}
    (refused,) = answer["refused"]
    assert "memory 256MiB → 80MiB" in refused
    assert "cannot be set by a command: its value is written over several lines" in refused


def test_names_and_roles(measured):
    with pytest.raises(NotFound):
        measured.commands.suggest(BOB, pipeline="other")
    text = CONFIG.replace("dev:\n", "dev: {drain: 5s}\n")
    measured.settings.config.write_text(text)
    shown = measured.commands.suggest(BOB, pipeline="hello")
    assert measured.commands.suggest(BOB, pipeline="hello", seen=shown["suggestion"])["runs"]


def test_a_person_sees_the_diff_with_what_it_saves_and_applies_it(measured):
    with typist(measured) as mia:
        said = mia.types("cost", "--suggest")
        assert said.code == 0
        assert (
            "-      live: {replicas: 3}   # two would do\n+      live: {memory: 80MiB, replicas: 2}   # two"
            in said.text
        )
        assert "hello/live: replicas 3 → 2: saves about" in said.text
        assert "loss of one survived" in said.text
        assert mia.types("cost", "--apply", answer="n").code == 1
        assert measured.settings.config.read_text() == CONFIG
        said = mia.types("cost", "hello", "--apply", answer="y")
        assert (said.code, "hello#2 deploys" in said.text) == (0, True)
        assert "There is nothing to suggest" in mia.types("cost", "--suggest").text
        assert mia.types("cost", "--suggest", "--csv").code == 2
        assert mia.types("cost", "nope", "--suggest").code == 4
    assert measured.serving() == {"dev": 2, "live": 2}


def test_a_configuration_on_the_built_in_server_gets_a_commit(make_world):
    world = make_world(place=OPS)
    taken(world, CONFIG)
    world.push("one")
    worked(world, 7)
    shown = world.commands.suggest(BOB)
    assert (shown["writes"], "+++ b/pipelines.yaml" in shown["diff"]) == (True, True)
    world.commands.suggest(BOB, seen=shown["suggestion"])
    repository = world.source.repositories["ops"]
    commit, files = repository.commits[repository.heads["main"]]
    assert (commit.author, commit.message) == ("bob", "Right-size hello")
    assert b"live: {memory: 80MiB, replicas: 2}   # two would do" in files["pipelines.yaml"]


def test_one_in_a_repository_elsewhere_is_to_be_committed_there(make_world):
    world = make_world(place=AWAY)
    push(world, CONFIG)
    world.jobs.pushed_configuration.look()
    world.push("one")
    worked(world, 7)
    shown = world.commands.suggest(ANN)
    assert (shown["writes"], len(shown["changes"])) == (False, 2)
    with pytest.raises(RequestError, match=r"cannot write git:https://.*, so nothing was changed"):
        world.commands.suggest(ANN, seen=shown["suggestion"])
    with typist(world) as mia:
        assert "commit this change where the file comes from" in mia.types("cost", "--suggest").text


def test_a_process_that_dies_between_the_file_and_the_run_leaves_the_file(measured, monkeypatch):
    world = measured
    seen = world.commands.suggest(BOB)["suggestion"]
    with monkeypatch.context() as patch:
        patch.setattr(type(world.commands), "deploy", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            world.commands.suggest(BOB, seen=seen)
    assert "replicas: 2" in world.settings.config.read_text()
    assert world.commands.suggest(BOB)["changes"] == []
    world.push("two")
    assert world.store.release("hello", 2).environments["live"].service.replicas == 2


def test_a_deploy_that_is_refused_is_said_and_the_file_stays(measured, monkeypatch):
    def refused(*_: object, **__: object) -> None:
        raise RequestError("the image is gone.", advice="Push.")

    seen = measured.commands.suggest(BOB)["suggestion"]
    monkeypatch.setattr(type(measured.commands), "deploy", refused)
    done = measured.commands.suggest(BOB, seen=seen)
    assert (done["runs"], "hello has the change with its next push" in done["messages"][0]) == ([], True)


def test_previews_are_not_in_the_file_and_get_no_suggestion(make_world):
    previews = '    previews: {branches: "feature/*", from: live}\n    environments:\n'
    world = make_world(CONFIG.replace("    environments:\n", previews))
    push_to_branch(world, "feature/login")
    key = ("hello--login", "hello--login")
    loads, week = Loads(world.store.facts), 7 * DAY
    loads.add({(*key, ""): Load(week, 1.0, 3 * week, MIB, MIB, 3, buckets={-30: week})}, world.clock.now())
    world.jobs.cost.run()
    assert world.commands.cost("hello--login")["replicas"][0]["idle"] == 1
    answer = world.commands.suggest(ANN)
    assert (answer["changes"], answer["refused"], answer["diff"]) == ([], [], "")
