"""The activator with real sockets: an application that answers, one that sleeps, and clients of every kind."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from pipeline.adapters.kubernetes.sleep import activator as module
from pipeline.adapters.kubernetes.sleep.activator import REPEATS, Activator, Scales, Settings
from tests.support.ports import free_port

GET = b"GET / HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n"
BROWSER = b"GET / HTTP/1.1\r\nHost: shop\r\nAccept: text/html,*/*;q=0.8\r\n\r\n"
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """An answer with the request in it; then bytes as they come, as after an upgrade."""
    head = await reader.readuntil(b"\r\n\r\n")
    size = next(
        (int(one[15:]) for one in head.lower().split(b"\r\n") if one.startswith(b"content-length:")), 0
    )
    body = await reader.readexactly(size)
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n" + head[:4] + b"%d " % len(body) + body[-8:])
    if b"upgrade" in head.lower():
        while piece := await reader.read(100):
            writer.write(piece.upper())
    writer.close()


@dataclass
class App:
    """Sleeps until its scale is raised."""

    port: int
    handler: Handler = echo
    server: asyncio.Server | None = None
    woken: int = 0
    refuses: OSError | None = None
    stays_asleep: bool = False
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)

    async def start(self) -> None:
        if self.server is None:
            self.server = await asyncio.start_server(self.handler, "127.0.0.1", self.port)

    # What the activator calls, in a thread.

    def look(self) -> None:
        if self.refuses:
            raise self.refuses

    def wake(self) -> bool:
        self.look()
        self.woken += 1
        if not self.stays_asleep:
            asyncio.run_coroutine_threadsafe(self.start(), self.loop).result()
        return True


@dataclass
class Bed:
    app: App
    activator: Activator
    ports: tuple[int, int]

    async def ask(self, request: bytes, port: int = 0) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.ports[port])
        writer.write(request)
        answer = await reader.read()
        writer.close()
        return answer


@asynccontextmanager
async def bed(**changed: Any) -> Any:
    app = App(free_port())
    ports = (free_port(), free_port())
    settings = replace(Settings("shop/dev", ("127.0.0.1", app.port), {}, ports), **changed)
    one = Activator(settings, app)  # type: ignore[arg-type]
    ended = asyncio.Event()
    running = asyncio.ensure_future(one.run(ended))
    while running and not await listens(ports[1]):
        await asyncio.sleep(0.01)
    try:
        yield Bed(app, one, ports)
    finally:
        ended.set()
        if app.server:
            app.server.close()
        await asyncio.wait_for(running, 20)


async def listens(port: int) -> bool:
    with suppress(OSError):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()
        return True
    return False


def run(story: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(story(), 60))  # type: ignore[arg-type]


def test_what_is_awake_is_asked_at_once_and_no_one_is_woken() -> None:
    async def story() -> None:
        async with bed() as one:
            await one.app.start()
            assert await one.ask(GET) == b"HTTP/1.1 200 OK\r\n\r\nGET 0 "
            assert one.app.woken == 0

    run(story)


def test_many_first_requests_wake_it_once_and_none_is_lost() -> None:
    async def story() -> None:
        async with bed() as one:
            answers = await asyncio.gather(*(one.ask(GET) for _ in range(20)))
            assert {answer[:15] for answer in answers} == {b"HTTP/1.1 200 OK"}
            assert one.app.woken == 1
            assert one.activator.meter.count == 20

    run(story)


@pytest.mark.parametrize("size", [0, 1, 5_000_000])
def test_a_body_that_waited_arrives_whole(size: int) -> None:
    async def story() -> None:
        async with bed() as one:
            head = b"POST / HTTP/1.1\r\nAccept: text/html\r\nContent-Length: %d\r\n\r\n" % size
            answer = await one.ask(head + b"x" * (size - 1) + b"y" * min(1, size))
            assert answer.endswith(b"POST%d " % size + (b"x" * (size - 1) + b"y")[-8:] if size else b"POST0 ")

    run(story)


def test_an_upgraded_connection_is_passed_through_both_ways() -> None:
    async def story() -> None:
        async with bed() as one:
            reader, writer = await asyncio.open_connection("127.0.0.1", one.ports[0])
            writer.write(b"GET /ws HTTP/1.1\r\nAccept: text/html\r\nUpgrade: websocket\r\n\r\n")
            await reader.readuntil(b"GET 0 ")
            for word in (b"hello", b"again"):
                before = one.activator.meter.count
                writer.write(word)
                assert await reader.readexactly(5) == word.upper()
                assert one.activator.meter.count == before + 1
            writer.write_eof()
            assert await reader.read() == b""
            writer.close()

    run(story)


def test_a_browser_gets_a_page_that_comes_again_and_others_a_503() -> None:
    async def story() -> None:
        async with bed(page=0.2, wait=0.6) as one:
            one.app.stays_asleep = True
            page, others, posted, nothing = await asyncio.gather(
                one.ask(BROWSER),
                one.ask(GET),
                one.ask(BROWSER.replace(b"GET", b"POST")),
                one.ask(BROWSER.replace(b"GET", b"HEAD")),
            )
            assert b'http-equiv="refresh"' in page
            assert b"shop/dev is starting" in page
            for answer in (page, others, posted, nothing):
                assert answer.startswith(b"HTTP/1.1 503 ")
                assert b"Retry-After: 5" in answer
            assert b"text/plain" in others
            assert b"has not answered within 0.6 s" in posted
            assert nothing.endswith(b"\r\n\r\n")

    run(story)


def test_a_request_too_many_is_refused_at_once() -> None:
    async def story() -> None:
        async with bed(held=1, wait=0.5) as one:
            one.app.stays_asleep = True
            waiting = asyncio.ensure_future(one.ask(GET))
            while not one.activator.meter.open:
                await asyncio.sleep(0.01)
            while not one.app.woken:
                await asyncio.sleep(0.01)
            assert b"too many requests wait" in await one.ask(GET)
            assert b"has not answered" in await waiting

    run(story)


def test_what_cannot_be_woken_says_why_and_is_not_ready() -> None:
    async def story() -> None:
        async with bed(wait=0.3) as one:
            assert (await one.ask(GET, 1)).startswith(b"HTTP/1.1 200")
            one.app.refuses = PermissionError("403: Forbidden")
            answer = await one.ask(GET)
            assert b"it cannot be woken: 403: Forbidden" in answer
            assert (await one.ask(GET, 1)).startswith(b"HTTP/1.1 503")

    run(story)


@pytest.mark.parametrize(
    "what", [b"", b"\x16\x03\x01\x00garbage", b"GET", b"\r\n\r\n", b": \r\n\r\n", b"x" * 100_000]
)
def test_anything_may_come(what: bytes) -> None:
    """A mere connection wakes no one; what is no request waits like one."""

    async def story() -> None:
        async with bed(page=0.1, wait=0.2) as one:
            one.app.stays_asleep = True
            reader, writer = await asyncio.open_connection("127.0.0.1", one.ports[0])
            writer.write(what)
            writer.write_eof()
            answer = await reader.read()
            writer.close()
            assert answer.startswith(b"HTTP/1.1 503") if what else answer == b""
            assert bool(one.app.woken) == bool(what)
            assert one.activator.meter.open == 0

    run(story)


def test_a_client_or_an_application_that_breaks_off_ends_both_sides() -> None:
    async def story() -> None:
        ended = asyncio.Event()

        async def streams(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with suppress(OSError):
                while await asyncio.sleep(0.01, True):
                    writer.write(b"more")
                    await writer.drain()
            ended.set()

        async def breaks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(10)
            writer.transport.abort()

        for handler in (streams, breaks):
            async with bed() as one:
                one.app.handler = handler
                await one.app.start()
                reader, writer = await asyncio.open_connection("127.0.0.1", one.ports[0])
                writer.write(GET)
                if handler is breaks:
                    assert await reader.read() == b""
                else:
                    assert await reader.readexactly(4) == b"more"
                    writer.transport.abort()
                    await ended.wait()
                writer.close()
        assert one.activator.meter.open == 0

    run(story)


@pytest.mark.parametrize(("method", "asked"), [("GET", 2), ("POST", 1)])
def test_what_ends_without_a_word_is_asked_again_if_that_changes_nothing(method: str, asked: int) -> None:
    async def story() -> None:
        requests = list[bytes]()

        async def ends_at_first(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            requests.append(await reader.readuntil(b"\r\n\r\n"))
            if len([one for one in requests if one]) > 1:
                writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            writer.close()

        async with bed() as one:
            one.app.handler = ends_at_first
            await one.app.start()
            answer = await one.ask(GET.replace(b"GET", method.encode()))
            assert answer == (b"HTTP/1.1 200 OK\r\n\r\n" if asked == 2 else b"")
            assert len(requests) == asked

    run(story)


def test_what_always_ends_without_a_word_is_not_asked_for_ever() -> None:
    async def story() -> None:
        requests = list[bytes]()

        async def ends(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            requests.append(await reader.read(100))
            writer.close()

        async with bed() as one:
            one.app.handler = ends
            await one.app.start()
            assert await one.ask(GET) == b""
        assert len([one for one in requests if one]) == REPEATS + 1

    run(story)


def test_the_count_grows_with_each_request_and_with_bytes_that_move() -> None:
    meter = module.Meter()
    assert meter.line() == (0, 0)
    assert meter.line() is None
    turn = module.Turn(meter)
    turn.ask()
    turn.ask()
    assert meter.line() == (1, 1)
    turn.answer()
    turn.answer()
    assert meter.line() == (2, 0)
    assert meter.line() is None
    turn.answer()
    assert meter.line() == (3, 0)


# ── the cluster's API ────────────────────────────────────────────────────────


class Api(BaseHTTPRequestHandler):
    replicas: dict[str, int]
    seen: list[tuple[str, str, str]]

    def do_GET(self) -> None:
        self.answer("")

    def do_PATCH(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.replicas[self.path.partition("?")[0]] = json.loads(body)["spec"]["replicas"]
        self.answer(body)

    def answer(self, body: str) -> None:
        self.seen.append((self.command, self.path, self.headers["Authorization"]))
        count = self.replicas.get(self.path.partition("?")[0])
        self.send_response(403 if count is None else 200)
        self.end_headers()
        # As the API server does: a zero is not written.
        self.wfile.write(json.dumps({"spec": {"replicas": count} if count else {}}).encode())

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def api(**replicas: int) -> Iterator[tuple[type[Api], str]]:
    handler = type(
        "One", (Api,), {"replicas": {f"/{name}/scale": n for name, n in replicas.items()}, "seen": []}
    )
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield handler, f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def test_only_what_sleeps_is_raised(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret\n")
    with api(web=0, worker=3, other=0) as (handler, server):
        scales = Scales({"/web/scale": 2, "/worker/scale": 1, "/other/scale": 1}, tmp_path, server)
        scales.look()
        assert scales.wake()
        assert handler.replicas == {"/web/scale": 2, "/worker/scale": 3, "/other/scale": 1}
        assert not scales.wake()
        assert {one[2] for one in handler.seen} == {"Bearer secret"}
        with pytest.raises(OSError, match="403"):
            Scales({"/foreign/scale": 1}, tmp_path, server).wake()


def test_it_runs_as_a_text_without_anything_of_ours_and_ends_when_it_is_told_to(tmp_path: Path) -> None:
    """As in its pod, where it is the first process; here it has no account, so it says that it is not ready."""
    ports = [free_port(), free_port()]
    given = {"name": "shop/dev", "upstream": ["127.0.0.1", 1], "scales": {"/web/scale": 1}, "ports": ports}
    text = Path(module.__file__).read_text()
    command = [sys.executable, "-I", "-c", text]
    environ = {"ACTIVATOR": json.dumps(given)}
    with subprocess.Popen(command, env=environ, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert "token" in json.loads(process.stdout.readline())["problem"]
        process.terminate()
        assert process.wait(20) == 0
