"""A small real HTTP server that answers as docs/api.md says, with data that tests can change.

PYTEST_DONT_REWRITE: there is no assertion in here.
"""

from __future__ import annotations

import copy
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

import pytest

from pipeline.cli.main import main

NOW = time.time()
TOKEN = "pl_secret"
TOKEN_ROW = {
    "name": "ci",
    "role": "developer",
    "created": NOW - 2.5 * 86400,
    "expires": NOW + 4.5 * 86400,
    "used": 0,
}


def environment(name: str, index: int, **changes: Any) -> dict[str, Any]:
    return {
        "name": name,
        "release": 17,
        "commit": "3f2a9c1d" * 5,
        "message": "Say hello in two languages",
        "since": NOW - 200,
        "slot": "green" if index % 2 else "blue",
        "hold": None,
        "revert": {"ready": True, "release": 16, "how": "warm", "text": "revert ready: r16, warm"},
        "url": f"http://127.0.0.1:{20000 + index}",
        "host_url": f"http://hello-{name}.localhost:7080",
        "quarantine": [],
        "manual": False,
        "problem": "",
    } | changes


def run(**changes: Any) -> dict[str, Any]:
    return {
        "pipeline": "hello",
        "number": 42,
        "id": "hello#42",
        "short": "3f2a9c1",
        "kind": "push",
        "commit": "3f2a9c1d" * 5,
        "ref": "refs/heads/main",
        "stages": ["build", "dev", "qa", "live"],
        "accepted": NOW - 200,
        "started": NOW - 199.98,
        "image_ready": NOW - 199.5,
        "ended": NOW - 198.2,
        "pusher": "ana",
        "by": "",
        "message": "Say hello in two languages",
        "state": "ended",
        "outcome": "live",
        "revert": True,
        "reason": "",
        "release": 17,
        "stage": "live",
        "gate": "",
        "human": 0.0,
        "checks": {
            "dev": [
                {
                    "asked": "GET /healthz",
                    "ok": True,
                    "answer": "200 in 3 ms",
                    "seconds": 0.003,
                    "attempts": 1,
                }
            ],
            "qa": [
                {
                    "asked": "GET /healthz",
                    "ok": True,
                    "answer": "200 in 2 ms",
                    "seconds": 0.002,
                    "attempts": 2,
                }
            ],
        },
        "failure": None,
        "seconds": 1.8,
    } | changes


def timing(**changes: Any) -> dict[str, Any]:
    def stage(name: str, steps: dict[str, float]) -> dict[str, Any]:
        made = [{"step": s, "seconds": t, "ok": True, "detail": ""} for s, t in steps.items()]
        return {"stage": name, "seconds": sum(steps.values()), "steps": made}

    deploy = {"start": 0.31, "smoke": 0.02, "switch": 0.004, "verify": 0.01}
    return {
        "queue": 0.02,
        "human": 0.0,
        "machine": 1.78,
        "deploy": 1.3,
        "whole": 1.8,
        "budget": {"deploy": 300.0, "whole": 600.0},
        "left": 298.7,
        "over": "",
        "serious": False,
        "stages": [
            stage("build", {"fetch": 0.03, "build": 0.41, "push": 0.0}),
            *(stage(name, deploy) for name in ("dev", "qa", "live")),
        ],
    } | changes


FAILURE = {
    "stage": "dev",
    "step": "smoke",
    "whose": "application",
    "message": "GET /healthz answered 500 instead of 200.",
    "advice": "Push a fix; nothing moved. The failed container is kept for ten minutes.",
    "evidence": ["hello-dev-blue-r18-1 │ KeyError: 'GREETING'", "exit code: still running"],
    "differs": ["env GREETING: 'hello' → (not set)"],
}


def event(kind: str, stage: str = "", step: str = "", text: str = "", **data: Any) -> dict[str, Any]:
    return {"kind": kind, "at": time.time(), "text": text, "stage": stage, "step": step, "data": data}


Answer = tuple[int, Any] | Callable[["Handler"], None]


