"""The access log and the figures of a real service, with requests through its real proxy."""

from __future__ import annotations

import json
import re
import socket
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

import docker
from tests.support.developer import web
from tests.support.paths import ROOT
from tests.support.service import Service, running
from tests.support.waiting import until

CONFIG = """
pipelines:
  hello:
    service: {memory: 128MiB, stop: 1s}
    environments: {live: }
"""


@pytest.fixture(scope="module")
def service(docker_client: docker.DockerClient, base_images: None) -> Iterator[Service]:
    more = {"PUSHLIVE_ACCESS_LOG": "urls", "PUSHLIVE_METRICS_TOKEN": "0123456789abcdef0123456789abcdef"}
    with running(docker_client, CONFIG, **more) as one:
        yield one


def ask(service: Service, head: bytes, host: bytes = b"hello-live.localhost") -> bytes:
    address, port = service.proxy.split(":")
    with socket.create_connection((address, int(port)), 5) as connection:
        connection.sendall(head + b"\r\nHost: " + host + b"\r\nConnection: close\r\n\r\n")
        found = b""
        while piece := connection.recv(65536):
            found += piece
    return found


def logged(service: Service, count: int = 200) -> list[dict[str, Any]]:
    text = service.pushlive("logs", "hello", "live", "--access", "--json", "--lines", str(count))
    return [json.loads(one) for one in text.out.splitlines()]


def test_requests_are_logged_with_the_release_that_answered(service: Service) -> None:
    service.push(web(), "One")
    assert ask(service, b'GET /?first=1 HTTP/1.1\r\nUser-Agent: a "b"').startswith(b"HTTP/1.1 200 ")
    ask(service, b"GET /caf%C3%A9?u=https://ann:hunter2@example.com HTTP/1.1\r\nUser-Agent: \xff\xfe")
    ask(service, b"GET /" + b"x" * 5000 + b" HTTP/1.1")
    ask(service, b"GET /elsewhere HTTP/1.1", host=b"nobody.example")
    ask(service, b"HEAD /last HTTP/1.1")
    until(lambda: any(one["path"] == "/last" for one in logged(service)), 20)
    found = logged(service)
    assert [one["path"][:6] for one in found] == ["/?firs", "/caf%C", "/xxxxx", "/last"]
    first = found[0]
    assert (first["status"], first["release"], first["method"]) == (200, "r1", "GET")
    assert (first["host"], first["client"], first["agent"]) == ("hello-live.localhost", "127.0.0.1", 'a "b"')
    assert re.fullmatch(r"[0-9.]+:[0-9]+", first["server"])
    assert first["slot"] in ("blue", "green")
    assert 0 <= first["first_byte_ms"] <= first["ms"] + 1
    assert "hunter2" not in json.dumps(found)
    assert len(found[2]["path"]) == 2000


def test_the_guides_commands_work_as_they_are_written(service: Service) -> None:
    page = (ROOT / "docs" / "guides" / "monitoring.md").read_text()
    commands = re.findall(r"^\$ (.*)$", page, re.MULTILINE)
    assert len(commands) == 4
    token = service.folder / "metrics-token"
    token.write_text(service.environ["PUSHLIVE_METRICS_TOKEN"])
    environ = {
        **service.environ,
        "PUSHLIVE_METRICS_TOKEN_FILE": str(token),
        "PUSHLIVE_URL": f"http://{service.listen}",
    }
    environ.pop("PUSHLIVE_METRICS_TOKEN")
    for command in commands:
        done = subprocess.run(
            ["bash", "-c", f"set -o pipefail; {command}"],
            env=environ,
            cwd=ROOT,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, (command, done.stdout, done.stderr)


def test_a_service_that_was_away_writes_again(service: Service) -> None:
    service.end()
    ask(service, b"GET /lost HTTP/1.1")
    service.up()

    def again() -> bool:
        ask(service, b"GET /again HTTP/1.1")
        return any(one["path"] == "/again" for one in logged(service))

    until(again, 20)
    assert "/lost" not in [one["path"] for one in logged(service)]
