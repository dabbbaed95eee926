"""init, check and plan."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.cli.configuration import plan_lines
from pipeline.cli.terminal import plain
from tests.support.cli_stub import Stub, Told

pytest_plugins = ["tests.support.cli_stub"]
GOOD = "pipelines:\n  hello:\n    environments:\n      live: {}\n"
BAD = "pipelines:\n  hello:\n    service: {port: 99999, colour: red}\n    environments:\n      live: {}\n"


def test_init_writes_a_file_that_check_accepts(pushlive: Callable[..., Told]) -> None:
    told = pushlive("init", "--name", "shop")
    assert told.code == 0
    assert "Wrote pipelines.yaml" in told.out
    assert "shop" in Path("pipelines.yaml").read_text()
    assert pushlive("check").code == 0


def test_init_overwrites_nothing(pushlive: Callable[..., Told]) -> None:
    Path("pipelines.yaml").write_text("mine")
    told = pushlive("init")
    assert told.code == 3
    assert "was not changed" in told.err
    assert Path("pipelines.yaml").read_text() == "mine"


def test_init_where_there_is_no_application_writes_nothing(pushlive: Callable[..., Told]) -> None:
    told = pushlive("init")
    assert told.code == 3
    assert "has no Dockerfile and is not in a git repository. Nothing was written." in told.err
    assert not Path("pipelines.yaml").exists()
    Path("Dockerfile").write_text("FROM scratch\n")
    assert pushlive("init").code == 0


def test_init_in_a_missing_folder_is_an_error(pushlive: Callable[..., Told]) -> None:
    told = pushlive("init", PUSHLIVE_CONFIG="missing/pipelines.yaml")
    assert told.code == 2
    assert "cannot write" in told.err


def test_check_prints_every_problem_with_its_line(pushlive: Callable[..., Told]) -> None:
    Path("pipelines.yaml").write_text(BAD)
    told = pushlive("check")
    assert told.code == 2
    assert told.out == ""
    assert "pipelines.yaml:3: pipelines.hello.service.port" in told.err
    assert "colour" in told.err
    assert told.err.endswith("2 problems in pipelines.yaml.\n")


def test_check_warns_and_passes(pushlive: Callable[..., Told]) -> None:
    Path("other.yaml").write_text(GOOD)
    told = pushlive("check", "other.yaml")
    assert told.code == 0
    assert "other.yaml has no problems" in told.out
    assert told.out.startswith("! "), "no smoke check is worth a warning"


def test_check_prints_its_problems_as_json(pushlive: Callable[..., Told]) -> None:
    Path("pipelines.yaml").write_text(BAD)
    told = pushlive("check", "--json")
    assert told.code == 2
    assert {problem["line"] for problem in told.json["problems"]} == {3}


def test_check_without_a_file_says_how_to_make_one(pushlive: Callable[..., Told]) -> None:
    told = pushlive("check")
    assert told.code == 2
    assert "pushlive init" in told.err


@pytest.mark.parametrize("command", ["check", "plan"])
def test_what_is_no_file_to_read_is_said(pushlive: Callable[..., Told], command: str) -> None:
    Path("binary").write_bytes(b"ab\xe4\x00")
    Path("folder").mkdir()
    for path, says in (
        ("binary", "binary is not text: byte 3 is not UTF-8."),
        ("folder", "folder is a folder.\n  Name the file in it, such as pipelines.yaml."),
        ("hello", "This is the path of a pipelines.yaml, not the name of a pipeline; `pushlive init`"),
        ("other.yaml", "This is the path of a pipelines.yaml; `pushlive init`"),
    ):
        told = pushlive(command, path)
        assert told.code == 2
        assert says in told.err


def test_plan_checks_the_file_before_it_asks_the_service(stub: Stub, pushlive: Callable[..., Told]) -> None:
    Path("pipelines.yaml").write_text(BAD)
    assert pushlive("plan").code == 2
    assert pushlive("plan", "--json").json["problems"]
    assert not stub.asked
    Path("pipelines.yaml").write_text(GOOD)
    told = pushlive("plan")
    assert told == (0, "hello\n  dev        memory: 128 MiB → 256 MiB\n", "")
    assert stub.asked == [("POST", "/api/plan", {"config": GOOD})]
    assert pushlive("plan", "--json").json["pipelines"]


def test_plan_says_when_the_service_sees_a_problem(stub: Stub, pushlive: Callable[..., Told]) -> None:
    Path("pipelines.yaml").write_text(GOOD)
    stub.answers["POST", "/api/plan"] = (200, {"problems": ["port taken"], "warnings": [], "pipelines": {}})
    told = pushlive("plan")
    assert told == (2, "✗ port taken\n", "")


def test_a_plan_without_changes_says_so() -> None:
    assert plan_lines({"pipelines": {"hello": {"dev": []}}}, plain) == ["Nothing would change."]


LINTED = (
    "pipelines: {a: {build: {}, service: {health: /h}, smoke: [{get: /}], environments: {dev: , live: }}}\n"
)


def test_check_shows_what_is_accepted_with_its_reason(pushlive: Callable[..., Told]) -> None:
    reason = "{environments.live.replicas: one writer}"
    Path("pipelines.yaml").write_text(LINTED.replace("build: {}", f"accept: {reason}"))
    told = pushlive("check")
    assert told.code == 0
    assert "(accepted: one writer)" in told.out
    assert "has no problems" in told.out
    assert json.loads(pushlive("check", "--json").out)["accepted"][0].endswith("(accepted: one writer)")


def test_check_fails_for_a_dockerfile_that_is_named_and_not_there(pushlive: Callable[..., Told]) -> None:
    Path(".git").mkdir()
    Path("pipelines.yaml").write_text(LINTED)
    assert pushlive("check").code == 0, "the usual name may be committed later"
    Path("pipelines.yaml").write_text(
        LINTED.replace("build: {}", "\n  build: {dockerfile: docker/Dockerfile}")
    )
    told = pushlive("check")
    assert told.code == 2
    assert "pipelines.yaml:2: pipelines.a.build.dockerfile: there is no docker/Dockerfile in " in told.err
    Path("docker").mkdir()
    Path("docker/Dockerfile").write_text("FROM a\n")
    assert pushlive("check").code == 0


def test_check_finds_the_file_above_in_the_same_repository(
    pushlive: Callable[..., Told], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path(".git").mkdir()
    Path("pipelines.yaml").write_text(
        GOOD.replace("hello:", "hello:\n    source: {url: https://h.example/a}")
    )
    Path("teams/web").mkdir(parents=True)
    monkeypatch.chdir("teams/web")
    told = pushlive("check")
    assert told.code == 0
    assert told.out.splitlines()[-1].startswith("✓ ../../pipelines.yaml has no problems")
    Path(".git").mkdir()  # another repository: what is above is not its
    assert "there is no file 'pipelines.yaml'" in pushlive("check").err


def test_a_file_that_is_only_below_is_named_with_what_to_set(pushlive: Callable[..., Told]) -> None:
    Path("live").mkdir()
    Path("live/pipelines.yaml").write_text(GOOD)
    for command in ("check", "plan"):
        told = pushlive(command)
        assert told.code == 2
        assert "there is no file 'pipelines.yaml' here, but live/pipelines.yaml." in told.err
        assert "Give its name" in told.err
        assert "PUSHLIVE_CONFIG" in told.err
        assert "git:ops/live/pipelines.yaml" in told.err
    assert pushlive("check", "live/pipelines.yaml").code == 0
    assert pushlive("check", PUSHLIVE_CONFIG="git:ops/live/pipelines.yaml").code == 0


@pytest.mark.parametrize(
    ("url", "complains"),
    [
        ("http://you:secret@127.0.0.1:7070/git/ops.git", False),
        ("https://deploy.example.com/git/hello.git", True),
        ("git@github.com:acme/hello.git", True),
        ("", True),
    ],
)
def test_in_a_clone_of_the_configurations_repository_no_application_is_missed(
    pushlive: Callable[..., Told], url: str, complains: bool
) -> None:
    Path(".git").mkdir()
    Path(".git/config").write_text(f'[remote "origin"]\n\turl = {url}\n' if url else "")
    Path("pipelines.yaml").write_text(GOOD)
    assert ("there is no Dockerfile in" in pushlive("check").out) == complains
    named = GOOD.replace("hello:", "hello:\n    build: {dockerfile: docker/Dockerfile}")
    Path("pipelines.yaml").write_text(named)
    assert (pushlive("check").code == 2) == complains
