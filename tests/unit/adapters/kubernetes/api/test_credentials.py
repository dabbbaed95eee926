"""Programs that print credentials: real ones, against a stub of an API server."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipeline.adapters.kubernetes.api import connection, credentials
from pipeline.adapters.kubernetes.api.client import Refused, connect
from pipeline.adapters.kubernetes.api.credentials import CredentialPlugins
from pipeline.adapters.kubernetes.api.kube_api import KubeApi
from pipeline.errors import ConfigError, EngineAway
from pipeline.lib.bounded import left_behind
from pipeline.lib.retry import Backoff
from tests.support.apiserver import kubeconfig
from tests.support.waiting import until
from tests.unit.adapters.kubernetes.api.test_connection import Answers, server  # noqa: F401 - a fixture

VERSION = "client.authentication.k8s.io/v1"


class Plugin:
    """The program of a kubeconfig: what it does is a file beside it, each run is a line in another."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder, self.plugins = folder, CredentialPlugins()
        self.does("exit 9")
        program = folder / "plugin"
        program.write_text(f"#!/bin/sh\necho $$ >>{folder}/runs\n. {folder}/does\n")
        program.chmod(0o755)
        config = kubeconfig(folder / "config", url)
        document = json.loads(config.read_text())
        helper = {"apiVersion": VERSION, "command": str(program), "interactiveMode": "Never"}
        document["users"][0]["user"] = {"exec": helper}
        config.write_text(json.dumps(document))
        self.document, self.config = document, config

    def does(self, script: str) -> None:
        (self.folder / "does").write_text(script + "\n")

    def prints(self, token: str, **status: str) -> None:
        self.does(f"echo '{credential(token=token, **status)}'")

    @property
    def runs(self) -> list[str]:
        """The process id of each run."""
        path = self.folder / "runs"
        return path.read_text().split() if path.exists() else []

    def api(self) -> KubeApi:
        """A connection of its own, as each namespace has one."""
        return KubeApi(lambda: connect("", "", self.plugins))


def credential(**status: str) -> str:
    return json.dumps({"apiVersion": VERSION, "kind": "ExecCredential", "status": status})


