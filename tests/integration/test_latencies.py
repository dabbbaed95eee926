"""What the proxy measures of how long applications take to answer."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace

import pytest

from pipeline.adapters.haproxy import config
from pipeline.adapters.haproxy.measuring import latencies
from pipeline.adapters.haproxy.proxy import Proxy
from pipeline.adapters.http.probe import HttpProbe
from pipeline.config.settings import Settings
from pipeline.domain.engine_types import SlotSpec
from pipeline.domain.judging.latency import judgement
from pipeline.domain.judging.latency.counts import WARM, Timings, timed
from pipeline.domain.judging.latency.times import Timed, begin, bucket_of, reaching, since, total
from pipeline.domain.judging.verdict import Verdict
from tests.conftest import Bench
from tests.support.waiting import until

# It waits for as many milliseconds as its path says before it answers, and before the rest of an answer that begins at
# once. It can be told to take longer for all.
SERVER = """\
import asyncio

STATUS = {"error": "500 Broken", "missing": "404 Not Found", "ws": "101 Switching Protocols"}
extra = 0.0

async def serve(reader, writer):
    global extra
    try:
        while True:
            head = (await reader.readuntil(b"\\r\\n\\r\\n")).decode().lower()
            path = head.split()[1].strip("/").split("?")[0]
            if "content-length: " in head:
                await reader.readexactly(int(head.split("content-length: ")[1].split()[0]))
            what, _, milliseconds = path.rpartition("/")
            seconds = float(milliseconds) / 1000 if milliseconds.isdigit() else 0.0
            if what == "slower":
                extra, seconds = seconds, 0.0
            await asyncio.sleep(seconds + extra if what != "late" else 0)
            status = STATUS.get(what, "200 OK")
            kind = "text/event-stream" if what == "stream" else "text/plain"
            more = "Connection: Upgrade\\r\\nUpgrade: websocket\\r\\n" if what == "ws" else "Content-Length: 2\\r\\n"
            writer.write(f"HTTP/1.1 {status}\\r\\nContent-Type: {kind}\\r\\n{more}\\r\\n".encode())
            await writer.drain()
            await asyncio.sleep(seconds if what == "late" else 0)
            if what != "ws":
                writer.write(b"ok")
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()

async def main():
    server = await asyncio.start_server(serve, "0.0.0.0", 8080)
    await server.serve_forever()

