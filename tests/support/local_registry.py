"""A real registry on a loopback port, which can be stopped and started, and two that misbehave."""

from __future__ import annotations

import http.server
import json
import shutil
import socket
import subprocess
import tempfile
import threading
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from pipeline.domain.engine_types import Login
from pipeline.lib.secret import Secret
from tests.support.ports import free_ports
from tests.support.waiting import until

USER, PASSWORD = "me", "opensesame-1"
# bcrypt of PASSWORD, as from `htpasswd -B`: Debian's registry supports no other kind.
HTPASSWD = f"{USER}:$2b$05$vyf3XDjH8wla73BBN5dPx.VXp9Se4z4MyyHVu3GcVekA8gTNQ57Qe\n"
CONFIG = """\
version: 0.1
log: {level: error, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: FOLDER/images}}
http: {addr: ADDRESS}
"""
AUTH = "auth: {htpasswd: {realm: test, path: FOLDER/htpasswd}}\n"
INDEX = "application/vnd.docker.distribution.manifest.v2+json"


class LocalRegistry:
    """``docker-registry serve``; with ``login`` it requires USER and PASSWORD."""

    def __init__(self, folder: Path, login: bool) -> None:
        self.host = f"127.0.0.1:{free_ports(1)}"
        self.login = Login(USER, Secret(PASSWORD), "hello REGISTRY") if login else None
        self._folder, self._process = folder, None
        text = CONFIG + (AUTH if login else "")
        (folder / "config.yml").write_text(text.replace("FOLDER", str(folder)).replace("ADDRESS", self.host))
        (folder / "htpasswd").write_text(HTPASSWD)

    def start(self) -> None:
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                ["docker-registry", "serve", self._folder / "config.yml"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        until(lambda: self._status("/v2/") in (200, 401))

    def stop(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait(10)
            self._process = None

    def tags(self, repository: str) -> dict[str, str]:
        """Every tag of ``HOST/NAME`` with its manifest's digest, as the registry has them."""
        name = repository.partition("/")[2]
        _, body = self._get(f"/v2/{name}/tags/list")
        tags = json.loads(body)["tags"] or []
        return {tag: self._get(f"/v2/{name}/manifests/{tag}")[0] for tag in tags}

    def _get(self, path: str) -> tuple[str, bytes]:
        basic = b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        headers = {"Accept": INDEX, "Authorization": f"Basic {basic}"}
        with urllib.request.urlopen(
            urllib.request.Request(f"http://{self.host}{path}", headers=headers)
        ) as answer:
            return answer.headers.get("Docker-Content-Digest", ""), answer.read()

    def _status(self, path: str) -> int:
        try:
            return len(self._get(path)) and 200
        except urllib.error.HTTPError as error:
            with error:
                return error.code
        except OSError:
            return 0


@contextmanager
def registry(*, login: bool = False, up: bool = True) -> Iterator[LocalRegistry]:
    folder = Path(tempfile.mkdtemp(prefix="registry-"))
    one = LocalRegistry(folder, login)
    try:
        if up:
            one.start()
        yield one
    finally:
        one.stop()
        shutil.rmtree(folder, ignore_errors=True)


class _Failing(http.server.BaseHTTPRequestHandler):
    """Has every layer already, so that it comes to the manifest at once: where a layer is refused, Docker itself tries
    again for 50 s."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_HEAD = do_GET

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_error(503)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def failing() -> Iterator[str]:
    """The host of a registry that answers 503 to everything."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Failing) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@contextmanager
def silent() -> Iterator[str]:
    """The host of a registry that accepts every connection and never answers."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        taken: list[socket.socket] = []

        def take() -> None:
            with suppress(OSError):
                while True:
                    taken.append(server.accept()[0])

        thread = threading.Thread(target=take, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
        thread.join()
        for one in taken:
            one.close()