def stamp(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.fixture
def plugin(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Plugin]:  # noqa: F811
    one = Plugin(tmp_path, server)
    monkeypatch.setenv("KUBECONFIG", str(one.config))
    monkeypatch.setattr(credentials, "REMEMBERED", Backoff(0.0))
    monkeypatch.setattr(connection, "BACKOFF", Backoff(0.0))
    monkeypatch.setattr(Answers, "token", "one")
    yield one
    assert left_behind() == 0


def test_what_a_program_printed_is_used_by_every_connection_until_it_expires(plugin: Plugin) -> None:
    plugin.prints("one", expirationTimestamp=stamp(3600))
    for api in (plugin.api(), plugin.api()):
        for _ in range(2):
            assert api.find("Pod", {}) == []
    assert len(plugin.runs) == 1


def test_credentials_that_expire_are_renewed_before_they_do(plugin: Plugin) -> None:
    plugin.prints("one", expirationTimestamp=stamp(-1))
    api = plugin.api()
    assert api.find("Pod", {}) == []
    Answers.token = "two"
    plugin.prints("two", expirationTimestamp=stamp(3600))
    assert api.find("Pod", {}) == []
    assert "Bearer one" not in Answers.seen[1:]


def test_credentials_that_are_refused_are_printed_again(plugin: Plugin) -> None:
    plugin.prints("one")
    api, other = plugin.api(), plugin.api()
    assert api.find("Pod", {}) == other.find("Pod", {}) == []
    Answers.token = "two"
    plugin.prints("two")
    assert api.find("Pod", {}) == other.find("Pod", {}) == []
    assert len(plugin.runs) == 2
    plugin.prints("wrong")
    Answers.token = "three"
    with pytest.raises(Refused, match="401"):
        api.find("Pod", {})


def test_a_program_that_failed_once_leaves_no_connection_without_credentials(plugin: Plugin) -> None:
    plugin.does("echo 'the session has expired' >&2; exit 4")
    api = plugin.api()
    with pytest.raises(EngineAway, match="ended with exit code 4: the session has expired") as caught:
        api.find("Pod", {})
    assert "by hand" in caught.value.advice
    assert Answers.seen == [], "nothing is asked without credentials"
    plugin.prints("one")
    assert api.find("Pod", {}) == []
    assert Answers.seen == ["Bearer one"]


def test_a_failure_at_renewal_is_an_error_as_well(plugin: Plugin) -> None:
    plugin.prints("one", expirationTimestamp=stamp(-1))
    api = plugin.api()
    assert api.find("Pod", {}) == []
    plugin.does("exit 1")
    with pytest.raises(EngineAway, match="exit code 1: no output"):
        api.find("Pod", {})
    plugin.prints("one")
    assert api.find("Pod", {}) == []


def test_a_program_that_hangs_is_killed_with_all_that_it_started(
    plugin: Plugin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(credentials, "EXEC_WITHIN", 1.0)
    monkeypatch.setattr(credentials, "REMEMBERED", Backoff(60.0))
    plugin.does(f"sleep 600 & echo $! >{plugin.folder}/child; wait")
    errors: list[str] = []

    def asks() -> None:
        with pytest.raises(EngineAway) as caught:
            plugin.api().find("Pod", {})
        errors.append(caught.value.message)

    threads = [threading.Thread(target=asks) for _ in range(6)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(plugin.runs) == 1, "they do not wait one after another"
    assert {"did not end within 1 s" in text for text in errors} == {True}
    for number in (*plugin.runs, (plugin.folder / "child").read_text().strip()):
        until(lambda number=number: not runs(number))


def runs(number: str) -> bool:
    path = Path("/proc", number, "stat")
    try:
        return path.read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_failure_is_remembered_for_a_while(plugin: Plugin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials, "REMEMBERED", Backoff(60.0))
    plugin.does("exit 1")
    for api in (plugin.api(), plugin.api()):
        with pytest.raises(EngineAway):
            api.find("Pod", {})
    assert len(plugin.runs) == 1


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo hello", "printed no usable credentials"),
        ("echo '{}'", "printed no usable credentials"),
        (f"echo '{credential()}'", "neither a token nor a certificate"),
        (f"echo '{credential(token='t', expirationTimestamp='soon')}'", "printed no usable credentials"),
        (f"echo '{credential(token='t')}' | sed s/ExecCredential/Secret/", "it is Secret"),
    ],
)
def test_what_is_no_credential_is_an_error(plugin: Plugin, script: str, said: str) -> None:
    plugin.does(script)
    with pytest.raises(EngineAway, match=said):
        plugin.api().find("Pod", {})
    assert Answers.seen == []


def test_a_program_that_is_not_there_is_an_error_of_the_kubeconfig(plugin: Plugin) -> None:
    (plugin.folder / "plugin").unlink()
    with pytest.raises(ConfigError, match=r"cannot be run.*No such file") as caught:
        plugin.api().find("Pod", {})
    assert "kubeconfig" in caught.value.advice


def test_a_program_is_told_that_it_can_ask_no_one(plugin: Plugin) -> None:
    plugin.does(f'echo "$KUBERNETES_EXEC_INFO" >{plugin.folder}/told; cat >>{plugin.folder}/told; exit 1')
    with pytest.raises(EngineAway):
        plugin.api().find("Pod", {})
    assert json.loads((plugin.folder / "told").read_text())["spec"] == {"interactive": False}


def test_a_child_process_runs_the_program_again_and_waits_for_no_thread_of_its_parent(plugin: Plugin) -> None:
    plugin.prints("one")
    plugin.api().find("Pod", {})
    (one,) = plugin.plugins._plugins.values()
    one.lock.acquire()  # as by a thread that does not exist after a fork
    plugin.plugins._owner = os.getppid()
    assert plugin.api().find("Pod", {}) == []
    assert len(plugin.runs) == 2


Change = Callable[[dict[str, Any]], object]


@pytest.mark.parametrize(
    "user",
    [{"auth-provider": {"name": "oidc", "config": {"id-token": "no token"}}}, {"password": "p"}],
    ids=["auth-provider", "password"],
)
def test_credentials_that_cannot_be_read_are_an_error_and_none_at_all_are_not(
    plugin: Plugin, user: dict[str, Any]
) -> None:
    plugin.document["users"][0]["user"] = user
    plugin.config.write_text(json.dumps(plugin.document))
    with pytest.raises(ConfigError, match="names credentials, and none of them could be read"):
        plugin.api().find("Pod", {})
    plugin.document["users"][0]["user"] = {}
    plugin.config.write_text(json.dumps(plugin.document))
    with pytest.raises(Refused, match="401"):
        plugin.api().find("Pod", {})
