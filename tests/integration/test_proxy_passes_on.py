"""What the proxy passes on between a visitor and an application, and what it adds, on the real one."""

from __future__ import annotations

import http.client
import subprocess
import threading
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import pytest

import docker
from pipeline.adapters.docker.engine import DockerEngine
from pipeline.adapters.haproxy.proxy import Proxy
from pipeline.adapters.haproxy.rules import registry
from pipeline.adapters.haproxy.rules.sharing import COOKIE
from pipeline.adapters.http.probe import HttpProbe
from pipeline.config.http.keys import Http
from pipeline.config.settings import Settings
from pipeline.errors import EngineFailed
from pipeline.lib.secret import Secret
from pipeline.ports.clock import SystemClock
from tests.conftest import Bench
from tests.support.installation import own_settings
from tests.support.ports import free_subnet
from tests.support.waiting import until

TRUSTED, ANYONE = "127.0.0.2", "127.0.0.1"  # where a visitor's connection comes from
# Answers with the head of the request, after some seconds; or with a stream that pauses for some seconds, or with a
# header of some size.
ECHO = r"""#!/bin/sh
head=
while IFS= read -r line; do
    line=${line%?}
    [ -n "$line" ] || break
    head="$head$line
"
done
path=${head#* }
path=${path%% *}
type=text/plain
case $path in
    /slow/*) sleep "${path##*/}" ;;
    /head/*)
        printf 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Long: '
        head -c "${path##*/}" /dev/zero | tr '\0' a
        printf '\r\n\r\n'
        exit ;;
    /pause/*|/events/*)
        [ "${path%/*}" = /pause ] || type=text/event-stream
        printf 'HTTP/1.1 200 OK\r\nContent-Type: %s\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n' "$type"
        sleep "${path##*/}"
        printf '3\r\ntwo\r\n0\r\n\r\n'
        exit ;;
esac
printf 'HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s' "${#head}" "$head"
"""
LIMIT = 2.0  # seconds that the application may send nothing, in the tests of that
HEADER = 64 << 10  # bytes
BEYOND = 80 << 10  # bytes
OVER = 4  # seconds: more than that
START = 'printf %s "$1" >/tmp/app; chmod +x /tmp/app; exec nc -ll -p 8080 -e /tmp/app'
COMMAND = ("sh", "-c", START, "start", ECHO)
Behind = tuple[Bench, Settings]


@pytest.fixture(scope="module")
def behind(
    docker_client: docker.DockerClient,
    instance: str,
    app_image: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Behind]:
    """An application behind a proxy that trusts ``TRUSTED``."""
    folder: Path = tmp_path_factory.mktemp("passes-on")
    subnets = free_subnet(docker_client.api.networks())
    settings = own_settings(folder, f"{instance}-on", subnets=subnets, proxy_trusted=(TRUSTED, "10.0.0.0/8"))
    proxy = Proxy(lambda: docker_client, settings, SystemClock())
    engine = DockerEngine(lambda: docker_client, proxy, settings, HttpProbe(), SystemClock())
    bench = Bench(engine, app_image, "echo", 0)
    try:
        bench.deploy(bench.spec(command=COMMAND))
        yield bench, settings
        engine.remove(bench.ref())
    finally:
        proxy.stop()


def arrives(behind: Behind, sender: str, *headers: tuple[str, str]) -> dict[str, list[str]]:
    """What the application is given for a request from that address: each header's values, by its lower-case name."""
    connection = http.client.HTTPConnection(
        "127.0.0.1", behind[1].port_range[0], timeout=10, source_address=(sender, 0)
    )
    connection.putrequest("GET", "/")
    for name, value in headers:
        connection.putheader(name, value)
    connection.endheaders()
    text = connection.getresponse().read().decode()
    connection.close()
    found: dict[str, list[str]] = {}
    for line in text.splitlines()[1:]:
        name, _, value = line.partition(": ")
        found.setdefault(name.lower(), []).append(value)
    return found


