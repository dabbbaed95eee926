"""Requests wait in the real proxy while one release is stopped and the next one starts."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

import docker
from pipeline.adapters.haproxy import config, waiting
from pipeline.adapters.haproxy.control import Control
from pipeline.adapters.http.probe import HttpProbe
from pipeline.config.settings import Settings
from pipeline.domain.engine_types import Route
from tests.conftest import Bench
from tests.integration.test_proxy_restarts import pid_of, send
from tests.support.developer import web
from tests.support.load import Load, release_of
from tests.support.service import Service, get, running
from tests.support.waiting import PATIENCE, until

GAP = 2.0  # seconds in which nothing serves, at least


# The sample's own pages answer without reading a body, and a server that closes then may cut its client off.
COUNTS = [
    "sh",
    "-c",
    "cp -r /www /tmp/www && cd /tmp/www/cgi-bin && printf '#!/bin/sh\\necho; echo; wc -c\\n' >count.cgi && "
    "chmod +x count.cgi && exec httpd -f -p 0.0.0.0:8080 -h /tmp/www",
]


def posted(port: int, size: int, answers: list[str]) -> None:
    """A request whose body does not fit into the proxy's buffer; the application counts it."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("POST", "/cgi-bin/count.cgi", body=b"x" * size)
    answers.append(connection.getresponse().read().decode().strip())
    connection.close()


def test_no_request_fails_while_one_release_stops_and_the_next_one_starts(
    bench: Bench, settings: Settings
) -> None:
    engine, blue, green = bench.engine, bench.spec("blue", 1), bench.spec("green", 2)
    bench.deploy(blue)
    port = settings.port_range[bench.index]
    other = Route(f"http://127.0.0.1:{settings.port_range[bench.index + 1]}")
    load = Load(port, release_of).kept_alive(4).fresh(4).kept_alive(2, "/cgi-bin/slow.cgi?1")
    with load:
        until(load.reached(20), 20)
        before, began = engine.waited(blue.ref), time.monotonic()
        assert engine.pause(blue.ref, 30)
        assert engine.drain(blue.ref, 10, bench.watch()) == 0
        engine.stop_and_keep(blue.ref)
        assert [one.state for one in engine.replicas(blue.ref)] == ["exited"]
        assert HttpProbe().get(other, "/", 5).status == 404  # no other environment waits
        bench.stand(green)
        until(lambda: time.monotonic() - began > GAP, 20)
        silent = load.answers.total()
        engine.switch(green)
        switched = time.monotonic()
        until(lambda: load.answers.total() > silent, 20)
        assert time.monotonic() - switched < PATIENCE
        until(load.reached(30), 20)
    assert load.failures == []
    assert engine.waited(blue.ref) - before >= 8
    assert load.answers["r2"] > 20


def test_a_request_waits_as_long_as_it_may_and_no_longer(bench: Bench, settings: Settings) -> None:
    engine, spec = bench.engine, bench.spec()
    bench.deploy(spec)
    route = Route(f"http://127.0.0.1:{settings.port_range[bench.index]}")
    engine.pause(spec.ref, 0.3)
    began = time.monotonic()
    answer = HttpProbe().get(route, "/", 20)
    assert (answer.status, b"being replaced by another release" in answer.body) == (503, True)
    assert time.monotonic() - began > 0.25
    engine.unroute(spec.ref)
    assert b"has no release yet" in HttpProbe().get(route, "/", 20).body


def test_an_upload_that_waited_arrives_whole(bench: Bench, settings: Settings) -> None:
    engine, spec = bench.engine, bench.spec(command=COUNTS)
    bench.deploy(spec)
    engine.pause(spec.ref, 30)
    before, answers = engine.waited(spec.ref), list[str]()
    arguments = (settings.port_range[bench.index], 1 << 20, answers)
    one = threading.Thread(target=posted, args=arguments, daemon=True)
    one.start()
    until(lambda: engine.waited(spec.ref) > before, 20)
    engine.switch(spec)
    one.join(20)
    assert answers == [str(1 << 20)]


def at(settings: Settings, bench: Bench) -> socket.socket:
    """A client that has sent a request."""
    one = socket.create_connection(("127.0.0.1", settings.port_range[bench.index]), timeout=30)
    one.sendall(b"GET /?text HTTP/1.1\r\nHost: a.example\r\n\r\n")
    return one


def test_a_client_that_goes_away_gives_its_place_back(bench: Bench, settings: Settings) -> None:
    engine, spec, control = bench.engine, bench.spec(), Control(settings.data / "proxy")

    def wait_now() -> int:
        found = re.search(r"conn_cur=(\d+)", control.ask(waiting.asked_count(bench.index)))
        return int(found[1]) if found else 0

    bench.deploy(spec)
    engine.pause(spec.ref, 60)
    with ExitStack() as gone, at(settings, bench) as stays:
        for _ in range(5):
            gone.enter_context(at(settings, bench))
        until(lambda: wait_now() == 6, 20)
        gone.close()
        until(lambda: wait_now() == 1, 20)
        engine.switch(spec)
        assert b"release=r1" in answered(stays)


