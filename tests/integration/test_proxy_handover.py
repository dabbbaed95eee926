"""A running proxy is replaced by one with another configuration, and no request fails."""

from __future__ import annotations

import http.client
import re
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

import docker
from pipeline.adapters.haproxy import config
from pipeline.adapters.haproxy.handover import draining
from pipeline.adapters.haproxy.handover.local import NEXT
from pipeline.adapters.haproxy.proxy import Proxy
from pipeline.adapters.haproxy.rules import body, registry
from pipeline.config.settings import Settings
from pipeline.errors import EngineFailed, TryAgain
from tests.conftest import Bench
from tests.support.load import KeptAlive, Load, release_of
from tests.support.waiting import until


def pids(client: docker.DockerClient, settings: Settings) -> list[int]:
    """The processes of the instance's proxies."""
    mine = {"label": [f"pushlive.instance={settings.instance}", "pushlive.role=proxy"]}
    found = client.api.containers(all=True, filters=mine)
    return [client.api.inspect_container(one["Id"])["State"]["Pid"] for one in found]


REPLACED = "the proxy {} was replaced by one with this version's configuration"


def ended(proxy: Proxy) -> list[str]:
    """What there was to report, once the one that was replaced is gone."""
    said = list[str]()
    until(lambda: said.extend(proxy.tend(lambda: 0)) or proxy._container.handover.first() is None, 20)
    return said


def changed(patch: pytest.MonkeyPatch, line: str) -> None:
    """Another version's configuration."""
    patch.setattr(config, "_HEAD", config._HEAD.replace("    nbthread 2\n", f"    nbthread 2\n    {line}\n"))


