"""What our own sources may not hold: nothing that turns data into code, and no git that obeys its surroundings."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import docker
from tests.support.paths import ROOT

SOURCES = [
    path for folder in ("pipeline", "webhooks", "workers") for path in sorted((ROOT / folder).rglob("*.py"))
]
SCRIPTS = [path for path in (ROOT / "docker", ROOT / "scripts") for path in sorted(path.rglob("*.py"))]
EXECUTED = {
    "eval", "exec", "compile", "__import__", "os.system", "os.popen", "marshal.loads", "marshal.load",
    "shelve.open", "yaml.load", "yaml.load_all", "yaml.unsafe_load", "yaml.full_load", "yaml.unsafe_load_all",
    "yaml.full_load_all", "runpy.run_path", "runpy.run_module", "code.interact", "subprocess.getoutput",
    "subprocess.getstatusoutput", "os.spawnlp", "os.execlp", "os.execvp",
}  # fmt: skip
UNPICKLERS = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "shelve", "marshal", "jsonpickle"}


@cache
def nodes_of(text: str) -> tuple[ast.AST, ...]:
    return tuple(ast.walk(ast.parse(text)))


@cache
def calls_of(text: str) -> tuple[tuple[str, ast.Call], ...]:
    return tuple((written(node.func), node) for node in nodes_of(text) if isinstance(node, ast.Call))


def written(node: ast.expr) -> str:
    """The expression as it is written. ``ast.unparse`` takes long, and most are names with dots."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name | ast.Attribute):
        return f"{written(node.value)}.{node.attr}"
    return ast.unparse(node)


def calls(path: Path) -> tuple[tuple[str, ast.Call], ...]:
    return calls_of(path.read_text())


