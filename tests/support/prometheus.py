"""A real Prometheus that scrapes a small exporter, on ports of their own."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from pipeline.adapters.http.prometheus import Prometheus
from pipeline.errors import TryAgain
from tests.support.ports import free_ports
from tests.support.waiting import until


@dataclass
class Exporter:
    """``counters``: what it says, by the series as it is written: ``requests_total{status="200"}``; ``stop``: ends the
    Prometheus, not the exporter."""

    url: str
    counters: dict[str, float] = field(default_factory=dict)
    stop: Callable[[], object] = lambda: None

    def add(self, more: Mapping[str, float]) -> None:
        for name, value in more.items():
            self.counters[name] = self.counters.get(name, 0.0) + value

    def text(self) -> str:
        return "# TYPE requests_total counter\n" + "".join(f"{k} {v}\n" for k, v in self.counters.items())

    def is_known(self, query: str) -> bool:
        """Whether the last scrape brought what it says now."""
        try:
            found = Prometheus().counters(self.url, query, None)
        except TryAgain:
            return False
        return sum(found.values()) == sum(self.counters.values())


@contextmanager
def prometheus() -> Iterator[Exporter]:
    """One that scrapes the exporter once a second."""
    port = free_ports(1)
    found = Exporter(f"http://127.0.0.1:{port}")
    with served(lambda _: (200, "text/plain; version=0.0.4", found.text())) as address:
        config = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
            "scrape_configs": [{"job_name": "app", "static_configs": [{"targets": [address]}]}],
        }
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "prometheus.yml"
            file.write_text(json.dumps(config))
            words = [
                "prometheus", f"--config.file={file}", f"--storage.tsdb.path={folder}/data",
                f"--web.listen-address=127.0.0.1:{port}", "--log.level=error",
            ]  # fmt: skip
            with subprocess.Popen(words) as process:
                found.stop = process.terminate
                try:
                    until(lambda: _answers(found), 60)
                    yield found
                finally:
                    process.terminate()


def _answers(found: Exporter) -> bool:
    try:
        Prometheus().counters(found.url, "up == 1", None)
    except TryAgain:
        return False
    return True


@contextmanager
def served(answer: object) -> Iterator[str]:
    """``host:port`` of a server that gives every request what ``answer(handler)`` returns: status, type and text."""

    class Answers(BaseHTTPRequestHandler):
        body = b""

        def do_GET(self) -> None:
            # One that is left unread resets the connection under the answer.
            self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, kind, text = answer(self)  # type: ignore[operator]
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
