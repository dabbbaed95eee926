"""A real proxy and a real Engine.IO: who began at one replica goes on there."""

from __future__ import annotations

import http.client
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import engineio
import pytest

from pipeline.adapters.haproxy.proxy import Proxy
from pipeline.adapters.haproxy.rules import sharing
from pipeline.adapters.haproxy.rules.sticky import COOKIE
from pipeline.config.settings import Settings
from tests.conftest import Bench
from tests.support.waiting import until

CLIENTS = 20
Start = Callable[[Any, Any], Any]


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = 128  # with the usual 5, connections of twenty clients wait


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


class Replica:
    """One replica: an Engine.IO that knows no sessions but those that it began. ``saw``: the cookies that came."""

    def __init__(self) -> None:
        self.saw: list[str] = []
        chat = engineio.Server(async_mode="threading", cors_allowed_origins="*", cookie="own")
        chat.on("message", chat.send)
        self._application = engineio.WSGIApp(chat, self._page)
        self._http = make_server("127.0.0.1", 0, self._application, _Server, _Quiet)
        self.address = ("127.0.0.1", self._http.server_port)
        threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True).start()

    def _page(self, environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        self.saw.append(environ.get("HTTP_COOKIE", ""))
        kept = "public, max-age=60" if environ["PATH_INFO"] == "/public" else "private"
        start("200 OK", [("Content-Type", "text/plain"), ("Cache-Control", kept)])
        return self._events() if environ["PATH_INFO"] == "/stream" else [str(self.address[1]).encode()]

    def _events(self) -> Iterator[bytes]:
        while True:
            yield b"data: a\n"
            time.sleep(0.05)

    def end(self) -> None:
        self._http.shutdown()
        self._http.server_close()


@contextmanager
def replicas(count: int = 2) -> Iterator[tuple[Replica, ...]]:
    found = tuple(Replica() for _ in range(count))
    try:
        yield found
    finally:
        for one in found:
            one.end()


@pytest.fixture
def two(bench: Bench) -> Iterator[tuple[Replica, ...]]:
    bench.engine.prepare(bench.ref(), ())
    with replicas() as found:
        yield found


def serve(proxy: Proxy, bench: Bench, slot: str, found: tuple[Replica, ...], *, sticky: bool) -> None:
    proxy.set_servers(bench.index, slot, [one.address for one in found], sticky=sticky)
    proxy.switch(bench.index, slot)


def talk(port: int) -> bool:
    """True if a client got its session, and its own word back over it."""
    heard = threading.Event()
    client = engineio.Client(request_timeout=5, handle_sigint=False)
    client.on("message", lambda _: heard.set())
    try:
        client.connect(f"http://127.0.0.1:{port}", transports=["polling"])
        client.send("hello")
        return heard.wait(5)
    except engineio.exceptions.ConnectionError:
        return False
    finally:
        client.disconnect(abort=True)


def talks(port: int, at_once: int = 5) -> int:
    with ThreadPoolExecutor(at_once) as pool:
        return sum(pool.map(lambda _: talk(port), range(CLIENTS)))


class Visitor:
    """A browser with one connection. ``set``: our cookies in the last answer; ``kept``: the value of the last one."""

    def __init__(self, port: int) -> None:
        self._port, self.kept, self.set = port, "", list[str]()
        self.shift = ""  # the cookie of a share

    def ask(self, path: str = "/", cookies: str = "", **headers: str) -> str:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)
        ours = f"{COOKIE}={self.kept}" if self.kept else ""
        said = "; ".join(one for one in (cookies, self.shift, ours) if one)
        connection.request("GET", path, headers=headers | ({"Cookie": said} if said else {}))
        answer = connection.getresponse()
        body = answer.read().decode()
        connection.close()
        assert answer.status == 200, body
        given = answer.headers.get_all("Set-Cookie") or ()
        self.shift = next(
            (one.partition(";")[0] for one in given if one.startswith(sharing.COOKIE)), self.shift
        )
        self.set = [one for one in given if one.startswith(COOKIE)]
        for one in self.set:
            self.kept = one.partition(";")[0].partition("=")[2]
        return body


def test_clients_of_engine_io_need_the_cookie_and_have_it(
    bench: Bench, proxy: Proxy, settings: Settings, two: tuple[Replica, ...]
) -> None:
    port = settings.port_range[bench.index]
    serve(proxy, bench, "blue", two, sticky=True)
    assert talks(port) == CLIENTS
    proxy.set_servers(bench.index, "blue", [one.address for one in two])
    assert talks(port, at_once=CLIENTS) <= CLIENTS // 4  # each needs several requests at the same replica


