"""Single values of an environment: shown, written into pipelines.yaml, and deployed as one release."""

from __future__ import annotations

import pytest

from pipeline.domain.audit_chain import Actor
from pipeline.domain.run import Kind, Outcome
from pipeline.errors import ConfigError, Forbidden, NotFound, RequestError

CONFIG = """\
# ours
pipelines:
  hello:
    environments:
      dev:
      live:
        replicas: 2   # enough
        env: {GREETING: hi}
"""
DEVELOPER = Actor("bob", "developer")
MAINTAINER = Actor("ann", "maintainer")


@pytest.fixture
def world(make_world):
    world = make_world(CONFIG)
    world.push("one")
    return world


def set_(world, by=MAINTAINER, environment="", seen="", **values: str) -> dict:
    names = {key.replace("__", "."): value for key, value in values.items()}
    return world.commands.set_values("hello", by, values=names, environment=environment, seen=seen)


def test_a_change_is_shown_then_written_and_deployed_as_one_release(world):
    shown = set_(world, DEVELOPER, replicas="3", env__GREETING='it\'s 5: "#"')
    assert (shown["environment"], shown["writes"]) == ("live", True)
    assert shown["changes"] == ["replicas: 2 → 3", "env GREETING: 'hi' → 'it's 5: \"#\"'"]
    assert world.settings.config.read_text() == CONFIG
    done = set_(world, DEVELOPER, seen=shown["config"], replicas="3", env__GREETING='it\'s 5: "#"')
    world.work()
    run = world.commands.run("hello", int(done["run"].partition("#")[2]))
    assert (run.kind, run.outcome, run.by) == (Kind.DEPLOY, Outcome.LIVE, "bob")
    release = world.store.release("hello", run.release)
    service = release.environments["live"].service
    assert (service.replicas, service.env) == (3, {"GREETING": 'it\'s 5: "#"'})
    assert release.image == world.store.release("hello", 1).image
    assert world.settings.config.read_text() == CONFIG.replace("2   # enough", "3   # enough").replace(
        "GREETING: hi", 'GREETING: "it\'s 5: \\"#\\""'
    )
    world.push("two")
    assert world.store.release("hello", 3).environments["live"].service.replicas == 3


def test_a_file_keeps_its_line_ends(world):
    file = world.settings.config
    file.write_bytes(CONFIG.replace("\n", "\r\n").encode())
    seen = set_(world, replicas="3")["config"]
    set_(world, seen=seen, replicas="3")
    assert file.read_bytes() == CONFIG.replace("2   #", "3   #").replace("\n", "\r\n").encode()
    file.write_bytes(b"# one\r\n" + CONFIG.encode())
    seen = set_(world, replicas="4")["config"]
    with pytest.raises(ConfigError, match="do not all end in the same way"):
        set_(world, seen=seen, replicas="4")
    assert file.read_bytes() == b"# one\r\n" + CONFIG.encode()
    assert [one.name for one in file.parent.iterdir() if one.name.startswith(".pipelines")] == []


def test_what_only_a_maintainer_may_change_is_refused_before_anything_is_written(world):
    with pytest.raises(Forbidden, match="drain"):
        set_(world, DEVELOPER, drain="5s")
    assert set_(world, MAINTAINER, drain="5s")["changes"] == ["drain: 30s → 5s"]
    assert world.settings.config.read_text() == CONFIG


def test_nothing_happens_if_the_file_has_changed_since(world):
    seen = set_(world, replicas="3")["config"]
    world.settings.config.write_text(CONFIG + "# changed\n")
    with pytest.raises(RequestError, match="has changed since"):
        set_(world, seen=seen, replicas="3")
    assert world.settings.config.read_text() == CONFIG + "# changed\n"
    assert len(world.commands.runs("hello")) == 1


def test_a_value_that_is_there_already_changes_nothing(world):
    shown = set_(world, replicas="2")
    assert shown["changes"] == []
    assert set_(world, seen=shown["config"], replicas="2")["run"] == ""
    assert len(world.commands.runs("hello")) == 1


def test_a_gate_is_set_without_a_release(world):
    seen = set_(world, promote="manual")
    assert set_(world, seen=seen["config"], promote="manual")["run"] == ""
    world.push("two")
    assert world.commands.runs("hello")[0]["gate"] == "live"


