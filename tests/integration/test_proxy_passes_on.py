"""What the proxy passes on between a visitor and an application, and what it adds, on the real one."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from pathlib import Path

import pytest

import docker
from pipeline.adapters.docker.engine import DockerEngine
from pipeline.adapters.haproxy.proxy import Proxy
from pipeline.adapters.http.probe import HttpProbe
from pipeline.config.settings import Settings
from pipeline.ports.clock import SystemClock
from tests.conftest import Bench
from tests.support.installation import own_settings
from tests.support.ports import free_subnet

TRUSTED, ANYONE = "127.0.0.2", "127.0.0.1"  # where a visitor's connection comes from
# Answers with the head of the request.
ECHO = r"""#!/bin/sh
head=
while IFS= read -r line; do
    line=${line%?}
    [ -n "$line" ] || break
    head="$head$line
"
done
printf 'HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s' "${#head}" "$head"
"""
START = 'printf %s "$1" >/tmp/app; chmod +x /tmp/app; exec nc -ll -p 8080 -e /tmp/app'
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
        bench.deploy(bench.spec(command=("sh", "-c", START, "start", ECHO)))
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