def names(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", [*SOURCES, *SCRIPTS], ids=names)
def test_fault_45_nothing_that_is_read_is_executed_or_unpickled(path: Path) -> None:
    imported = {
        name.split(".")[0]
        for node in nodes_of(path.read_text())
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in [*(alias.name for alias in node.names), getattr(node, "module", None) or ""]
    }
    assert not imported & UNPICKLERS
    for name, call in calls(path):
        assert name not in EXECUTED, f"line {call.lineno}: {name}"
        shell = next((k.value for k in call.keywords if k.arg == "shell"), None)
        assert shell is None, f"line {call.lineno}: a shell"


def test_fault_45_the_search_finds_code_that_executes_data(tmp_path: Path) -> None:
    file = tmp_path / "x.py"
    for text in (
        "import pickle",
        "from pickle import loads",
        "eval(x)",
        "yaml.load(x)",
        "run(x, shell=True)",
    ):
        file.write_text(text + "\n")
        with pytest.raises(AssertionError):
            test_fault_45_nothing_that_is_read_is_executed_or_unpickled(file)


def test_only_tables_in_the_code_name_modules_to_import() -> None:
    """``import_module`` takes names from tables in the code, never from outside."""
    found = {names(path) for path in SOURCES for name, _ in calls(path) if name.endswith("import_module")}
    assert found == {"pipeline/cli/main.py", "pipeline/runtime/preload.py"}


# ── git ──────────────────────────────────────────────────────────────────────


def starters() -> Iterator[tuple[Path, str, ast.Call]]:
    """Every call that starts a process, by whichever name."""
    for path in SOURCES:
        for name, call in calls(path):
            if name.startswith(("subprocess.", "os.exec", "os.spawn", "os.posix_spawn")) or "Popen" in name:
                yield path, name, call


def test_git_is_started_only_in_two_places() -> None:
    """All of git's work goes through ``adapters.git.process.start_git``; the server's through ``git http-backend``."""
    users = {names(path) for path in SOURCES if any(name in ("Git", "Repo") for name, _ in calls(path))}
    assert users == {"pipeline/adapters/git/process.py"}
    by_hand = {
        names(path) for path, _, call in starters() if call.args and "'git'" in ast.unparse(call.args[0])
    }
    assert by_hand == {"webhooks/git/http_backend.py"}


def test_the_servers_git_has_no_argument_from_outside() -> None:
    (command,) = [
        ast.unparse(call.args[0])
        for path, _, call in starters()
        if names(path) == "webhooks/git/http_backend.py"
    ]
    assert command == "['git', 'http-backend']"


def test_git_has_no_prompt_no_users_configuration_and_no_default_protocol() -> None:
    from pipeline.adapters.git.process import _ENVIRONMENT, _SETTINGS

    assert _SETTINGS["protocol.allow"] == "never"
    assert _SETTINGS["core.hooksPath"] == "/dev/null"
    assert _SETTINGS["core.fsmonitor"] == "false"
    assert _SETTINGS["http.followRedirects"] == "false"
    assert _ENVIRONMENT["GIT_TERMINAL_PROMPT"] == "0"
    assert _ENVIRONMENT["GIT_CONFIG_GLOBAL"] == "/dev/null"
    assert "BatchMode=yes" in _ENVIRONMENT["GIT_SSH_COMMAND"]


# What may stand in git's arguments without `--` or `--end-of-options` before it, because it is checked to be
# nothing but hexadecimal digits, a ref that begins with refs/, or our own constant.
CHECKED = {
    "commit_ids.whole(commit)", "entry.id", "ref", "name", "value", "commit", "*options",
    "*(['--', path] if path else [])", "*(['--', f':(literal){folder}'] if folder else [])",
    "f'{commit_ids.whole(commit)}^{{tree}}'", "*arguments", "form", "folder + text",
}  # fmt: skip
GIT = sorted((ROOT / "pipeline" / "adapters" / "git").glob("*.py"))


def invocations(path: Path) -> Iterator[list[ast.expr]]:
    """The arguments of every git command in that file, as they are written."""
    for name, call in calls(path):
        if name in ("run_git", "self._git", "self._bytes"):
            yield list(call.args[1:])
        elif name == "start_git" and isinstance(call.args[1], ast.List):
            yield list(call.args[1].elts)
    for node in nodes_of(path.read_text()):
        named = isinstance(node, ast.Assign | ast.AugAssign) and ast.unparse(node).startswith("arguments ")
        if named and isinstance(node.value, ast.List):
            yield list(node.value.elts)


@pytest.mark.parametrize("path", GIT, ids=names)
def test_fault_13_values_from_outside_follow_the_end_of_options(path: Path) -> None:
    for arguments in invocations(path):
        ended = False
        for one in arguments:
            if isinstance(one, ast.Constant):
                ended = ended or one.value in ("--", "--end-of-options", "--stdin")
                continue
            text = ast.unparse(one)
            known = text in CHECKED or text.startswith("f'--")
            assert ended or known, (
                f"{path.name}: {text} could be an option in {[ast.unparse(a) for a in arguments]}"
            )


def test_every_start_of_git_is_examined() -> None:
    """Else the test before it would say nothing."""
    assert sum(len(list(invocations(path))) for path in GIT) >= 15


# ── the Docker SDK ───────────────────────────────────────────────────────────

DOCKER_API = ROOT / "pipeline" / "adapters" / "docker_api"


def reached(path: Path) -> Iterator[tuple[str, int]]:
    """Every attribute that is read of something else than ``self`` or ``cls``, with its line."""
    for node in nodes_of(path.read_text()):
        if isinstance(node, ast.Attribute):
            own = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
            if not own:
                yield node.attr, node.lineno


@cache
def sdk_private() -> frozenset[str]:
    """The names that the SDK's clients keep for themselves."""
    client = docker.APIClient(version="1.41")
    client.close()
    names = {*vars(client), *dir(docker.APIClient), *dir(docker.DockerClient)}
    return frozenset(name for name in names if name.startswith("_") and not name.startswith("__"))


def private_uses(path: Path) -> list[str]:
    return [f"{names(path)}, line {line}: {name}" for name, line in reached(path) if name in sdk_private()]


def reaches_through(path: Path) -> list[str]:
    """Uses of ``DockerApi.sdk`` outside its package."""
    if DOCKER_API in path.parents:
        return []
    return [f"{names(path)}, line {line}" for name, line in reached(path) if name == "sdk"]


def test_no_private_part_of_the_docker_sdk_is_used() -> None:
    assert [use for path in SOURCES for use in private_uses(path)] == []


def test_only_docker_api_uses_the_docker_sdk() -> None:
    """All others call methods of ``DockerApi``."""
    assert [use for path in SOURCES for use in reaches_through(path)] == []


@pytest.mark.parametrize(
    "text",
    [
        "api.sdk._post('/build')",
        "self._api.sdk._raise_for_status(x)",
        "client.api._url('/x')",
        "api._stream_helper(x)",
        "client.api._general_configs",
    ],
)
def test_the_search_finds_private_uses(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    (tmp_path / "x.py").write_text(text + "\n")
    assert len(private_uses(tmp_path / "x.py")) == 1


def test_the_search_finds_uses_of_the_sdk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    (tmp_path / "x.py").write_text("self._api.sdk.remove_container(x)\n")
    assert reaches_through(tmp_path / "x.py") == ["x.py, line 1"]
