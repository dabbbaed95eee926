"""A stub of an API server that answers as a test says, and a kubeconfig for it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

Answer = tuple[int, Any]  # status; a document, text, or a list of pieces of a stream
Answers = Callable[[str, str], Answer]  # method, path with its query


@dataclass
class ApiServer:
    """``asked``: the requests so far, as "METHOD /path?query"."""

    kubeconfig: Path
    answers: Answers
    asked: list[str] = field(default_factory=list)


@contextmanager
def serving(folder: Path, answers: Answers) -> Iterator[ApiServer]:
    """An API server until the context ends."""
    api = ApiServer(folder / "config", answers)
    with ThreadingHTTPServer(("127.0.0.1", 0), _handler(api)) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        kubeconfig(api.kubeconfig, f"http://127.0.0.1:{server.server_port}")
        try:
            yield api
        finally:
            server.shutdown()
            thread.join()


def kubeconfig(path: Path, server: str, namespace: str = "shop", **cluster: str) -> Path:
    """A kubeconfig with one context, ``test``."""
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": [{"name": "c", "cluster": {"server": server, **cluster}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "test", "context": {"cluster": "c", "user": "u", "namespace": namespace}}],
    }
    path.write_text(json.dumps(document))
    return path


def status(code: int, reason: str, message: str) -> Answer:
    """An error, as the API server's Status document."""
    return code, {"kind": "Status", "apiVersion": "v1", "reason": reason, "message": message, "code": code}


def listing(*names: str) -> Answer:
    """A list of objects of those names."""
    items = [{"metadata": {"name": name}} for name in names]
    return 200, {"kind": "List", "metadata": {"resourceVersion": "7"}, "items": items}


def _handler(api: ApiServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # one write for each answer

        def _answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            api.asked.append(f"{self.command} {self.path}")
            code, what = api.answers(self.command, self.path)
            if isinstance(what, list):
                return self._stream(code, what)
            body = (what if isinstance(what, str) else json.dumps(what)).encode()
            self.send_response(code)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            return None

        def _stream(self, code: int, pieces: list[bytes]) -> None:
            """Sends the pieces, then breaks the connection."""
            self.send_response(code)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for piece in pieces:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.close_connection = True

        do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = _answer

        def log_message(self, *_args: object) -> None:
            """Logs nothing."""

    return Handler
