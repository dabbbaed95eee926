"""A real proxy divides new visitors between two slots, and keeps each where it went."""

from __future__ import annotations

import http.client
import signal
from collections import Counter
from dataclasses import dataclass, field

import pytest

import docker
from pipeline.adapters.haproxy.rules.sharing import COOKIE
from pipeline.config.settings import Settings
from pipeline.domain.engine_types import Share, SlotSpec
from tests.conftest import Bench
from tests.integration.test_proxy_restarts import pid_of, send
from tests.support.load import Load, release_of
from tests.support.waiting import until

VISITORS = 600
# The chance that a binomial of 600 with 0.25 is outside of these is below one in a million.
AT_LEAST, AT_MOST = 99, 205

# Answers with its release and what came in `Cookie`; `?public` may be kept by shared caches.
TELLS = """\
mkdir -p /tmp/www/cgi-bin
cat > /tmp/www/cgi-bin/tell <<'SCRIPT'
#!/bin/sh
[ "$QUERY_STRING" != public ] || printf 'Cache-Control: public, max-age=60\\r\\n'
printf 'Content-Type: text/plain\\r\\nSet-Cookie: own=1\\r\\n\\r\\n'
echo "release=$PUSHLIVE_RELEASE cookie=$HTTP_COOKIE."
SCRIPT
chmod +x /tmp/www/cgi-bin/tell
exec httpd -f -p 8080 -h /tmp/www
"""


@dataclass
class Visitor:
    """One browser with one connection. ``kept``: the value of our cookie, "" without one."""

    port: int
    kept: str = ""
    set: list[str] = field(default_factory=list)
    first: str = ""  # the release that answered first

    def __post_init__(self) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)

    def ask(self, path: str = "/?text", cookies: str = "", **headers: str) -> str:
        said = "; ".join(one for one in (cookies, f"{COOKIE}={self.kept}" if self.kept else "") if one)
        self._connection.request("GET", path, headers=headers | ({"Cookie": said} if said else {}))
        answer = self._connection.getresponse()
        body = answer.read().decode()
        assert answer.status == 200, body
        self.set = [one for one in answer.headers.get_all("Set-Cookie") or () if one.startswith(COOKIE)]
        for one in self.set:
            self.kept = one.partition(";")[0].partition("=")[2]
        return body

    def release(self) -> str:
        return release_of(self.ask())

    def close(self) -> None:
        self._connection.close()


def two(bench: Bench, **service: object) -> tuple[SlotSpec, SlotSpec]:
    """r1 serves, and r2 is ready beside it."""
    blue, green = bench.spec("blue", 1, **service), bench.spec("green", 2, **service)
    bench.deploy(blue)
    bench.stand(green)
    return blue, green


def draw(port: int, count: int) -> list[Visitor]:
    found = []
    for _ in range(count):
        visitor = Visitor(port)
        visitor.first = visitor.release()
        visitor.close()
        found.append(visitor)
    return found


def test_a_quarter_of_the_new_visitors_goes_over_and_each_stays_where_it_went(
    bench: Bench, settings: Settings
) -> None:
    engine, (_, green) = bench.engine, two(bench)
    port = settings.port_range[bench.index]
    assert engine.shared(green.ref) is None
    engine.share(green, 25.0)
    assert (engine.shared(green.ref), engine.serving(green.ref)) == (Share("green", 25.0), "blue")
    visitors = draw(port, VISITORS)
    went = Counter(one.first for one in visitors)
    assert AT_LEAST < went["r2"] < AT_MOST, went
    assert {len(one.set) for one in visitors} == {1}
    assert len({one.kept for one in visitors}) == 2  # tells a slot, and no one apart
    engine.share(green, 90.0)
    some = [
        *[one for one in visitors if one.first == "r1"][:20],
        *[one for one in visitors if one.first == "r2"][:20],
    ]
    assert [one.release() for one in some] == [one.first for one in some]
    assert [one.set for one in some] == [[]] * 40
    engine.switch(green)
    assert {one.release() for one in some} == {"r2"}
    assert all("Max-Age=0" in one.set[0] for one in some)  # it is taken back
    for one in visitors:
        one.close()