CLAIMS = (
    ("X-Forwarded-Proto", "https"),
    ("X-Forwarded-For", "192.0.2.7"),
    ("X-Forwarded-Host", "shop.example.com"),
    ("X-Real-IP", "192.0.2.7"),
    ("Forwarded", "for=192.0.2.7"),
    ("X_Forwarded_For", "192.0.2.8"),
    ("X-Real_IP", "192.0.2.8"),
    ("X-Other", "as it was"),
)
NAMES = {name.lower() for name, _ in CLAIMS}


def test_what_a_visitor_claims_about_itself_does_not_arrive(behind: Behind) -> None:
    found = arrives(behind, ANYONE, *CLAIMS)
    assert {name: value for name, value in found.items() if name in NAMES} == {
        "x-forwarded-proto": ["http"],
        "x-forwarded-for": [ANYONE],
        "x-real-ip": [ANYONE],
        "x-other": ["as it was"],
    }


def test_the_cookie_of_a_shift_is_for_https_only_if_the_visitor_came_so(behind: Behind) -> None:
    bench, settings = behind
    green = bench.spec("green", 2, command=COMMAND)
    bench.stand(green)
    bench.engine.share(green, 50.0)
    try:
        for sender, secure in ((TRUSTED, True), (ANYONE, False)):
            with closing(
                http.client.HTTPConnection(
                    "127.0.0.1", settings.port_range[0], timeout=10, source_address=(sender, 0)
                )
            ) as connection:
                connection.request("GET", "/", headers={"X-Forwarded-Proto": "https"})
                said = connection.getresponse().headers["Set-Cookie"]
            assert said.startswith(f"{COOKIE}=")
            assert said.endswith("; Path=/; HttpOnly; SameSite=Lax" + ("; Secure" if secure else ""))
    finally:
        bench.engine.unshare(green.ref)
        bench.engine.stop(green.ref)


def test_no_line_with_the_cookie_of_a_shift_reaches_the_application(behind: Behind) -> None:
    found = arrives(behind, ANYONE, ("Cookie", f"{COOKIE}=x"), ("Cookie", f"a=1; {COOKIE}=y; b=2"))
    assert "".join(found["cookie"]) == "a=1; b=2"
    assert "cookie" not in arrives(behind, ANYONE, ("Cookie", f"{COOKIE}=x"))


def test_what_a_trusted_proxy_says_about_its_visitor_arrives(behind: Behind) -> None:
    found = arrives(behind, TRUSTED, *CLAIMS)
    assert {name: value for name, value in found.items() if name in NAMES} == {
        "x-forwarded-proto": ["https"],
        "x-forwarded-for": [f"192.0.2.7, {TRUSTED}"],
        "x-forwarded-host": ["shop.example.com"],
        "x-real-ip": ["192.0.2.7"],
        "forwarded": ["for=192.0.2.7"],
        "x-other": ["as it was"],
    }


def test_what_a_trusted_proxy_does_not_say_is_added(behind: Behind) -> None:
    found = arrives(
        behind, TRUSTED, ("X-Forwarded-For", "192.0.2.6, 192.0.2.7"), ("X-Forwarded-Proto", "gopher")
    )
    assert found["x-real-ip"] == ["192.0.2.7"]
    assert found["x-forwarded-proto"] == ["http"]
    twice = arrives(behind, TRUSTED, ("X-Forwarded-For", "192.0.2.6"), ("X-Forwarded-For", "192.0.2.7"))
    assert twice["x-forwarded-for"] == ["192.0.2.6", "192.0.2.7", TRUSTED]
    assert arrives(behind, TRUSTED)["x-real-ip"] == [TRUSTED]


def get(behind: Behind, path: str, **headers: str) -> tuple[int, bytes, bool]:
    """Status and text, and whether the text is whole."""
    connection = http.client.HTTPConnection("127.0.0.1", behind[1].port_range[0], timeout=20)
    with closing(connection):
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        try:
            return answer.status, answer.read(), True
        except http.client.IncompleteRead as error:
            return answer.status, error.partial, False


