"""Types commands: the real command line, through the real API, on a service of strict fakes."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any, NamedTuple

import pytest
from werkzeug.serving import WSGIRequestHandler, make_server

from pipeline.cli.main import main
from webhooks.app import create_app


class Typed(NamedTuple):
    code: int
    text: str  # output and errors


class _Keyboard(io.TextIOWrapper):
    """Somebody sits there and answers."""

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        raise OSError("no file")


class Typist:
    """A maintainer, mia, at a terminal. Each act of hers is carried as far as it goes before it is answered."""

    def __init__(self, world: Any, port: int) -> None:
        self.world = world
        self.environ = {
            "PUSHLIVE_URL": f"http://127.0.0.1:{port}",
            "PUSHLIVE_TOKEN": world.store.tokens.create("mia", "maintainer"),
            "PUSHLIVE_DATA": str(world.settings.data),
        }

    def types(self, *words: str, answer: str = "") -> Typed:
        """``answer``: what she types if she is asked something."""
        said = io.TextIOWrapper(io.BytesIO(), write_through=True)
        keyboard = _Keyboard(io.BytesIO(f"{answer}\n".encode()))
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(said), redirect_stderr(said):
            patch.setattr("sys.stdin", keyboard)
            patch.setattr("getpass.getpass", lambda _: answer)
            code = main(list(words), self.environ)
        return Typed(code, said.buffer.getvalue().decode())  # type: ignore[attr-defined]


class _Quiet(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log(self, type: str, message: str, *args: Any) -> None:
        pass


@contextmanager
def typist(world: Any) -> Iterator[Typist]:
    turn = threading.RLock()

    def work(pipeline: str, **_: object) -> None:
        with turn:
            world.work(pipeline)

    world.queue.notify = work
    app = create_app(world.commands, world.settings, lambda _: world.settings.data)
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=_Quiet)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield Typist(world, server.server_port)
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