def test_a_visitor_stays_and_no_application_sees_why(
    bench: Bench, proxy: Proxy, settings: Settings, two: tuple[Replica, ...]
) -> None:
    serve(proxy, bench, "blue", two, sticky=True)
    visitors = [Visitor(settings.port_range[bench.index]) for _ in range(8)]
    first = [one.ask() for one in visitors]
    assert len(set(first)) == 2
    assert all(one.set == [f"{COOKIE}={one.kept}; Path=/; HttpOnly; SameSite=Lax"] for one in visitors)
    assert len({one.kept for one in visitors}) == 2  # tells a container, and no one apart
    assert [one.ask(cookies="a=1") for one in visitors] == first
    assert [one.set for one in visitors] == [[]] * 8
    assert {saw for one in two for saw in one.saw} == {"", "a=1"}
    one = visitors[0]
    one.kept = "forged"
    one.ask()
    assert one.set
    assert one.kept != "forged"
    other = Visitor(settings.port_range[bench.index])
    other.ask("/public")
    assert not other.set  # a shared cache would hand it to all
    other.ask(**{"X-Pushlive-Probe": proxy.token})
    assert not other.set


def test_who_stayed_with_what_is_gone_goes_to_another(
    bench: Bench, proxy: Proxy, settings: Settings, two: tuple[Replica, ...]
) -> None:
    serve(proxy, bench, "blue", two, sticky=True)
    one = Visitor(settings.port_range[bench.index])
    first = one.ask()
    gone, left = sorted(two, key=lambda replica: str(replica.address[1]) != first)
    gone.end()
    assert one.ask() == str(left.address[1])  # the request itself is not lost
    assert one.set
    until(lambda: [one.ask() for _ in range(3)] == [str(left.address[1])] * 3, 20)


def test_after_a_switch_a_visitor_stays_with_the_new_release(
    bench: Bench, proxy: Proxy, settings: Settings, two: tuple[Replica, ...]
) -> None:
    serve(proxy, bench, "blue", two, sticky=True)
    one = Visitor(settings.port_range[bench.index])
    one.ask()
    with replicas() as new:
        serve(proxy, bench, "green", new, sticky=True)
        assert Counter(one.ask() for _ in range(6)).most_common(1)[0][1] == 6
        assert one.kept
        serve(proxy, bench, "green", new, sticky=False)
        one.ask()
        assert "Max-Age=0" in one.set[0]  # it is taken back


def test_while_two_releases_share_the_visitors_each_stays_with_its_container(
    bench: Bench, proxy: Proxy, settings: Settings, two: tuple[Replica, ...]
) -> None:
    serve(proxy, bench, "blue", two, sticky=True)
    with replicas() as new:
        proxy.set_servers(bench.index, "green", [one.address for one in new], sticky=True)
        proxy.share(bench.index, sharing.Shared("green", 500, "r2 #2"))
        visitors = [Visitor(settings.port_range[bench.index]) for _ in range(30)]
        first = [one.ask() for one in visitors]
        assert len(set(first)) == 4
        for _ in range(3):
            assert [one.ask(cookies="a=1") for one in visitors] == first
        assert {saw for one in (*two, *new) for saw in one.saw} == {"", "a=1"}
        proxy.switch(bench.index, "green")
        stayed = [one.ask() for one in visitors]
        assert {*stayed} == {str(one.address[1]) for one in new}
        assert [one for one, was in zip(stayed, first, strict=True) if was in stayed] == [
            was for was in first if was in stayed
        ]
        assert [one.ask() for one in visitors] == stayed


def test_connections_to_a_warm_slot_are_closed_and_it_takes_the_traffic_again(
    bench: Bench, proxy: Proxy, settings: Settings, two: tuple[Replica, ...]
) -> None:
    serve(proxy, bench, "blue", two, sticky=True)
    stream = http.client.HTTPConnection("127.0.0.1", settings.port_range[bench.index], timeout=20)
    stream.request("GET", "/stream")
    answer = stream.getresponse()
    assert answer.readline() == b"data: a\n"
    with replicas() as new:
        serve(proxy, bench, "green", new, sticky=False)
        assert bench.engine.drain(bench.ref("blue"), 0.0, bench.watch()) == 1
        answer.read()  # it has an end
        serve(proxy, bench, "blue", two, sticky=True)
        assert Visitor(settings.port_range[bench.index]).ask() in {str(one.address[1]) for one in two}
    stream.close()
