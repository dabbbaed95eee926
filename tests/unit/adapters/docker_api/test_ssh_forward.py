"""An Engine over ssh, with a stub instead of ``ssh``; tests/integration/test_docker_over_ssh.py has a real server."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.adapters.docker_api import ssh_forward
from pipeline.adapters.docker_api.api import DockerApi
from pipeline.adapters.docker_api.client import client
from pipeline.errors import EngineFailed, TryAgain

# Notes its arguments, forwards a socket to an Engine that knows its version alone, and ends with its input.
STUB = """\
#!{python}
import json, socket, sys, threading

with open({told!r}, "a") as file:
    file.write(json.dumps(sys.argv[1:]) + "\\n")
if {said!r}:
    sys.exit({said!r})
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[sys.argv.index("-L") + 1].partition(":")[0])
listener.listen()


def serve():
    while True:
        connection, _ = listener.accept()
        head = connection.recv(65536).decode()
        body = '{{"ApiVersion": "1.41", "ServerVersion": "stub", "Custom": "%s"}}' % head.partition("X-Custom: ")[2][:2]
        answer = "HTTP/1.1 200 OK\\r\\nConnection: close\\r\\nContent-Length: %d\\r\\n\\r\\n%s" % (len(body), body)
        connection.sendall(answer.encode())
        connection.close()


threading.Thread(target=serve, daemon=True).start()
print("stands", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The stub's file of arguments. Its folder is the only one in PATH, and the user's own. Its path is short enough
    for a Unix socket, unlike pytest's own folders."""
    with tempfile.TemporaryDirectory(prefix="pl-") as name:
        folder = Path(name)
        (folder / "config.json").write_text('{"HttpHeaders": {"X-Custom": "ok"}}')
        for variable in ("PATH", "TMPDIR", "DOCKER_CONFIG"):
            monkeypatch.setenv(variable, str(folder))
        monkeypatch.setattr(ssh_forward.tempfile, "tempdir", None)
        write_stub(folder)
        yield folder / "told"
        ssh_forward.close_all()
        ssh_forward._FORWARDS.clear()


def write_stub(folder: Path, said: str = "") -> None:
    stub = folder / "ssh"
    stub.write_text(STUB.format(python=sys.executable, told=str(folder / "told"), said=said))
    stub.chmod(0o700)


def test_an_engine_over_ssh_answers_and_is_not_local(told: Path) -> None:
    api = DockerApi(lambda: client(host="ssh://me@engine.example.com:2222/run/other.sock"))
    assert api.info()["ServerVersion"] == "stub"
    assert not api.is_local
    [arguments] = [json.loads(line) for line in told.read_text().splitlines()]
    assert arguments[arguments.index("-L") + 1].endswith(".sock:/run/other.sock")
    assert arguments[arguments.index("-p") :][:4] == ["-p", "2222", "--", "me@engine.example.com"]


def test_requests_have_the_headers_of_the_users_docker_configuration(told: Path) -> None:
    assert DockerApi(lambda: client(host="ssh://engine.example.com")).info()["Custom"] == "ok"


def test_a_forward_that_ended_is_started_again(told: Path) -> None:
    api = DockerApi(lambda: client(host="ssh://engine.example.com"))
    api.info()
    process = ssh_forward.forward_to("ssh://engine.example.com")._process
    assert process
    os.kill(process.pid, 9)
    process.wait()
    assert api.info()["ServerVersion"] == "stub"
    assert len(told.read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("said", "kind"),
    [("me@engine: Permission denied (publickey).", EngineFailed), ("Connection timed out", TryAgain)],
)
def test_a_refused_login_is_not_worth_a_retry(
    told: Path, said: str, kind: type[EngineFailed | TryAgain]
) -> None:
    write_stub(told.parent, said)
    with pytest.raises(kind, match=r"ssh to ssh://engine\.example\.com: ") as raised:
        client(host="ssh://engine.example.com")
    assert said.partition("(")[0].strip() in raised.value.message