def test_the_cookie_is_safe_and_no_application_sees_it(bench: Bench, settings: Settings) -> None:
    engine, (_, green) = bench.engine, two(bench, command=("sh", "-c", TELLS), health="/cgi-bin/tell")
    one, page = Visitor(settings.port_range[bench.index]), "/cgi-bin/tell"
    engine.share(green, 99.9)
    one.ask(page)
    (said,) = one.set
    assert said == f"{COOKIE}={one.kept}; Path=/; HttpOnly; SameSite=Lax"
    for cookies in ("", "a=1", "a=1; b=2"):
        assert one.ask(page, cookies).endswith(f"cookie={cookies}.\n")
    assert one.ask(page, f"{COOKIE}=x; a=1").endswith("cookie=a=1.\n")
    assert one.ask(page, f"x{COOKIE}=x; a=1").endswith(f"cookie=x{COOKIE}=x; a=1.\n")
    kept = one.kept
    for forged in ("", "x", "none", f"{kept}x", "e0-blue", "x" * 3000):
        one.kept = ""
        assert "cookie=a=1.\n" in one.ask(page, f"{COOKIE}={forged}; a=1")
        assert len(one.set) == 1  # as a visitor who comes new
    one.kept = ""
    one.ask(f"{page}?public")
    assert one.set == []  # a shared cache would give it to everyone
    one.kept = "of-an-earlier-shift"
    engine.unshare(green.ref)
    assert "release=r1 cookie=a=1." in one.ask(page, "a=1")
    assert one.set == [f"{COOKIE}=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax"]
    one.ask(page)
    assert one.set == []
    one.close()


def test_steps_and_the_way_back_lose_no_request_on_any_connection(bench: Bench, settings: Settings) -> None:
    engine, (blue, green) = bench.engine, two(bench)
    load = Load(settings.port_range[bench.index], release_of)
    with load.kept_alive(4).fresh(2).kept_alive(2, "/cgi-bin/slow.cgi?1"):
        until(load.reached(20), 20)
        assert load.answers["r2"] == 0
        for percent in (5.0, 50.0, 99.9):
            engine.share(green, percent)
            until(load.reached(60), 20)
        assert load.answers["r2"] > 0
        engine.unshare(green.ref)
        assert engine.drain(green.ref, 10, bench.watch()) == 0
        engine.stop_and_keep(green.ref)
        until(load.reached(40), 20)
        bench.stand(green)
        engine.share(green, 50.0)
        until(load.reached(40), 20)
        engine.switch(green)
        assert engine.shared(green.ref) is None
        assert engine.drain(blue.ref, 10, bench.watch()) == 0
        engine.stop(blue.ref)
        until(load.reached(40), 20)
    assert load.failures == []


def test_a_proxy_that_is_killed_comes_back_with_the_same_share(
    bench: Bench, settings: Settings, docker_client: docker.DockerClient
) -> None:
    engine, (_, green) = bench.engine, two(bench)
    port = settings.port_range[bench.index]
    engine.share(green, 50.0)
    visitors, before = draw(port, 20), pid_of(docker_client, settings)
    send(docker_client, settings, signal.SIGKILL)
    until(lambda: pid_of(docker_client, settings) not in (0, before), 30)
    until(lambda: engine.shared(green.ref) == Share("green", 50.0), 30)
    assert [one.release() for one in visitors] == [one.first for one in visitors]
    for one in visitors:
        one.close()


def test_a_slot_with_a_share_is_neither_stopped_nor_drained(bench: Bench) -> None:
    engine, (blue, green) = bench.engine, two(bench)
    engine.share(green, 50.0)
    for act in (engine.stop, engine.stop_and_keep, lambda ref: engine.drain(ref, 1, bench.watch())):
        with pytest.raises(Exception, match="serves a part of the traffic"):
            act(green.ref)
    engine.unroute(blue.ref)
    assert engine.shared(green.ref) is None
