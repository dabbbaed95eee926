"""Hosts that are shared by their paths, wildcards and what is left, on the real proxy."""

from __future__ import annotations

import http.client
import random
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import docker
from pipeline.adapters.haproxy.proxy import Proxy
from pipeline.adapters.http.probe import HttpProbe
from pipeline.config.settings import Settings
from pipeline.domain.engine_types import Route
from pipeline.ports.clock import SystemClock
from tests.conftest import Bench
from tests.integration.test_proxy_passes_on import COMMAND
from tests.support.installation import own_settings

Asked = tuple[int, str, dict[str, str]]


def ask(settings: Settings, host: str, path: str, **headers: str) -> Asked:
    """The request as it is written: no library reads its path."""
    name, _, port = settings.proxy_http.rpartition(":")
    connection = http.client.HTTPConnection(name, int(port), timeout=5)
    try:
        connection.putrequest("GET", path, skip_host=True)
        for key, value in {"Host": host, **headers}.items():
            connection.putheader(key, value)
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, answer.read().decode(), {k.lower(): v for k, v in answer.getheaders()}
    finally:
        connection.close()


@pytest.fixture(scope="module")
def parted(
    tmp_path_factory: pytest.TempPathFactory, docker_client: docker.DockerClient, settings: Settings
) -> Iterator[tuple[Proxy, Settings]]:
    """A proxy of its own. Environments without a release: the explained 503 names whose the request is."""
    data: Path = tmp_path_factory.mktemp("parted")
    own = own_settings(data, f"{settings.instance}-parted", subnets=settings.subnets, environments=5)
    proxy = Proxy(lambda: docker_client, own, SystemClock())
    try:
        proxy.ensure()
        yield proxy, own
    finally:
        proxy.stop()


def whose(settings: Settings, host: str, path: str) -> str:
    status, body, _ = ask(settings, host, path)
    found = re.match(r"503: (\S+) has no release", body)
    return found[1] if found else str(status)


def given(proxy: Proxy, *entries: tuple[str, ...]) -> None:
    for index, hosts in enumerate(entries):
        proxy.add_environment(index, f"e{index}", hosts)


def test_the_longest_path_of_the_most_specific_host_decides(parted: tuple[Proxy, Settings]) -> None:
    proxy, settings = parted
    given(
        proxy,
        ("shop.example",),
        ("shop.example/api", "shop.example/api/v2/x"),
        ("*.shop.example", "shop.example/api/v2"),
        ("*", "*/status"),
        ("only.example/app",),
    )
    asked = {
        "shop.example/": "e0", "shop.example/apix": "e0", "shop.example/API": "e0", "shop.example/ap": "e0",
        "shop.example/api": "e1", "shop.example/api/": "e1", "shop.example/api?a=/x": "e1",
        "shop.example/api/v1": "e1", "shop.example/api/v2": "e2", "shop.example/api/v22": "e1",
        "shop.example/api/v2/x/y": "e1", "SHOP.example.:80/api/v2/y": "e2", "shop.example/status": "e0",
        "a.shop.example/api": "e2", "b.a.shop.example/": "e3", "other.example/": "e3", "localhost/": "e3",
        "a.shop.example/status": "e2", "only.example/app/x": "e4", "only.example/": "e3",
    }  # fmt: skip
    found = {one: whose(settings, *(one.partition("/")[0], "/" + one.partition("/")[2])) for one in asked}
    assert found == asked
    given(proxy, ("shop.example",), (), (), (), ("only.example/app",))
    assert whose(settings, "shop.example", "/api") == "e0"
    assert [whose(settings, host, "/") for host in ("only.example", "a.shop.example")] == ["404", "404"]
    assert whose(settings, "only.example", "/app") == "e4"


