"""Passes the connections of one slot on to its Service, counts what comes, and wakes the slot if nothing answers there.

It runs in a pod of its own, as ``python -c`` with this file's text: only the standard library, and nothing of Pushlive.
What it needs is in the environment variable ACTIVATOR (``Settings``). Every few seconds in which there was traffic it
prints a line, ``{"count": 7, "open": 1}``: the count grows as long as anyone sends or receives anything, and so many
requests have no answer yet.

Bytes are passed on as they are, so bodies, streams and upgraded connections need nothing of their own. Only while
nothing answers is a request looked at: a browser's GET gets a page that says so and comes again by itself. Every other
request waits; it is answered 503 once its time is over, or if too many wait already.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import ssl
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PIECE = 1 << 16  # bytes read at once
HEAD = 1 << 15  # bytes: a longer head than that is not looked at
CONNECT = 2.0  # seconds for one attempt: a pod that is gone does not refuse, it does not answer at all
RETRY = 0.1  # seconds between two attempts
REPEATS = 4  # how often a request is sent that got no word in answer, if it changes nothing
ASK = 2.0  # seconds between two looks at the number of replicas while requests wait
SILENT = 75.0  # seconds for the first byte of a connection
GRACE = 25.0  # seconds for open connections once it is told to end
LINGER = 2.0  # seconds in which what a refused client still sends is read, so that it reads the answer
REPORT = 2.0  # seconds between two lines
ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
UNAVAILABLE = "503 Service Unavailable"
MERGE = "application/merge-patch+json"
TEXT = "503: {name} has not answered within {seconds:g} s. Try again in a moment.\n"
FULL = "503: {name} is starting, and too many requests wait for it already. Try again in a moment.\n"
WHY = "For its operators: it cannot be woken: {problem}. See `pushlive status`.\n"
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta http-equiv="refresh" content="2"><title>{name} is starting</title>
<body style="font: 1.1rem system-ui, sans-serif; margin: 20vh auto; max-width: 32rem; padding: 0 1rem">
<h1>{name} is starting</h1><p>It sleeps while no one uses it. This page loads again by itself.</p>
"""


@dataclass(frozen=True)
class Settings:
    """``upstream``: the Service's host and port; ``scales``: the API path of each scale, with the number of replicas
    that it has awake; ``page``, ``wait``: seconds until a browser gets the page, and until any other request gets a
    503; ``held``: how many wait at most; ``ports``: of the connections, and of the answer to the cluster's probes."""

    name: str
    upstream: tuple[str, int]
    scales: dict[str, int]
    ports: tuple[int, int] = (8080, 8081)
    page: float = 3.0
    wait: float = 60.0
    held: int = 500


class Scales:
    """The numbers of replicas, through the cluster's API. Its calls block."""

    def __init__(self, scales: dict[str, int], folder: Path = ACCOUNT, server: str = "") -> None:
        host, port = (
            os.environ.get("KUBERNETES_SERVICE_HOST", ""),
            os.environ.get("KUBERNETES_SERVICE_PORT", "443"),
        )
        self._scales, self._folder = scales, folder
        self._server = server or f"https://{f'[{host}]' if ':' in host else host}:{port}"

    def look(self) -> None:
        """Raises OSError if one of them cannot be read."""
        for path in self._scales:
            self._request("GET", path)

    def wake(self) -> bool:
        """Raises those that are 0; whether there were any. What others have set stays."""
        asleep = [path for path in self._scales if not self._request("GET", path)["spec"].get("replicas")]
        for path in asleep:
            self._request(
                "PATCH", f"{path}?fieldManager=pushlive", {"spec": {"replicas": self._scales[path]}}
            )
        return bool(asleep)

    def _request(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        token = (self._folder / "token").read_text()  # each time: the cluster renews it
        headers = {"Authorization": f"Bearer {token.strip()}", "Content-Type": MERGE}
        sent = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._server + path, sent, headers, method=method)  # noqa: S310
        authority = self._folder / "ca.crt"
        context = ssl.create_default_context(cafile=str(authority)) if authority.exists() else None
        with urllib.request.urlopen(request, timeout=10, context=context) as answer:  # noqa: S310
            found: dict[str, Any] = json.load(answer)
        return found


def say(**what: object) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


@dataclass
class Meter:
    """How much comes: ``count`` grows with each request, and each time that is looked if bytes have moved since."""

    count: int = 0
    open: int = 0  # requests without a byte of an answer yet
    moved: bool = False
    said: tuple[int, int] = (-1, 0)

    def line(self) -> tuple[int, int] | None:
        """The count and what is open; None if both were reported already."""
        if self.moved and self.count == self.said[0]:
            self.count += 1
        self.moved = False
        now = (self.count, self.open)
        if now == self.said:
            return None
        self.said = now
        return now


