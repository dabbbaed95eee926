"""A running proxy is replaced by one with another configuration, and no request fails."""

from __future__ import annotations

import http.client
import re
import threading

import pytest

import docker
from pipeline.adapters.haproxy import config
from pipeline.adapters.haproxy.handover import NEXT
from pipeline.adapters.haproxy.proxy import Proxy
from pipeline.config.settings import Settings
from pipeline.errors import EngineFailed
from tests.conftest import Bench
from tests.support.load import Load, release_of
from tests.support.waiting import until


class KeptAlive(threading.Thread):
    """A client that uses one connection until an answer says that it is the last one; then it opens another."""

    def __init__(self, port: int, path: str) -> None:
        super().__init__(daemon=True)
        self.port, self.path = port, path
        self.answers, self.moved, self.failures = 0, 0, list[str]()
        self.over = threading.Event()

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        while not self.over.wait(0.01):
            try:
                connection.request("GET", self.path)
                answer = connection.getresponse()
                self.moved += answer.will_close
                if b"release=r1" not in answer.read() or answer.status != 200:
                    self.failures.append(str(answer.status))
                self.answers += 1
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(repr(error))
                connection.close()
        connection.close()


def pids(client: docker.DockerClient, settings: Settings) -> list[int]:
    """The processes of the instance's proxies."""
    mine = {"label": [f"pushlive.instance={settings.instance}", "pushlive.role=proxy"]}
    found = client.api.containers(all=True, filters=mine)
    return [client.api.inspect_container(one["Id"])["State"]["Pid"] for one in found]


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
                said = proxy.renew()
                assert said == [f"the proxy {name} was replaced by one with this version's configuration."]
                assert proxy.renew() == []
                assert re.fullmatch(
                    rf"{name} answers commands and requests; its limit of \d+ open files .*", proxy.examine()
                )
            [now] = pids(docker_client, settings)
            assert now not in before
            wanted_moves = moved + len(clients)
            until(lambda n=wanted_moves: sum(client.moved for client in clients) >= n)
            assert bench.engine.serving(bench.ref()) == "blue"
        until(load.reached(10), 20)
    for client in clients:
        client.over.set()
        client.join(20)
    assert [client.failures for client in clients] == [[]] * len(clients)
    # one that is opened just when the first proxy closes its port may be reset; no request is
    assert [text for text in load.failures if "ConnectionResetError" not in text] == []
    assert len(load.failures) <= 1
    assert all(client.answers for client in clients)


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
                proxy.renew()
        until(load.reached(10), 20)
    assert load.failures == []
    assert pids(docker_client, settings) == before
    assert proxy.renew() == []  # it is the one with this version's configuration, and takes commands
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