asyncio.run(main())
"""


@pytest.fixture
def serving(bench: Bench) -> SlotSpec:
    spec = replace(bench.spec(command=("python", "-c", SERVER), memory=128 << 20), image="python:3.11-slim")
    bench.deploy(spec)
    return spec


class Client:
    """Asks over one connection, as a visitor."""

    def __init__(self, settings: Settings, spec: SlotSpec) -> None:
        self._connection = http.client.HTTPConnection(
            "127.0.0.1", settings.port_range[spec.ref.index], timeout=20
        )

    def ask(self, path: str, body: bytes | None = None, **headers: str) -> int:
        self._connection.request("POST" if body is not None else "GET", path, body, headers)
        answer = self._connection.getresponse()
        answer.read()
        if answer.status == 101:
            self._connection.close()
        return answer.status

    def close(self) -> None:
        self._connection.close()


def asked(settings: Settings, spec: SlotSpec, path: str, times: int = 1) -> None:
    with closing(Client(settings, spec)) as one:
        for _ in range(times):
            one.ask(path)


@pytest.fixture
def client(settings: Settings, serving: SlotSpec) -> Iterator[Client]:
    with closing(Client(settings, serving)) as one:
        yield one


def now_of(bench: Bench, spec: SlotSpec) -> Timed:
    found = bench.engine.timed(spec.ref)
    assert found is not None
    return found


def test_the_time_until_an_answer_begins_is_measured(bench: Bench, serving: SlotSpec, client: Client) -> None:
    before = now_of(bench, serving)
    for milliseconds in (0, 60, 60, 300):
        assert client.ask(f"/wait/{milliseconds}") == 200
    assert client.ask("/late/300") == 200  # the rest of an answer comes later
    assert client.ask("/missing/60") == 404

    def found() -> dict[int, int]:
        return since(before, now_of(bench, serving))

    until(lambda: total(found()) == 6, 10)
    assert reaching(found(), bucket_of(0.060)) == 4
    assert reaching(found(), bucket_of(0.300)) == 1


def test_what_takes_long_for_reasons_of_its_own_is_left_out(
    bench: Bench, serving: SlotSpec, client: Client
) -> None:
    before, probe = now_of(bench, serving), HttpProbe()
    client.ask("/wait/50", Accept="text/event-stream")
    client.ask("/stream/50")
    client.ask("/wait/50?EIO=4&transport=polling")
    client.ask("/wait/50", Prefer="wait=10")
    client.ask("/wait/50", body=b"x" * (latencies.UPLOAD + 1))
    client.ask("/error/50")
    client.ask("/ws/50", Connection="Upgrade", Upgrade="websocket")
    probe.get(bench.engine.public(serving), "/wait/50", 5)
    probe.get(bench.engine.preview(serving), "/wait/50", 5)
    client.ask("/wait/0", body=b"x" * 1000)
    until(lambda: total(since(before, now_of(bench, serving))) == 1, 10)


def test_a_flood_is_counted_as_a_whole(bench: Bench, serving: SlotSpec, settings: Settings) -> None:
    before = now_of(bench, serving)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: asked(settings, serving, "/wait/0", 500), range(4)))
    assert total(since(before, now_of(bench, serving))) == 2000


def test_an_application_that_becomes_slow_is_worse_and_one_that_does_not_is_not(
    bench: Bench, serving: SlotSpec, settings: Settings, client: Client
) -> None:
    """Each look is a minute after the last one by the clock of the judge. The times are so far apart that a busy
    machine does not matter."""
    clock, found = 0.0, Timings()
    waits = [f"/wait/{milliseconds}" for milliseconds in (10, 40, 70, 100, 130)]

    def visit(_: int) -> None:
        with closing(Client(settings, serving)) as one:
            for path in waits:
                one.ask(path)

    def look(release: int, visitors: int) -> None:
        nonlocal clock, found
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(visit, range(visitors)))
        clock += 60
        found = judgement.judged(timed(found, release, release, now_of(bench, serving), clock), clock)

    def serve(release: int, minutes: int) -> Verdict:
        for _ in range(int(WARM / 60) + 1):
            look(release, 0)
        for _ in range(minutes):
            look(release, 8)
        assert found.judged is not None
        return found.judged.verdict

    assert serve(1, 14) is Verdict.NOTHING_BEFORE
    assert serve(2, 14) is not Verdict.WORSE
    client.ask("/slower/300")
    assert serve(3, 14) is Verdict.WORSE
    assert found.judged is not None
    assert "p50" in found.judged.slower
    assert found.judged.new.p50 > 0.3 > found.judged.base.p50


@contextmanager
def an_earlier_version(patch: pytest.MonkeyPatch) -> Iterator[None]:
    """The configuration of a version that measured nothing."""
    with patch.context() as one:
        one.setattr(latencies, "BACKEND", "    # nothing")
        one.setattr(latencies, "RULES", "# nothing")
        config._backend.cache_clear()
        yield
    config._backend.cache_clear()


def test_a_proxy_of_an_earlier_version_says_nothing_until_it_is_replaced(
    bench: Bench, serving: SlotSpec, proxy: Proxy, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    with an_earlier_version(monkeypatch):
        assert proxy.renew(0)
        assert bench.engine.timed(serving.ref) is None
        until(lambda: proxy.tend(lambda: 0) or proxy._container.handover.first() is None, 90)
    assert bench.engine.timed(serving.ref) is None
    assert proxy.renew(0)
    until(lambda: client.ask("/wait/20") == 200, 10)
    found = now_of(bench, serving)
    assert total(found.times) >= 1
    assert max(map(begin, found.times)) < 5
    assert found.since > 0


def test_a_proxy_that_starts_again_counts_from_zero(
    bench: Bench, serving: SlotSpec, proxy: Proxy, client: Client
) -> None:
    for _ in range(3):
        client.ask("/wait/0")
    before = now_of(bench, serving)
    proxy.stop()
    proxy.ensure()
    client.close()
    until(lambda: client.ask("/wait/0") == 200, 10)
    after = now_of(bench, serving)
    assert after.since != before.since
    assert total(since(before, after)) == total(after.times) >= 1