def test_a_proxy_that_is_killed_while_requests_wait_lets_them_wait_again(
    bench: Bench, settings: Settings, docker_client: docker.DockerClient
) -> None:
    engine, blue, green = bench.engine, bench.spec("blue", 1), bench.spec("green", 2)
    bench.deploy(blue)
    engine.pause(blue.ref, 60)
    before, waited = pid_of(docker_client, settings), engine.waited(blue.ref)
    with at(settings, bench) as lost:
        until(lambda: engine.waited(blue.ref) > waited, 20)
        send(docker_client, settings, signal.SIGKILL)
        with suppress(ConnectionResetError):
            assert lost.recv(99) == b""
    until(lambda: pid_of(docker_client, settings) not in (0, before), 30)
    until(lambda: answers(settings, bench), 30)
    engine.drain(blue.ref, 0.1, bench.watch())
    engine.stop_and_keep(blue.ref)
    with at(settings, bench) as stays:
        until(lambda: engine.waited(blue.ref) > 0, 20)
        assert engine.serving(blue.ref) is None
        bench.stand(green)
        engine.switch(green)
        assert b"release=r2" in answered(stays)


def answered(client: socket.socket) -> bytes:
    with http.client.HTTPResponse(client) as answer:
        answer.begin()
        return answer.read()


def answers(settings: Settings, bench: Bench) -> bool:
    """True once the proxy takes connections again."""
    with suppress(OSError), at(settings, bench):
        return True
    return False


def test_a_proxy_without_lua_starts_as_well(
    settings: Settings, docker_client: docker.DockerClient, tmp_path: Path
) -> None:
    for name, text in config.files(config.State("0123"), settings).items():
        (tmp_path / name).write_text(text.replace("feature(LUA)", "feature(WURFL)"))  # which it does not have
    (tmp_path / "certificates").mkdir()
    said = docker_client.containers.run(
        settings.proxy_image,
        ["-c", "-f", "/proxy/haproxy.cfg"],
        entrypoint=["haproxy"],
        user=f"{os.getuid()}:{os.getgid()}",
        volumes={str(tmp_path): {"bind": "/proxy"}},
        network_mode="none",
        remove=True,
        stderr=True,
    )
    assert b"Configuration file is valid" in said


CONFIG = """
pipelines:
  hello:
    service: {memory: 128MiB, stop: 1s, drain: 2s, one: true}
    environments: {live: }
"""


@pytest.fixture(scope="module")
def service(docker_client: docker.DockerClient, base_images: None) -> Iterator[Service]:
    with running(docker_client, CONFIG) as one:
        one.push(web("one"), "One")
        yield one


def alive(service: Service) -> set[str]:
    """The containers that run now."""
    filters = {"label": [f"pushlive.instance={service.instance}", "pushlive.replica"], "status": ["running"]}
    return {name for one in service.engine.containers(filters=filters) for name in one["Names"]}


def test_a_deploy_a_failure_a_restart_and_a_revert_let_requests_wait(service: Service) -> None:
    url = service.environments()["live"]["url"] + "/"
    codes, at_once, over = Counter[str](), list[set[str]](), threading.Event()

    def ask() -> None:
        while not over.wait(0.02):
            try:
                codes[str(get(url)[0])] += 1
            except OSError as error:
                codes[repr(error)] += 1

    def look() -> None:
        while not over.wait(0.02):
            at_once.append(alive(service))

    threads = [threading.Thread(target=one, daemon=True) for one in (ask, ask, ask, look)]
    for one in threads:
        one.start()
    try:
        said = service.push(web("two"), "Two")
        assert "r1 is stopped before r2 starts; requests wait in the proxy, each for 1m at most" in said
        assert re.search(r"nothing served for \d+\.\d s; \d+ requests? waited in the proxy", said)
        assert service.page() == "two\n"
        failed = service.push(web("three", command="exit 3"), "Three")
        assert "exited with code 3" in failed
        assert service.page() == "two\n"
        assert "waited" in service.pushlive("restart", "hello", "live").out
        assert "requests wait until it has started" in service.environments()["live"]["revert"]["text"]
        service.pushlive("revert", "hello", "--env", "live", "--to", "r1")
        assert service.page() == "one\n"
    finally:
        over.set()
        for one in threads:
            one.join(90)
    assert set(codes) == {"200"}
    assert max(len(one) for one in at_once) == 1


def test_killed_between_the_end_of_the_old_one_and_the_start_of_the_next_two_never_run(
    service: Service,
) -> None:
    at_once, over, repository = list[set[str]](), threading.Event(), service.repository()

    def look() -> None:
        while not over.wait(0.02):
            at_once.append(alive(service))

    looking = threading.Thread(target=look, daemon=True)
    service.pushlive("resume", "hello")
    repository.commit(web("killed"), "Killed")
    push = repository.started("push", "pushlive", "main")
    looking.start()
    try:
        until(lambda: not alive(service), 60)
        service.kill()
        push.communicate(timeout=60)
        service.up()
        assert service.wait("hello")["outcome"] == "live"
        assert service.page() == "killed\n"
    finally:
        over.set()
        looking.join(30)
    assert max(len(one) for one in at_once) == 1