@dataclass
class Turn:
    """One connection's share of it: it asks, it is answered, it asks again."""

    meter: Meter
    asks: bool = False

    def ask(self) -> None:
        self.meter.moved = True
        if not self.asks:
            self.asks = True
            self.meter.count += 1
            self.meter.open += 1

    def answer(self) -> None:
        self.meter.moved = True
        if self.asks:
            self.asks = False
            self.meter.open -= 1


@dataclass
class Held:
    """A request that waits, and what of it has been read: of its body only what came along with its head."""

    reader: asyncio.StreamReader
    data: bytes
    since: float = field(default_factory=time.monotonic)

    async def whole_head(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while b"\r\n\r\n" not in self.data and len(self.data) < HEAD:
                    if not (piece := await self.reader.read(PIECE)):
                        return
                    self.data += piece

    def waited(self) -> float:
        return time.monotonic() - self.since

    def is_safe(self) -> bool:
        """True if it may be sent once more: it changes nothing."""
        return self.data.startswith((b"GET ", b"HEAD ", b"OPTIONS "))

    def is_browsers(self) -> bool:
        """True for a GET that wants a page: nothing is lost if it comes again."""
        lines = self.data.partition(b"\r\n\r\n")[0].decode("latin-1").lower().split("\r\n")
        names = dict(line.partition(":")[::2] for line in lines[1:])
        page = "text/html" in names.get("accept", "")
        return lines[0].startswith("get ") and page and "upgrade" not in names


class Activator:
    """``scales``: anything with the methods of ``Scales``."""

    def __init__(self, settings: Settings, scales: Scales) -> None:
        self._settings, self._scales = settings, scales
        self.meter, self._held = Meter(), 0
        self.problem: str | None = "it has not asked the cluster yet"
        self._waking: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._up = asyncio.Event()  # the slot has answered since it was looked at
        self._connections = 0

    # ── a connection ─────────────────────────────────────────────────────────

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Nothing is asked of the slot before the client has said something: a mere connection wakes no one."""
        turn = Turn(self.meter)
        self._connections += 1
        try:
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(SILENT):
                    data = await reader.read(PIECE)
                if data:
                    turn.ask()
                    await self._pass_on(Held(reader, data), writer, turn)
        finally:
            turn.answer()
            self._connections -= 1
            await _end(writer)

    async def _pass_on(self, held: Held, writer: asyncio.StreamWriter, turn: Turn) -> None:
        way = await self._connect()
        for left in range(REPEATS, -1, -1):
            # One that is there may just be ending: a cluster leads to it until it has.
            if way and (await _splice(held, writer, *way, turn) or not left):
                return
            if self._held >= self._settings.held:
                await self._refuse(held, writer, FULL)
                return
            self._held += 1
            try:
                way = await self._awaited(held, writer)
            finally:
                self._held -= 1
            if way is None:
                return
            if left < REPEATS:
                await asyncio.sleep(RETRY)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        try:
            async with asyncio.timeout(CONNECT):
                return await asyncio.open_connection(*self._settings.upstream)
        except (OSError, TimeoutError):
            return None

    # ── waking ───────────────────────────────────────────────────────────────

    async def _awaited(
        self, held: Held, writer: asyncio.StreamWriter
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        limits = self._settings
        self._watch()
        await held.whole_head(limits.page)
        browser = held.is_browsers()
        while (left := (limits.page if browser else limits.wait) - held.waited()) > 0:
            self._watch()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._up.wait()
                    if way := await self._connect():
                        return way
                    await asyncio.sleep(RETRY)
        if browser:
            await _answer(held, writer, PAGE.format(name=limits.name), "text/html")
        else:
            await self._refuse(held, writer, TEXT)
        return None

    def _watch(self) -> None:
        """However many requests wait, one looks whether the slot answers."""
        if self._watching is None or self._watching.done():
            self._up.clear()
            self._watching = asyncio.ensure_future(self._until_up())

    async def _until_up(self) -> None:
        while self._held:
            self._wake()
            if way := await self._connect():
                await _end(way[1])
                self._up.set()
                return
            await asyncio.sleep(RETRY)

    async def _refuse(self, held: Held, writer: asyncio.StreamWriter, text: str) -> None:
        said = text.format(name=self._settings.name, seconds=self._settings.wait)
        why = WHY.format(problem=self.problem) if self.problem else ""
        await _answer(held, writer, said + why, "text/plain")

    def _wake(self) -> None:
        """However many ask for it, it is done once at a time, and not more often than every few seconds."""
        if self._waking is None or self._waking.done():
            self._waking = asyncio.ensure_future(self._raise())

    async def _raise(self) -> None:
        try:
            if await asyncio.to_thread(self._scales.wake):
                say(woke=round(time.time(), 3))
            self.problem = None
        except (OSError, ValueError) as error:
            self._report(error)
        await asyncio.sleep(ASK)

    def _report(self, error: Exception) -> None:
        text = f"{error}"
        if self.problem != text:
            self.problem = text
            say(problem=text)

    # ── beside them ──────────────────────────────────────────────────────────

    async def probe(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """The cluster's question whether it may get connections: only if it could wake the slot."""
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(5):
                head = await reader.read(PIECE)
            status = UNAVAILABLE if self.problem else "200 OK"
            await _write(writer, status, f"{self.problem or 'ready'}\n", "text/plain", Held(reader, head))
        await _end(writer)

    async def run(self, ended: asyncio.Event) -> None:
        """Until it is told to end; then what is open has a while to finish."""
        limit = PIECE // 4  # of what is read ahead of a request that waits
        public = await asyncio.start_server(
            self.serve, None, self._settings.ports[0], limit=limit, backlog=1024
        )
        probes = await asyncio.start_server(self.probe, None, self._settings.ports[1])
        while not ended.is_set():
            if self.problem:
                await self._ask()
            if line := self.meter.line():
                say(count=line[0], open=line[1])
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(REPORT):
                    await ended.wait()
        public.close()
        until = time.monotonic() + GRACE
        while self._connections and time.monotonic() < until:
            await asyncio.sleep(RETRY)
        probes.close()

    async def _ask(self) -> None:
        try:
            await asyncio.to_thread(self._scales.look)
            self.problem = None
        except (OSError, ValueError) as error:
            self._report(error)


async def _splice(
    held: Held,
    writer: asyncio.StreamWriter,
    theirs: asyncio.StreamReader,
    there: asyncio.StreamWriter,
    turn: Turn,
) -> bool:
    """Until the application has ended its side, or the client is gone. A client that has only ended its own side still
    gets its answer. False if the application ended it without a word, and the request may be sent once more."""
    more = 0

    def asks() -> None:
        nonlocal more
        more += 1
        turn.ask()

    there.write(held.data)
    sends = asyncio.ensure_future(_send(held.reader, there, asks))
    answers = asyncio.ensure_future(_copy(theirs, writer, turn.answer))
    try:
        await asyncio.wait({sends, answers}, return_when=asyncio.FIRST_COMPLETED)
        if not answers.done() and sends.exception() is None:
            await answers
    finally:
        for one in (sends, answers):
            one.cancel()
        _, answered = await asyncio.gather(sends, answers, return_exceptions=True)
        await _end(there)
    silent = answered is False or isinstance(answered, ConnectionResetError)
    return not (silent and not more and held.is_safe())


async def _send(
    source: asyncio.StreamReader, target: asyncio.StreamWriter, moved: Callable[[], None]
) -> None:
    """Until the source ends; then the target hears that no more comes."""
    if not await _copy(source, target, moved) and target.can_write_eof():
        target.write_eof()


async def _copy(
    source: asyncio.StreamReader, target: asyncio.StreamWriter, moved: Callable[[], None]
) -> bool:
    """Until the source ends; then the target hears that no more comes, unless nothing came. Whether anything did."""
    some = False
    while piece := await source.read(PIECE):
        some = True
        moved()
        target.write(piece)
        await target.drain()
    if some and target.can_write_eof():
        target.write_eof()
    return some


async def _answer(held: Held, writer: asyncio.StreamWriter, body: str, kind: str) -> None:
    await _write(writer, UNAVAILABLE, body, kind, held)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LINGER):
            while await held.reader.read(PIECE):
                pass


async def _write(writer: asyncio.StreamWriter, status: str, body: str, kind: str, held: Held) -> None:
    data = body.encode()
    later = "Retry-After: 5\r\n" if status == UNAVAILABLE else ""
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: {kind}; charset=utf-8\r\nContent-Length: {len(data)}\r\n"
        f"Cache-Control: no-store\r\n{later}Connection: close\r\n\r\n"
    )
    writer.write(head.encode() + (b"" if held.data.startswith(b"HEAD ") else data))
    await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


async def _end(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def _run(given: dict[str, Any]) -> None:
    settings = Settings(**{**given, "upstream": tuple(given["upstream"])})
    ended = asyncio.Event()
    # It is the first process of its container: without this it would not hear that it has to end.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    await Activator(settings, Scales(settings.scales)).run(ended)


if __name__ == "__main__":
    asyncio.run(_run(json.loads(os.environ["ACTIVATOR"])))