def answers(behind: Behind) -> bool:
    with suppress(OSError, http.client.HTTPException):
        return get(behind, "/")[0] == 200
    return False


def all_at_once(behind: Behind, *paths: str, **headers: str) -> list[tuple[int, bytes, bool]]:
    with ThreadPoolExecutor(len(paths)) as pool:
        return list(pool.map(lambda path: get(behind, path, **headers), paths))


@pytest.fixture
def limited(behind: Behind) -> Iterator[Behind]:
    """With ``LIMIT``."""
    bench, _ = behind
    bench.engine.expose(bench.spec(command=COMMAND, timeout=LIMIT))
    yield behind
    bench.engine.expose(bench.spec(command=COMMAND))


def test_an_application_may_be_silent_for_as_long_as_its_timeout_says(limited: Behind) -> None:
    late, cut = all_at_once(limited, f"/slow/{OVER}", f"/pause/{OVER}")
    assert (late[0], b"it sent nothing for 2 s, its `timeout` in pipelines.yaml" in late[1]) == (504, True)
    assert cut[1:] == (b"one", False)


def test_event_streams_may_be_silent_for_long(limited: Behind) -> None:
    """By the type that the client asks for, or that the same path had before."""
    with ThreadPoolExecutor() as pool:
        first = pool.submit(get, limited, f"/events/{OVER}")
        asked = get(limited, f"/pause/{OVER}", Accept="text/event-stream")
        assert asked == (200, b"onetwo", True)
        first.result()
    assert get(limited, f"/events/{OVER}") == (200, b"onetwo", True)


def test_a_timeout_survives_a_restart_of_the_proxy_and_is_changed_while_it_runs(
    limited: Behind, docker_client: docker.DockerClient
) -> None:
    bench, settings = limited
    container = docker_client.containers.get(f"{settings.instance}-proxy")
    container.restart(timeout=0)
    until(lambda: answers(limited))
    assert get(limited, f"/slow/{OVER}")[0] == 504
    container.reload()
    started = container.attrs["State"]["StartedAt"]
    bench.engine.expose(bench.spec(command=COMMAND))
    assert get(limited, f"/slow/{OVER}")[0] == 200
    container.reload()
    assert container.attrs["State"]["StartedAt"] == started


def test_headers_of_64_kib_pass_in_both_directions(behind: Behind, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http.client, "_MAXLINE", 1 << 20)
    cookie = "a" * HEADER
    assert arrives(behind, ANYONE, ("Cookie", cookie))["cookie"] == [cookie]
    connection = http.client.HTTPConnection("127.0.0.1", behind[1].port_range[0], timeout=20)
    with closing(connection):
        connection.request("GET", f"/head/{HEADER}")
        assert connection.getresponse().headers["X-Long"] == cookie


def test_a_larger_header_is_refused_with_a_page_that_says_what_was_too_large(behind: Behind) -> None:
    status, text, _ = get(behind, "/", Cookie="a" * BEYOND)
    assert (status, b"of headers, %d of them cookies. The proxy passes on at most" % BEYOND in text) == (
        431,
        True,
    )
    status, text, _ = get(behind, f"/{'a' * BEYOND}")
    assert (status, b"the address of the request is longer" in text) == (414, True)
    status, text, _ = get(behind, f"/head/{BEYOND}")
    size = int(text.partition(b"502: the application answered with ")[2].split()[0])
    assert (status, BEYOND < size < BEYOND + 200) == (502, True)
    status, text, _ = get(behind, f"/head/{3 * BEYOND}")
    assert (status, b"or its headers are far larger than the 68 KiB that the proxy passes on" in text) == (
        502,
        True,
    )


