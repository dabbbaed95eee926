"""A proxy to the API server that can cut connections, fall silent, or answer itself: what clients see when the API
server restarts, is overloaded or cannot be reached. Otherwise it forwards each request unchanged, and streams as they
come."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

OWN = {"connection", "transfer-encoding", "content-length", "host"}  # headers of a single connection
Answer = tuple[int, str]  # an HTTP status and its reason
REASONS = {409: "Conflict", 429: "TooManyRequests", 500: "InternalError", 503: "ServiceUnavailable"}


class Gateway:
    """Use it as a context manager. ``url``: the server for a kubeconfig, plain HTTP on loopback."""

    def __init__(self, kubeconfig: Path) -> None:
        cluster = yaml.safe_load(kubeconfig.read_text())["clusters"][0]["cluster"]
        parts = urlsplit(cluster["server"])
        self._address = (parts.hostname or "", parts.port or 443)
        self._tls = ssl.create_default_context(cadata=_text(cluster))
        self._clients: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._open = threading.Event()
        self._open.set()
        self._silent = False
        self._refusals: list[Callable[[str, str], int]] = []
        self.refused = 0  # how many requests it answered itself
        gateway = self

        class Handler(_Handler):
            proxy = gateway

        self._server = _Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Gateway:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.set()
        self._end_all()
        self._server.shutdown()
        self._server.server_close()

    # ── faults ───────────────────────────────────────────────────────────────

    def cut(self) -> None:
        """Ends every connection, and every new one at once."""
        self._open.clear()
        self._end_all()

    def silence(self) -> None:
        """Keeps connections open and answers no new request."""
        self._silent = True
        self._open.clear()

    def restore(self) -> None:
        """Ends `cut` or `silence`."""
        self._silent = False
        self._open.set()

    def drop_streams(self) -> None:
        """Ends every connection; new ones work."""
        self._end_all()

    def answer(self, chosen: Callable[[str, str], int]) -> None:
        """``chosen``: from method and path to the status to answer with, 0 to forward the request."""
        self._refusals = [chosen]

    def forward_all(self) -> None:
        self._refusals = []

    # ── for the handlers ─────────────────────────────────────────────────────

    def enter(self, client: socket.socket) -> None:
        with self._lock:
            self._clients.add(client)

    def leave(self, client: socket.socket) -> None:
        with self._lock:
            self._clients.discard(client)

    def passes(self) -> bool:
        """False if the connection must end; blocks during `silence`."""
        if self._silent:
            self._open.wait()
        return self._open.is_set()

    def own_status(self, method: str, path: str) -> int:
        status = next(filter(None, (chosen(method, path) for chosen in self._refusals)), 0)
        self.refused += bool(status)
        return status

    def upstream(self) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection(*self._address, context=self._tls)

    def tunnel(self) -> socket.socket:
        """A connection to the API server of its own."""
        plain = socket.create_connection(self._address, timeout=20)
        plain.settimeout(None)
        return self._tls.wrap_socket(plain, server_hostname=self._address[0])

    def _end_all(self) -> None:
        with self._lock:
            for client in self._clients:
                with suppress(OSError):
                    client.shutdown(socket.SHUT_RDWR)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignores broken connections: tests cut them."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: Gateway

    def setup(self) -> None:
        super().setup()
        self.above = self.proxy.upstream()  # one for each connection of a client, as without a gateway
        self.proxy.enter(self.connection)

    def finish(self) -> None:
        self.proxy.leave(self.connection)
        self.above.close()
        with suppress(OSError):
            super().finish()

    def log_message(self, format: str, *args: Any) -> None:
        return

    def _pass(self) -> None:
        if "upgrade" in self.headers.get("Connection", "").lower():
            self._tunnel()
            return
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if not self.proxy.passes():
            self.close_connection = True
            return
        if status := self.proxy.own_status(self.command, self.path):
            self._say(status, {"Content-Type": "application/json"}, _status(status))
            return
        headers = {name: value for name, value in self.headers.items() if name.lower() not in OWN}
        self._pass_back(self._answer(body, headers))

    def _tunnel(self) -> None:
        """A command in a pod: after the head, bytes of another protocol go both ways until either side ends."""
        self.close_connection = True
        if not self.proxy.passes():
            return
        lines = [self.requestline, *(f"{name}: {value}" for name, value in self.headers.items()), "", ""]
        with self.proxy.tunnel() as above:
            above.sendall("\r\n".join(lines).encode("latin-1"))
            back = threading.Thread(target=_copy, args=(above, self.connection), daemon=True)
            back.start()
            _copy(self.connection, above)
            back.join(5)

    def _answer(self, body: bytes, headers: dict[str, str]) -> http.client.HTTPResponse:
        kept = self.above.sock is not None
        try:
            self.above.request(self.command, self.path, body or None, headers)
            return self.above.getresponse()
        except (OSError, http.client.HTTPException):
            self.above.close()
            if not kept:
                raise
        # The API server closed the connection while nothing was asked on it.
        self.above.request(self.command, self.path, body or None, headers)
        return self.above.getresponse()

    def _pass_back(self, answer: http.client.HTTPResponse) -> None:
        headers = {name: value for name, value in answer.getheaders() if name.lower() not in OWN}
        if answer.length is not None:
            self._say(answer.status, headers, answer.read())
            return
        self._head(answer.status, headers | {"Transfer-Encoding": "chunked"})
        while piece := answer.read1(65536):
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        self.wfile.write(b"0\r\n\r\n")

    def _say(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self._head(status, headers | {"Content-Length": str(len(body))})
        self.wfile.write(body)

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _pass


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(65536):
            target.sendall(piece)
    with suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)


def _status(code: int) -> bytes:
    """A failure, as the API server's Status document."""
    reason = REASONS.get(code, "Unknown")
    said = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": code}
    return json.dumps({**said, "message": f"a test says {reason}"}).encode()


def _text(cluster: dict[str, str]) -> str:
    import base64

    if "certificate-authority-data" in cluster:
        return base64.b64decode(cluster["certificate-authority-data"]).decode()
    return Path(cluster["certificate-authority"]).read_text()