def test_fault_55_a_proxy_is_replaced_under_load_and_no_request_fails(
    bench: Bench,
    settings: Settings,
    proxy: Proxy,
    docker_client: docker.DockerClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench.deploy(bench.spec())
    port, name = settings.port_range[bench.index], f"{settings.instance}-proxy"
    paths = ["/?text", "/?text", "/cgi-bin/slow.cgi?1"]
    clients = [KeptAlive(port, path) for path in paths]
    load = Load(port, release_of, pause=0.05).fresh(1)
    for client in clients:
        client.start()
    with load:
        for wanted in (True, False):  # to another version's configuration, and back
            until(load.reached(10), 20)
            before, moved = pids(docker_client, settings), sum(client.moved for client in clients)
            with monkeypatch.context() as patch:
                if wanted:
                    changed(patch, "maxconnrate 100000")
                assert "has another version's configuration" in proxy.examine()
                assert proxy.renew(60) == [REPLACED.format(name)]
                assert proxy.renew(60) == []
                assert re.fullmatch(
                    rf"{name} answers commands and requests; its limit of \d+ open files .*", proxy.examine()
                )
                ended(proxy)
            [now] = pids(docker_client, settings)
            assert now not in before
            wanted_moves = moved + len(clients)
            until(lambda n=wanted_moves: sum(client.moved for client in clients) >= n)
            assert bench.engine.serving(bench.ref()) == "blue"
        until(load.reached(10), 20)
    for client in clients:
        client.end()
    assert [client.failures for client in clients] == [[]] * len(clients)
    # one that is opened just when the first proxy closes its port may be reset; no request is
    assert [text for text in load.failures if "ConnectionResetError" not in text] == []
    assert len(load.failures) <= 1
    assert all(client.answers for client in clients)


def test_one_that_does_not_know_whom_to_keep_out_gets_no_such_release(
    bench: Bench, settings: Settings, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.deploy(bench.spec())
    with monkeypatch.context() as patch:
        patch.setattr(registry, "lines", lambda _: body.LINES)
        proxy.renew(60)
        ended(proxy)
    port, closed = settings.port_range[bench.index], bench.spec(http={"allow": ["192.0.2.1"]})
    with pytest.raises(EngineFailed, match="would let in everyone"):
        bench.engine.expose(closed)
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as before:
        before.request("GET", "/cgi-bin/slow.cgi?2")  # the one that is replaced still has it
        proxy.renew(60)
        with pytest.raises(TryAgain, match="still ends the connections"):
            bench.engine.expose(closed)
        assert before.getresponse().status == 200
    ended(proxy)
    bench.engine.expose(closed)
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as visitor:
        visitor.request("GET", "/")
        assert visitor.getresponse().status == 403
    bench.engine.expose(bench.spec())


def test_fault_55_one_that_cannot_be_replaced_goes_on(
    bench: Bench,
    settings: Settings,
    proxy: Proxy,
    docker_client: docker.DockerClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench.deploy(bench.spec())
    before = pids(docker_client, settings)
    with Load(settings.port_range[bench.index], release_of, pause=0.02).kept_alive(1).fresh(1) as load:
        until(load.reached(10), 20)
        with monkeypatch.context() as patch:
            changed(patch, "nonsense")
            with pytest.raises(EngineFailed, match=r"nonsense.*goes on as before"):
                proxy.renew(60)
        until(load.reached(10), 20)
    assert load.failures == []
    assert pids(docker_client, settings) == before
    assert proxy.renew(60) == []  # it is the one with this version's configuration, and takes commands
    bench.engine.switch(bench.spec())


def test_fault_55_a_handover_that_was_cut_off_is_ended(
    bench: Bench, settings: Settings, proxy: Proxy, docker_client: docker.DockerClient
) -> None:
    bench.deploy(bench.spec())
    name = f"{settings.instance}-proxy"
    docker_client.api.rename(name, f"{name}{NEXT}")
    proxy._seen = False
    proxy.ensure()
    assert docker_client.api.inspect_container(name)["State"]["Running"]
    assert len(pids(docker_client, settings)) == 1
    bench.engine.switch(bench.spec())
    assert ended(proxy) == []


# It answers once it is told to.
PATIENT = """\
mkdir -p /tmp/www/cgi-bin
cat > /tmp/www/cgi-bin/wait.cgi <<'SCRIPT'
#!/bin/sh
until [ -e /tmp/go ]; do sleep 0.1; done
printf 'Content-Type: text/plain\\r\\n\\r\\nrelease=r1\\n'
SCRIPT
chmod +x /tmp/www/cgi-bin/wait.cgi
touch /tmp/www/healthz
exec httpd -f -p 8080 -h /tmp/www
"""
LEAST = 0.3  # seconds


@contextmanager
def an_open_request(
    bench: Bench, settings: Settings, proxy: Proxy, patch: pytest.MonkeyPatch, drain: float
) -> Iterator[list[str]]:
    """The answer to a request during which the proxy is replaced, or why there was none."""
    bench.deploy(bench.spec(command=("sh", "-c", PATIENT)))
    patch.setattr(draining, "LEAST", LEAST)
    answers = list[str]()
    asker = threading.Thread(target=lambda: answers.append(answer_of(settings.port_range[bench.index])))
    asker.start()
    until(lambda: bench.engine.open_sessions(bench.ref()) == 1)
    with patch.context() as earlier:
        changed(earlier, "maxconnrate 100000")
        proxy.renew(drain)
        assert bench.engine.open_sessions(bench.ref()) == 1  # in the one that was replaced
        yield answers
        asker.join(20)
    proxy.renew(0)
    ended(proxy)


def answer_of(port: int) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET", "/cgi-bin/wait.cgi")
        return connection.getresponse().read().decode()
    except (OSError, http.client.HTTPException) as error:
        return repr(error)
    finally:
        connection.close()


def test_fault_55_a_request_may_last_as_long_as_drain_allows(
    bench: Bench,
    settings: Settings,
    proxy: Proxy,
    docker_client: docker.DockerClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with an_open_request(bench, settings, proxy, monkeypatch, drain=60) as answers:
        beyond = time.monotonic() + LEAST
        until(lambda: time.monotonic() > beyond)
        assert proxy.tend(lambda: 0) == []
        assert len(pids(docker_client, settings)) == 2
        [replica] = bench.engine.replicas(bench.ref())
        docker_client.containers.get(replica.name).exec_run(["touch", "/tmp/go"])
        assert ended(proxy) == []
        until(lambda: answers)
    assert answers == ["release=r1\n"]


def test_fault_55_what_lasts_longer_than_drain_is_cut_off_and_said(
    bench: Bench, settings: Settings, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    with an_open_request(bench, settings, proxy, monkeypatch, drain=0) as answers:
        [said] = ended(proxy)
        until(lambda: answers)
    assert "was replaced; what the former one had not ended after 0.3 s was cut off" in said
    assert answers == ["RemoteDisconnected('Remote end closed connection without response')"]


def test_fault_55_a_switch_is_for_connections_of_the_former_proxy_as_well(
    bench: Bench, settings: Settings, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.deploy(bench.spec())
    connection = http.client.HTTPConnection("127.0.0.1", settings.port_range[bench.index], timeout=20)
    assert b"release=r1" in asked(connection)
    first = connection.sock
    with monkeypatch.context() as patch:
        changed(patch, "maxconnrate 100000")
        proxy.renew(60)
        with monkeypatch.context() as third:
            changed(third, "maxconnrate 200000")
            with pytest.raises(TryAgain, match="still ends the connections"):
                proxy.renew(60)
        bench.deploy(bench.spec("green", 2))
        bench.engine.drain(bench.ref("blue"), 1.0, bench.watch())
        bench.engine.stop(bench.ref("blue"))
        assert connection.sock is first
        assert b"release=r2" in asked(connection)
        assert connection.sock is None  # the answer said that it was the last one
        ended(proxy)
    proxy.renew(60)
    ended(proxy)


def asked(connection: http.client.HTTPConnection) -> bytes:
    connection.request("GET", "/?text")
    return connection.getresponse().read()