def test_a_check_is_answered_as_a_visitor_is(behind: Behind) -> None:
    """On the way to a slot without traffic the same limits hold."""
    bench, _ = behind
    answer = HttpProbe().get(bench.engine.preview(bench.spec(command=COMMAND)), f"/head/{BEYOND}", 10)
    assert (answer.status, b"502: the application answered with" in answer.body) == (502, True)


def test_a_trace_goes_on_in_the_application(behind: Behind) -> None:
    """As W3C's Trace Context asks of what is between: both headers as they are."""
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    found = arrives(behind, ANYONE, ("traceparent", parent), ("tracestate", "a=1"), ("tracestate", "b=2"))
    assert (found["traceparent"], found["tracestate"]) == ([parent], ["a=1", "b=2"])


def sends(behind: Behind, data: bytes, **headers: str) -> tuple[int, bytes]:
    with closing(http.client.HTTPConnection("127.0.0.1", behind[1].port_range[0], timeout=10)) as connection:
        connection.request("POST", "/", data, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()


def test_a_body_may_be_as_large_as_the_release_says(behind: Behind) -> None:
    bench, settings = behind
    assert sends(behind, b"a" * 2000)[0] == 200
    bench.engine.expose(bench.spec(command=COMMAND, http={"body": 1000}))
    try:
        assert [sends(behind, b"a" * size)[0] for size in (0, 1000, 1001)] == [200, 200, 413]
        assert b"larger than 1000 bytes" in sends(behind, b"a" * 2000)[1]
        chunked = {"Transfer-Encoding": "chunked"}
        assert sends(behind, b"", **chunked)[0] == 411  # it is said before any chunk
        url = f"http://127.0.0.1:{settings.port_range[0]}/"
        curl = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--http2-prior-knowledge", url]
        unsized = [*curl, "-X", "POST"]  # HTTP/2 says no length and sends no body
        assert subprocess.run(unsized, capture_output=True, check=False).stdout == b"411"
        assert subprocess.run(curl, capture_output=True, check=False).stdout == b"200"
    finally:
        bench.engine.expose(bench.spec(command=COMMAND))
    assert sends(behind, b"a" * 2000)[0] == 200


def asks(
    behind: Behind, sender: str = ANYONE, path: str = "/", pair: str = "", **headers: str
) -> http.client.HTTPResponse:
    """The answer to a visitor; ``pair``: name and password."""
    port = behind[1].port_range[0]
    with closing(
        http.client.HTTPConnection("127.0.0.1", port, timeout=10, source_address=(sender, 0))
    ) as connection:
        if pair:
            headers["Authorization"] = f"Basic {b64encode(pair.encode()).decode()}"
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        answer.text = answer.read().decode()  # type: ignore[attr-defined]
        return answer


CHALLENGE = "/.well-known/acme-challenge"
PASSWORD = "se:cr\"et ' ☃, %[var(txn.slot)] \\"


def test_only_who_has_a_name_and_its_password_is_let_in(behind: Behind) -> None:
    bench, settings = behind
    http_keys = {"basic": {"alice": "DEV", "b\u00f6b": "DEV"}}
    spec = bench.spec(command=COMMAND, http=http_keys)
    bench.engine.expose(replace(spec, passwords=lambda: {"DEV": Secret(PASSWORD)}))
    try:
        refused = asks(behind)
        assert refused.status == 401
        assert refused.headers["WWW-Authenticate"] == 'Basic realm="echo-live", charset="UTF-8"'
        for pair in (
            f"alice:{PASSWORD}x",
            "alice:",
            ":",
            f"carol:{PASSWORD}",
            f"ALICE:{PASSWORD}",
            f":{PASSWORD}",
        ):
            assert asks(behind, pair=pair).status == 401, pair
        for scheme in ("Bearer", "Basic", ""):
            assert asks(behind, Authorization=f"{scheme} !!").status == 401
        for name in ("alice", "b\u00f6b"):
            found = asks(behind, pair=f"{name}:{PASSWORD}")
            assert (found.status, "authorization" in found.text.lower()) == (200, False)
        assert asks(behind, path=f"{CHALLENGE}/a-B_9").status == 200
        for path in ("/..", "/../x", "/a/../../../x", "/a%2f..", "/", "", "/a?", "/a;b", "//a"):
            wanted = 200 if path == "/a?" else 401
            assert asks(behind, path=f"{CHALLENGE}{path}").status == wanted, path
        assert HttpProbe().get(bench.engine.public(spec), "/", 10).status == 200
        assert HttpProbe().get(bench.engine.preview(spec), "/", 10).status == 200
        whole = "".join(one.read_text() for one in (settings.data / "proxy").glob("*.*") if one.is_file())
        assert "alice" not in whole
        assert PASSWORD not in whole
        with pytest.raises(EngineFailed, match=r"no value of DEV"):
            bench.engine.expose(spec)
    finally:
        bench.engine.expose(bench.spec(command=COMMAND))
    assert asks(behind, Authorization="Bearer mine").status == 200


def test_only_the_allowed_addresses_are_let_in(behind: Behind) -> None:
    bench, _ = behind
    nets = ["127.0.0.3/32", "198.51.100.0/24", "2001:db8::/32"]
    spec = bench.spec(command=COMMAND, http={"allow": nets, "basic": {"alice": "DEV"}})
    bench.engine.expose(replace(spec, passwords=lambda: {"DEV": Secret(PASSWORD)}))
    try:
        pair = f"alice:{PASSWORD}"
        assert [asks(behind, one, pair=pair).status for one in ("127.0.0.3", ANYONE, TRUSTED)] == [
            200,
            403,
            403,
        ]
        assert asks(behind, "127.0.0.3").status == 401
        for visitor, status in (
            ("198.51.100.7", 200), ("198.51.101.7", 403), ("2001:db8::7", 200), ("2001:db9::7", 403),
            ("::ffff:198.51.100.7", 200), ("1.2.3.4, 198.51.100.7", 200), ("198.51.100.7, 1.2.3.4", 403),
            ("not-an-address", 403),
        ):  # fmt: skip
            said = {"X-Forwarded-For": visitor}
            assert asks(behind, TRUSTED, pair=pair, **said).status == status, visitor
            assert asks(behind, pair=pair, **said).status == 403, visitor
        refused = asks(behind)
        assert "your address, 127.0.0.1, is not one of those" in refused.text  # type: ignore[attr-defined]
        assert asks(behind, path=f"{CHALLENGE}/a").status == 200
        assert HttpProbe().get(bench.engine.public(spec), "/", 10).status == 200
        assert HttpProbe().get(bench.engine.preview(spec), "/", 10).status == 200
    finally:
        bench.engine.expose(bench.spec(command=COMMAND))
    assert asks(behind).status == 200


def test_a_visitor_is_let_in_while_another_slots_networks_change(behind: Behind) -> None:
    bench, _ = behind
    proxy = bench.engine._proxy
    bench.engine.expose(bench.spec(command=COMMAND, http={"allow": ["127.0.0.0/8"]}))
    narrow = [f"127.0.0.0/{length}" for length in range(9, 30)]
    done = threading.Event()

    def visit() -> set[int]:
        found = set[int]()
        while not done.is_set():
            found.add(asks(behind).status)
        return found

    try:
        with ThreadPoolExecutor(1) as pool:
            visits = pool.submit(visit)
            for network in [*narrow, *reversed(narrow)]:
                rules = registry.values(Http(allow=(network, "198.51.100.0/24")))
                proxy.set_servers(bench.index, "green", [("127.0.0.1", 1)], rules=rules)
            done.set()
            assert visits.result() == {200}
    finally:
        done.set()
        proxy.set_servers(bench.index, "green", [])
        bench.engine.expose(bench.spec(command=COMMAND))
    assert proxy._control.map("closest.map") == {}
    assert proxy._control.map("within.map") == {}
