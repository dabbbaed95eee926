"""The entry point: usage, help, exit codes, and what it costs to start."""

import json
import subprocess
import sys
import tomllib
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import EntryPoint
from typing import Any

import pytest

from pipeline.cli import context
from pipeline.cli.command import JSON, Command
from pipeline.cli.context import UsageError, reference, release_number
from pipeline.cli.main import COMMANDS, _parser, load, main
from tests.support.cli_stub import Stub, Told
from tests.support.paths import ROOT

pytest_plugins = ["tests.support.cli_stub"]
HEAVY = {
    "pydantic",
    "pydantic_settings",
    "docker",
    "flask",
    "redis",
    "urllib3",
    "yaml",
    "kubernetes",
    "git",
    "rq",
    "http",
    "ssl",
}


def test_help_names_every_command_and_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(f"  {name} " in text for name in COMMANDS)
    codes = [value for name, value in vars(context).items() if name.isupper() and type(value) is int]
    assert sorted(codes) == [0, 1, 2, 3, 4, 5, 6, 7, 130]
    assert all(f"\n  {code} " in text for code in codes)


def test_without_arguments_it_prints_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert "going live" in capsys.readouterr().out


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_and_a_function(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = load(name)
    assert command.function or command.acts
    assert main([name, "--help"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert f"pushlive {name}" in out
    assert command.description in out


def test_the_installed_script_is_this_main() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert EntryPoint("pushlive", scripts["pushlive"], "console_scripts").load() is main


def test_version_prints_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("pushlive ")


def test_an_unknown_command_suggests_a_near_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stauts"]) == 2
    assert "Did you mean `pushlive status`?" in capsys.readouterr().err
    assert main(["frobnicate\x1b[2J"]) == 2
    text = capsys.readouterr().err
    assert "lists the commands" in text
    assert "\x1b" not in text


@pytest.mark.parametrize(
    "words", [["show", "--nonsense"], ["token"], ["token", "create"], ["runs", "--limit", "x"]]
)
def test_wrong_usage_says_where_to_look(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert "--help`" in capsys.readouterr().err


def test_an_option_may_stand_between_the_names_and_the_words_of_a_command() -> None:
    for words in (
        ["exec", "hello", "qa", "--replica", "2", "--", "ls", "-l", "--", "x"],
        ["exec", "--replica", "2", "hello", "qa", "--", "ls", "-l", "--", "x"],
    ):
        found = _parser("exec").parse_args(words)
        assert (found.environment, found.replica, found.words) == ("qa", 2, ["ls", "-l", "--", "x"])


def test_an_accessory_that_does_not_exist_is_named(stub: Stub, pushlive: Callable[..., Told]) -> None:
    row = {"name": "shop-db", "environment": "live", "state": "ready", "why": "", "image": "postgres:15"}
    stub.answers["GET", "/api/accessories"] = 200, {"accessories": [{**row, "used_by": [], "changes": []}]}
    assert pushlive("accessory", "status", "shop-db")[0] == 0
    for more in ((), ("--json",)):
        code, out, err = pushlive("accessory", "status", "nope", *more)
        assert (code, bool(out)) == (4, bool(more))
        assert "there is no accessory 'nope'; there is shop-db" in err
    assert json.loads(pushlive("accessory", "status", "shop-db", "--json")[1])["accessories"]


def test_an_accessory_that_nothing_needs_is_removed_not_applied(
    stub: Stub, pushlive: Callable[..., Told]
) -> None:
    row = {"name": "shop-db", "environment": "live", "state": "ready", "why": "", "image": "postgres:15"}
    row |= {"used_by": [], "changes": ["it goes on as it is"], "left": "no pipeline uses it there"}
    stub.answers["GET", "/api/accessories"] = 200, {"accessories": [row]}
    _, out, _ = pushlive("accessory", "status")
    assert "no pipeline uses it there" in out
    assert "→ `pushlive accessory rm shop-db live`" in out
    assert "apply" not in out
    row["used_by"] = ["hello"]
    assert "→ once no release in a slot there uses it: `pushlive accessory rm shop-db live`" in "".join(
        pushlive("accessory", "status")[1]
    )


def test_starting_imports_nothing_heavy() -> None:
    script = "import sys, pipeline.cli.main as c; c._parser('status'); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert not HEAVY & set(loaded.split())


def test_talking_to_the_service_imports_nothing_heavy() -> None:
    script = "import sys, pipeline.cli.client, pipeline.cli.live_line; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert not (HEAVY - {"http", "ssl"}) & set(loaded.split())


def test_help_loads_every_command_and_nothing_heavy() -> None:
    script = "import sys, pipeline.cli.main as c; c.main(['--help']); print(*sys.modules, file=sys.stderr)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stderr
    assert not HEAVY & set(loaded.split())


def test_a_command_loads_only_its_own_file() -> None:
    script = "import sys, pipeline.cli.main as c; c._parser('status'); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    files = {f"pipeline.cli.{file}" for file in COMMANDS.values()}
    assert files & set(loaded.split()) == {"pipeline.cli.status"}


def test_every_declared_command_is_listed() -> None:
    folder = ROOT / "pipeline" / "cli"
    declared = {
        (name, module)
        for file in folder.rglob("[!_]*.py")
        for module in [".".join(file.relative_to(folder).with_suffix("").parts)]
        for name, value in vars(import_module(f"pipeline.cli.{module}")).items()
        if isinstance(value, Command) and not name.startswith("_")
    }
    assert declared == set(COMMANDS.items())


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["hello#42"], ("hello", 42)),
        (["hello", "42"], ("hello", 42)),
        (["hello"], ("hello", None)),
        (["my-app2", "#7"], ("my-app2", 7)),
        (["42"], ("", 42)),
        (["#42"], ("", 42)),
        ([], ("", None)),
    ],
)
def test_a_runs_name_is_read(words: list[str], found: tuple[str, int | None]) -> None:
    assert reference(words) == found


@pytest.mark.parametrize(
    "words", [["Hello"], ["hello", "x"], ["hello#"], ["#"], ["../x"], ["a", "1", "2"], ["a?b"]]
)
def test_an_invalid_run_name_is_refused_with_an_example(words: list[str]) -> None:
    with pytest.raises(UsageError, match="hello#42"):
        reference(words)


def test_a_releases_name_is_read_with_or_without_r() -> None:
    assert (release_number("r17"), release_number("17")) == (17, 17)
    with pytest.raises(UsageError, match="not a release"):
        release_number("v17")


CALLS = [
    ["deploy"], ["retry"], ["cancel"], ["runs"], ["show"], ["follow"], ["logs"], ["promote"], ["revert"],
    ["hold"], ["resume"], ["unquarantine", "r1"], ["status"], ["gc"], ["token", "list"],
    ["token", "create", "x"], ["token", "revoke", "x"],
]  # fmt: skip


@pytest.mark.parametrize("words", CALLS, ids=" ".join)
@pytest.mark.parametrize(
    ("status", "answer", "code"),
    [
        (400, {"error": "bad input", "advice": "do so"}, 2),
        (409, {"error": "not now", "advice": "do so"}, 3),
        (404, {"error": "not here", "advice": "do so"}, 4),
        (503, {"error": "store down", "advice": "do so"}, 5),
        (403, {"error": "too low a role", "advice": "do so"}, 6),
    ],
)
def test_each_error_has_its_exit_code(
    words: list[str], status: int, answer: Any, code: int, stub: Stub, pushlive: Callable[..., Told]
) -> None:
    stub.usual = lambda method, path: (status, answer)  # type: ignore[method-assign]
    told = pushlive(*words)
    assert (told.code, told.out) == (code, "")
    assert answer["error"] in told.err
    assert "do so" in told.err


def test_a_wrong_token_exits_with_6_and_advice(pushlive: Callable[..., Told]) -> None:
    told = pushlive("status", PUSHLIVE_TOKEN="wrong")
    assert told.code == 6
    assert "PUSHLIVE_TOKEN" in told.err
    assert "pushlive token create" in told.err


def test_fault_47_an_error_with_escapes_is_inert(stub: Stub, pushlive: Callable[..., Told]) -> None:
    stub.answers["GET", "/api/runs"] = (409, {"error": "one\n\x1b[2Jtwo\x9b", "advice": "\x1b]0;x\x07next"})
    told = pushlive("runs")
    assert told.err == "pushlive runs: one\ntwo\n  next\n"


@pytest.mark.parametrize("words", [["--quiet", "cancel", "hello"], ["cancel", "hello", "-q"]])
def test_quiet_is_accepted_before_and_after_the_command(
    words: list[str], pushlive: Callable[..., Told]
) -> None:
    assert pushlive(*words) == (0, "", "")


def test_with_several_pipelines_one_must_be_named(stub: Stub, pushlive: Callable[..., Told]) -> None:
    entries: Any = stub.status["pipelines"]
    entries.append({**entries[0], "name": "shop"})
    told = pushlive("show")
    assert told.code == 2
    assert "hello, shop" in told.err
    entries.clear()
    told = pushlive("show")
    assert told.code == 4
    assert "pushlive init" in told.err


def test_a_closed_pipe_is_not_reported(stub: Stub, pushlive: Callable[..., Told]) -> None:
    environ = {"PUSHLIVE_URL": stub.url, "PUSHLIVE_TOKEN": "pl_secret", "PATH": "/usr/bin:/bin"}
    script = [sys.executable, "-m", "pipeline.cli", "runs"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(script, **pipes, env=environ, cwd=ROOT) as process:  # type: ignore[call-overload]
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


JSON_CALLS = [
    ["status"], ["runs"], ["show"], ["deploy"], ["deploy", "--no-wait"], ["revert"], ["retry"], ["cancel"],
    ["hold"], ["resume"], ["unquarantine", "r1"], ["doctor"], ["gc"], ["token", "list"],
    ["token", "create", "x"], ["token", "revoke", "ci"],
]  # fmt: skip


@pytest.mark.parametrize("words", JSON_CALLS, ids=" ".join)
def test_json_is_one_json_value(words: list[str], pushlive: Callable[..., Told]) -> None:
    told = pushlive(*words, "--json")
    assert told.code == 0
    assert isinstance(told.json, dict)
    assert told.err == ""


def test_fault_47_json_is_inert(stub: Stub, pushlive: Callable[..., Told]) -> None:
    stub.shown["run"] |= {"message": "\x1b[2J\x9b\u202e"}
    told = pushlive("show", "--json")
    assert told.out.isascii()
    assert "\x1b" not in told.out
    assert json.loads(told.out)["run"]["message"] == "\x1b[2J\x9b\u202e"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["revert", "a", "b"],
            "pushlive revert: unknown argument: b; an environment is named by `--env b`.\n"
            "See `pushlive revert --help`.",
        ),
        (
            ["hold", "shop", "live"],
            "pushlive hold: unknown argument: live; an environment is named by `--env live`.\n"
            "See `pushlive hold --help`.",
        ),
        (
            ["status", "--envv", "x"],
            "pushlive status: unknown argument: --envv.\nSee `pushlive status --help`.",
        ),
        (
            ["token", "list", "b", "c"],
            "pushlive token list: unknown arguments: b c.\nSee `pushlive token list --help`.",
        ),
        (["runs", "--limit", "x"], "pushlive runs: argument --limit: 'x' is not a whole number.\n"),
    ],
)
def test_a_wrong_argument_is_refused_in_words_and_with_its_own_help(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    assert capsys.readouterr().err.startswith(said)


def with_json() -> list[list[str]]:
    """Every command that has --json, with words in the place of what it needs."""
    found = []
    for name in COMMANDS:
        one = load(name)
        for words, leaf in [([name, act], leaf) for act, leaf in one.acts.items()] or [([name], one)]:
            if JSON in leaf.arguments:
                needed = [names[0] for names, options in leaf.arguments if "nargs" not in options]
                many = [names[0] for names, options in leaf.arguments if options.get("nargs") == "+"]
                positional = [one for one in (*needed, *many) if not one.startswith("-")]
                found.append([*words, *("hello" for _ in positional)])
    return found


@pytest.mark.parametrize("words", with_json(), ids=" ".join)
def test_with_json_an_error_is_data_as_well(
    words: list[str], stub: Stub, pushlive: Callable[..., Told]
) -> None:
    stub.usual = lambda method, path: (409, {"error": "it is not now\x1b[2J", "advice": "do so"})  # type: ignore[method-assign]

    told = pushlive(*words, "--json")

    found = json.loads(told.out)
    assert (set(found), found["exit"]) == ({"error", "advice", "exit"}, told.code)
    assert told.code in (2, 3, 5)  # 5: what is sent a file breaks off
    assert found["error"].split("\x1b")[0] in told.err
    assert "\x1b" not in told.out

    wrong = pushlive(*words, "--json", "--nonsense")
    assert (wrong.code, json.loads(wrong.out)["exit"]) == (2, 2)


def test_an_unknown_command_and_one_in_a_container_know_their_own_json(pushlive: Callable[..., Told]) -> None:
    assert "pushlive status" in pushlive("stauts", "--json").json["advice"]
    assert pushlive("stauts").out == ""
    assert pushlive("exec", "Hello", "live", "--", "ls", "--json").out == ""


def test_the_address_of_an_application_is_data_too(stub: Stub, pushlive: Callable[..., Told]) -> None:
    shown = {"name": "live", "release": "r1", "url": "http://127.0.0.1:20001"}
    stub.answers["GET", "/api/status"] = 200, {"pipelines": [{"name": "hello", "environments": [shown]}]}
    assert pushlive("open", "hello", "--json").json == {
        "pipeline": "hello",
        "environment": "live",
        "url": "http://127.0.0.1:20001",
    }