@pytest.mark.parametrize(
    ("key", "value", "change"),
    [
        ("command", "[./serve, --verbose]", "command: none → ./serve --verbose"),
        ("processes.worker.replicas", "2", "worker"),
        ("bake", "{for: 10m, on_failure: hold}", "bake: 2m → 10m, then hold"),
        ("env.GREETING", "", "env GREETING: 'hi' → ''"),
        ("env.DEBUG", "1", "env DEBUG"),
    ],
)
def test_values_are_written_as_the_guide_says(make_world, key, value, change):
    world = make_world(
        CONFIG.replace("  hello:", "  hello:\n    service: {processes: {worker: {command: [work]}}}")
    )
    world.push("one")
    shown = world.commands.set_values("hello", MAINTAINER, values={key: value})
    assert any(change in line for line in shown["changes"]), shown


@pytest.mark.parametrize(
    ("values", "environment", "error", "said"),
    [
        ({"replicas": "many"}, "", ConfigError, r"^pipelines\.hello\.environments\.live\.replicas: "),
        ({"replicsa": "3"}, "", ConfigError, "replicsa"),
        ({"replicas": "[1"}, "", ConfigError, "is not a value"),
        ({"replicas": ""}, "", ConfigError, "replicas"),
        ({"../x": "3"}, "", ConfigError, "is not a key"),
        ({"replicas": "3"}, "prod", NotFound, "has no environment 'prod'"),
    ],
)
def test_wrong_input_says_what_is_wrong_and_changes_nothing(world, values, environment, error, said):
    with pytest.raises(error, match=said):
        world.commands.set_values("hello", MAINTAINER, values=values, environment=environment)
    assert world.settings.config.read_text() == CONFIG


def test_a_file_that_is_wrong_is_corrected_first(world):
    world.settings.config.write_text(CONFIG + "nonsense: 1\n")
    with pytest.raises(ConfigError, match="is wrong at the moment"):
        set_(world, replicas="3")


def test_without_a_live_release_there_is_nothing_to_deploy(make_world):
    world = make_world(CONFIG)
    with pytest.raises(RequestError, match="no release of hello is live yet"):
        set_(world, replicas="3")


def test_a_file_that_cannot_be_written_is_said_and_a_release_is_made(world, monkeypatch):
    monkeypatch.setattr(type(world.services.configurations), "writable", lambda _: False)
    shown = set_(world, replicas="3")
    assert not shown["writes"]
    assert set_(world, seen=shown["config"], replicas="3")["run"] == "hello#2"
    world.work()
    assert world.settings.config.read_text() == CONFIG
    assert world.store.release("hello", 2).environments["live"].service.replicas == 3


def test_what_no_release_carries_is_refused_where_the_file_cannot_be_written(world, monkeypatch):
    monkeypatch.setattr(type(world.services.configurations), "writable", lambda _: False)
    shown = set_(world, promote="manual")
    with pytest.raises(RequestError, match="and this is in no release"):
        set_(world, seen=shown["config"], promote="manual")
    assert world.settings.config.read_text() == CONFIG


def test_values_that_serve_already_while_the_file_has_others_follow_no_old_run(world):
    """Someone has written another value into the file, and it was not deployed yet."""
    world.settings.config.write_text(CONFIG.replace("replicas: 2", "replicas: 3"))
    shown = set_(world, replicas="2")
    assert shown["changes"] == ["replicas: 3 → 2"]
    assert set_(world, seen=shown["config"], replicas="2")["run"] == ""
    assert world.settings.config.read_text() == CONFIG
    assert len(world.commands.runs("hello")) == 1
    world.push("two")
    assert world.store.release("hello", 2).environments["live"].service.replicas == 2


def test_values_that_serve_already_are_deployed_while_a_run_with_others_is_on_its_way(world):
    text = CONFIG.replace("replicas: 2", "replicas: 3")
    world.settings.config.write_text(text)
    world.commands.deploy("hello", MAINTAINER, config=text)  # it has not begun
    seen = set_(world, replicas="2")["config"]
    assert set_(world, seen=seen, replicas="2")["run"] == "hello#3"
    world.work()
    assert world.serving()["live"] is not None
    live = world.store.release("hello", world.serving()["live"]).environments["live"]
    assert live.service.replicas == 2