def test_a_path_that_can_be_read_as_another_ones_is_refused(parted: tuple[Proxy, Settings]) -> None:
    proxy, settings = parted
    given(proxy, ("shop.example",), ("shop.example/api",), ("plain.example",), ("only.example/app",), ())
    asked = {
        "//api": "400", "/%61pi": "400", "/api%2fx": "400", "/%2fapi": "400", "/x/../api": "400",
        "/x/%2e%2e/api": "400",
        "/api/..": "400", "/api/%2E./x": "400", "/./api": "400", "/x\\..\\api": "400", "/api%5cx": "400", "/%zz": "400",
        "/api/a%2Fb": "e1", "/api//x": "e1", "/api/%C3%A9": "e1", "/a%20b": "e0", "/a//b": "e0", "/.well-known/x": "e0",
        "/api/...": "e1", "/api/.x": "e1", "/api?x=/../y": "e1", "/x?//api": "e0",
    }  # fmt: skip
    assert {path: whose(settings, "shop.example", path) for path in asked} == asked
    assert {path: whose(settings, "plain.example", path) for path in asked} == dict.fromkeys(asked, "e2")
    only = {
        "/.well-known/x": "404",
        "/a//b": "404",
        "/app//b": "e3",
        "//app": "400",
        "/%61pp": "400",
        "/x/..": "400",
    }
    assert {path: whose(settings, "only.example", path) for path in only} == only
    assert [whose(settings, host, "/api") for host in ("shop.example/x", "=shop.example", "-", "")] == [
        "e1", "404", "404", "404",
    ]  # fmt: skip


def test_any_request_leads_to_the_longest_prefix(parted: tuple[Proxy, Settings]) -> None:
    """Random entries and requests, against the rule as it is said."""
    proxy, settings = parted
    draw = random.Random(7)
    hosts, parts = ("a.x", "b.x", "*.x", "*"), ("s", "ss", "t", "S")
    every = {
        draw.choice(hosts) + "".join(f"/{draw.choice(parts)}" for _ in range(draw.randrange(5)))
        for _ in range(60)
    }
    owners = {entry: draw.randrange(5) for entry in sorted(every)}
    given(proxy, *(tuple(entry for entry, owner in owners.items() if owner == index) for index in range(5)))
    for _ in range(200):
        host = draw.choice(("a.x", "b.x", "c.x", "c.y"))
        path = "".join(f"/{draw.choice(parts)}" for _ in range(draw.randrange(1, 6)))
        assert whose(settings, host, path) == expected(owners, host, path), (host, path, owners)


def expected(owners: dict[str, int], host: str, path: str) -> str:
    for name in (host, f"*.{host.partition('.')[2]}", "*"):
        prefix = path
        while True:
            if f"{name}{prefix}" in owners:
                return f"e{owners[f'{name}{prefix}']}"
            if not prefix:
                break
            prefix = prefix.rpartition("/")[0]
    return "404"


def test_a_prefix_is_stripped_if_the_release_wants_it(bench: Bench, settings: Settings) -> None:
    host = f"{bench.name}.example.com"
    bench.hosts = (f"{host}/api/v1", f"{host}/x")
    strips = bench.spec(command=COMMAND, http={"strip_path": True, "sticky": True})
    bench.deploy(strips)

    def told(path: str) -> tuple[str, str]:
        """What the application is asked for, and which prefix it is told."""
        body = ask(settings, host, path, **{"X-Forwarded-Prefix": "/forged"})[1]
        prefix = re.search("(?im)^x-forwarded-prefix: (.*)$", body)
        return body.split()[1], prefix[1] if prefix else ""

    assert told("/api/v1") == ("/", "/api/v1")
    assert told("/api/v1/") == ("/", "/api/v1")
    assert told("/api/v1?a=/api/v1") == ("/?a=/api/v1", "/api/v1")
    assert told("/api/v1/a//b%2Fc/api/v1?q=%20") == ("/a//b%2Fc/api/v1?q=%20", "/api/v1")
    assert told("/api/v1//x") == ("//x", "/api/v1")
    assert told("/x/y") == ("/y", "/x")
    cookie = ask(settings, host, "/api/v1")[2]["set-cookie"]
    assert cookie.startswith("pushlive-server=")
    assert "; Path=/api/v1; " in cookie
    by_port = (
        HttpProbe().get(Route(f"http://127.0.0.1:{settings.port_range[bench.index]}"), "/api/v1", 5).body
    )
    assert by_port.startswith(b"GET /api/v1 ")

    bench.deploy(bench.spec("green", release=2, command=COMMAND))
    assert told("/api/v1/a") == ("/api/v1/a", "")
    bench.engine.switch(strips)  # a revert
    assert told("/api/v1/a") == ("/a", "/api/v1")