class Stub(ThreadingHTTPServer):
    """``answers``: (method, path) → (status, JSON), or a function that writes the answer.
    ``asked``: every request as (method, path with query, body)."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[tuple[str, str, Any]] = []
        self.status = {
            "pipelines": [
                {
                    "name": "hello",
                    "branch": "main",
                    "source": "built-in git server",
                    "environments": [environment(n, i) for i, n in enumerate(("dev", "qa", "live"))],
                    "run": run(),
                    "waiting": None,
                }
            ],
            "config_error": "",
        }
        self.shown = {
            "run": run(),
            "timing": timing(),
            "release": {"number": 17, "image": "sha256:" + "ab" * 32},
        }
        self.events: list[dict[str, Any]] = [
            {
                "id": "1-0",
                "event": event("accepted", text="x"),
                "lines": ["hello#42 accepted: 3f2a9c1 Say hello"],
            },
            {"id": "2-0", "event": event("step", "build", "fetch", seconds=0.03, ok=True), "lines": []},
            {
                "id": "3-0",
                "event": event("stage", "build", seconds=0.44),
                "lines": ["build    0.44s  fetch 0.03s"],
            },
            {"id": "4-0", "event": event("end", text="live"), "lines": ["hello#42 live in 1.80s"]},
            {"end": {"state": "ended", "outcome": "live"}},
        ]
        self.pause = 0.0  # seconds between two events
        self.answers: dict[tuple[str, str], Answer] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def waits(self) -> dict[str, Any]:
        """From now on run 42 waits before live."""
        waiting = run(state="waiting", outcome=None, gate="live", ended=0.0)
        self.shown["run"] = waiting
        self.status["pipelines"][0]["waiting"] = waiting  # type: ignore[index]
        return waiting

    def usual(self, method: str, path: str) -> Answer:
        """The API's answer unless a test has set another."""
        parts = path.strip("/").split("/")[1:]
        if method == "GET" and parts[0] == "runs" and len(parts) == 1:
            return 200, {"runs": [self.shown["run"]]}
        if method == "GET" and parts[0] == "runs" and len(parts) == 3:
            return 200, self.shown
        if method == "GET" and parts[0] == "runs":
            return Handler.stream if parts[3] == "events" else Handler.log
        if method == "POST" and parts[-1] in ("deploy", "revert", "promote", "retry", "cancel"):
            return 202, {"run": "hello#42"}
        if method == "POST" and parts[-1] in ("hold", "resume", "withdraw", "unquarantine", "gc"):
            return 200, {"messages": [f"{parts[-1]} done"]}
        other: dict[tuple[str, str], Answer] = {
            ("GET", "/api/status"): (200, self.status),
            ("GET", "/api/doctor"): (
                200,
                {"checks": [{"name": "store", "ok": True, "text": "0.2 ms", "advice": ""}]},
            ),
            ("GET", "/api/tokens"): (200, {"tokens": [TOKEN_ROW]}),
            ("POST", "/api/tokens"): (201, {"name": "ci", "role": "developer", "token": "pl_new"}),
            ("DELETE", "/api/tokens/ci"): (200, {}),
            ("POST", "/api/plan"): (
                200,
                {
                    "problems": [],
                    "warnings": [],
                    "pipelines": {"hello": {"dev": ["memory: 128 MiB → 256 MiB"]}},
                },
            ),
        }
        return other.get(
            (method, path), (404, {"error": f"there is no {path}", "advice": "Look at docs/api.md."})
        )


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Stub

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        parts = urlsplit(self.path)
        self.query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        self.server.asked.append((self.command, self.path, body))
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self.answer(401, {"error": "the token is missing or wrong", "advice": ""})
        found = self.server.answers.get((self.command, parts.path)) or self.server.usual(
            self.command, parts.path
        )
        if callable(found):
            return found(self)
        return self.answer(*found)

    do_POST = do_PUT = do_DELETE = do_GET

    def answer(self, status: int, value: Any, **headers: str) -> None:
        self.raw(status, json.dumps(value).encode(), **headers)

    def raw(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def begin(self) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def chunk(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    def stream(self) -> None:
        self.begin()
        after = self.query.get("after", "")
        for message in copy.deepcopy(self.server.events):
            if "id" in message and after and message["id"] <= after:
                continue
            self.chunk(b"\n" + json.dumps(message).encode() + b"\n")
            time.sleep(self.server.pause)
        self.chunk(b"")

    def log(self) -> None:
        self.begin()
        stage = self.query.get("stage", "")
        for line in ("build   │ made\n", "dev     │ \x1b[31mstarted\x1b[0m \x1b]0;evil\x07\x9b2J\n"):
            if line.startswith(stage):
                self.chunk(line.encode())
        self.chunk(b"")


@contextmanager
def serving() -> Iterator[Stub]:
    stub = Stub()
    thread = threading.Thread(target=stub.serve_forever, args=(0.005,), daemon=True)
    thread.start()
    try:
        yield stub
    finally:
        stub.shutdown()
        thread.join()
        stub.server_close()


class Told(NamedTuple):
    """A command's output and exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def stub() -> Iterator[Stub]:
    with serving() as server:
        yield server


@pytest.fixture
def pushlive(
    stub: Stub, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., Told]:
    """``pushlive("show", "hello#42")`` runs the command in this process, in an empty folder and home."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        "time.time", lambda: NOW
    )  # so that ages fit the stub's records, however long the suite takes

    def command(*words: str, **environ: str) -> Told:
        code = main(words, {"PUSHLIVE_URL": stub.url, "PUSHLIVE_TOKEN": TOKEN} | environ)
        return Told(code, *capsys.readouterr())

    return command
