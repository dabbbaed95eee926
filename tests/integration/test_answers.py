"""What the proxy counts of a slot's answers."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

from pipeline.adapters.http.probe import HttpProbe
from pipeline.domain.engine_types import Answered
from pipeline.errors import PushliveError
from tests.conftest import Bench
from tests.support.waiting import until

# It answers 200, 404 and 500, and breaks off an answer that has begun.
SERVER = """\
import http.server

class Answers(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        status = {"/missing": 404, "/error": 500}.get(self.path, 200)
        self.send_response(status)
        self.send_header("Content-Length", "1000" if self.path == "/broken" else "2")
        self.end_headers()
        self.wfile.write(b"ok")
        self.close_connection = self.path == "/broken"

    def log_message(self, *_):
        pass

http.server.ThreadingHTTPServer(("0.0.0.0", 8080), Answers).serve_forever()
"""


def test_answers_and_errors_are_counted_and_health_checks_are_not(bench: Bench) -> None:
    spec = replace(bench.spec(command=("python", "-c", SERVER), memory=128 << 20), image="python:3.11-slim")
    bench.deploy(spec)
    engine, probe, route = bench.engine, HttpProbe(), bench.engine.public(spec)
    before = engine.answered(spec.ref)
    assert before is not None

    def counted() -> Answered:
        now = engine.answered(spec.ref)
        assert now is not None
        return Answered(now.requests - before.requests, now.errors - before.errors)

    for path in ("/", "/", "/missing", "/error"):
        probe.get(route, path, 5)
    until(lambda: counted() == Answered(4, 1), 10)
    with suppress(PushliveError):
        probe.get(route, "/broken", 5)
    until(lambda: counted() == Answered(5, 2), 10)
    assert (engine.sent(spec.ref) or 0) > 4 * len(b"HTTP/1.1 200 OK")
