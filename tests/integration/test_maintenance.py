"""A real proxy gives visitors a notice, whatever serves behind it."""

from __future__ import annotations

import http.client
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape

import docker
from pipeline.adapters.haproxy.control import Control
from pipeline.config.settings import Settings
from pipeline.domain.visitors.maintenance import LONGEST, Notice
from tests.conftest import Bench
from tests.integration.test_proxy_restarts import ask, pid_of, send
from tests.support.load import Load
from tests.support.waiting import until

HOSTILE = "%[env(PATH)] \"'\\ </script><b>; show info << ${HOME} `id` %0d%0a a.b é 👩‍🚀"
Answer = tuple[int, str, dict[str, str]]


def get(port: int, path: str = "/", method: str = "GET", **headers: str) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    found = answer.status, answer.read().decode(), {key.lower(): value for key, value in answer.getheaders()}
    connection.close()
    return found


def read(body: str) -> str:
    """What the load counts of an answer."""
    return "application" if "release=" in body else "?"


@contextmanager
def refused(port: int) -> Iterator[Load]:
    """Load whose answers are all either the application's or the notice."""
    with Load(port, read, pause=0.01).kept_alive(2).fresh(2) as load:
        yield load
    others = [one for one in load.failures if "503: back at nine" not in one]
    assert others == []


def test_visitors_get_the_notice_and_checks_the_application(
    bench: Bench, settings: Settings, docker_client: docker.DockerClient
) -> None:
    engine, blue, green = bench.engine, bench.spec("blue", 1), bench.spec("green", 2)
    port, ref = settings.port_range[bench.index], blue.ref
    bench.deploy(blue)
    notice = Notice("back at nine", time.time() + 3600)
    with refused(port) as load:
        until(load.reached(20))
        assert load.failures == []
        engine.set_notice(ref, notice)
        status, body, headers = get(port)
        assert (status, body) == (503, "503: back at nine\n")
        assert 3500 < int(headers["retry-after"]) <= 3601
        bench.deploy(green)  # with its checks of the public route
        assert get(port)[0] == 503
        engine.switch(blue)  # a revert
        assert (get(port)[0], ask(engine.public(blue))) == (503, engine.public(blue).expect[0])
        assert ask(engine.preview(green)) in engine.preview(green).expect
        engine.set_notice(ref, None)
        assert get(port, "/?text")[0] == 200
        until(load.reached(20))
    engine.set_notice(ref, notice)
    before = pid_of(docker_client, settings)
    send(docker_client, settings, signal.SIGKILL)
    until(lambda: pid_of(docker_client, settings) not in (0, before))
    until(Control(settings.data / "proxy").answers)
    assert engine.has_notice(ref, notice)
    assert get(port)[0] == 503
    engine.unroute(ref)
    assert get(port)[1] == "503: back at nine\n"


def test_a_hostile_message_is_text(bench: Bench, settings: Settings) -> None:
    engine, port, ref = bench.engine, settings.port_range[bench.index], bench.ref()
    bench.deploy(bench.spec())
    for message in (HOSTILE, '"' * LONGEST, "👩" * LONGEST):
        engine.set_notice(ref, Notice(message))
        assert engine.has_notice(ref, Notice(message))
        status, body, headers = get(port)
        assert (status, body) == (503, f"503: {message}\n")
        assert (headers["retry-after"], headers["content-type"]) == ("300", "text/plain; charset=utf-8")
        status, page, headers = get(port, "/any?x=1", Accept="text/html,*/*;q=0.8")
        assert (status, headers["content-type"]) == (503, "text/html; charset=utf-8")
        assert page.count(f'<p lang="" dir="auto">{escape(message)}</p>') == 1
        assert get(port, method="HEAD")[:2] == (503, "")
    engine.set_notice(ref, None)
    engine.set_notice(ref, None)
    assert get(port, "/?text")[0] == 200
