"""The proxy of a remote Docker Engine is replaced while it runs, and no request fails."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pipeline.adapters.haproxy import config, remote
from pipeline.adapters.haproxy.handover.remote import MAIN, OTHERS
from pipeline.adapters.haproxy.remote import RemoteProxy
from pipeline.domain.engine_types import SlotRef, SlotSpec
from pipeline.errors import EngineFailed
from pipeline.ports.clock import Deadline, SystemClock
from tests.support.load import KeptAlive, Load, release_of
from tests.support.remote_engine import RemoteEngine
from tests.support.service import get
from tests.support.specs import SAMPLE, slot_spec
from tests.support.waiting import until

REPLACED = "the proxy {} was replaced by one with this version's configuration"
HOST = "handover.example"


@pytest.fixture(scope="module")
def proxy(there: RemoteEngine) -> RemoteProxy:
    found = there.engine._proxy
    assert isinstance(found, RemoteProxy)
    return found


@pytest.fixture(scope="module")
def serving(there: RemoteEngine, proxy: RemoteProxy) -> Iterator[SlotSpec]:
    """A release behind the proxy that an earlier version started."""
    name, index = there.name()
    ref = SlotRef(name, "live", index, "blue", there.key)
    spec = slot_spec(ref, 1, remote=there.remote, hosts=(HOST,), **SAMPLE)
    proxy.stop()
    with pytest.MonkeyPatch.context() as patch:
        earlier(patch)
        there.engine.prepare(ref, spec.config.hosts)
        deploy(there, spec)
    yield spec
    there.engine.remove(ref)
    proxy.stop()


def deploy(there: RemoteEngine, spec: SlotSpec) -> None:
    watch = Deadline(SystemClock(), 60)
    there.engine.start(spec, watch)
    there.engine.ready(spec, lambda event: None, watch)
    there.engine.expose(spec)
    there.engine.switch(spec)


def earlier(patch: pytest.MonkeyPatch) -> None:
    """As versions up to this one had it: one fixed place for commands."""
    patch.setattr(remote, "ADDRESS", f"127.0.0.1:{MAIN}")
    changed(patch, "maxconnrate 100000")


def changed(patch: pytest.MonkeyPatch, line: str) -> None:
    patch.setattr(config, "_HEAD", config._HEAD.replace("    nbthread 2\n", f"    nbthread 2\n    {line}\n"))


def ended(proxy: RemoteProxy) -> list[str]:
    """What there was to report, once the one that was replaced has ended."""
    said = list[str]()
    until(lambda: said.extend(proxy.tend(lambda: 0)) or proxy._remote.handover.first() is None, 30)
    return said


def test_fault_55_a_remote_proxy_is_replaced_under_load_and_no_request_fails(
    there: RemoteEngine, proxy: RemoteProxy, serving: SlotSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, port = f"{there.settings.instance}-proxy", int(there.settings.proxy_http.rpartition(":")[2])
    clients = [KeptAlive(port, path, HOST) for path in ("/?text", "/?text", "/cgi-bin/slow.cgi?1")]
    load = Load(port, release_of, HOST, pause=0.05).fresh(1)
    before = there.client.api.inspect_container(name)["Id"]
    for client in clients:
        client.start()
    with load:
        for number in range(2):  # from an earlier version's, and from one that took over
            until(load.reached(10), 20)
            wanted = sum(client.moved for client in clients) + len(clients)
            with monkeypatch.context() as patch:
                if number:
                    changed(patch, "maxconnrate 200000")
                assert "has another version's configuration: `pushlive doctor --fix`" in proxy.examine()
                proxy._tried = False  # the service has just been started
                assert proxy.tend(lambda: 60) == [REPLACED.format(name)]
                assert proxy.renew(60) == []
                assert ended(proxy) == []
                until(lambda n=wanted: sum(client.moved for client in clients) >= n)
                assert [at for at in (MAIN, *OTHERS) if answers(proxy, at)] == [OTHERS[number]]
        until(load.reached(10), 20)
    for client in clients:
        client.end()
    assert [client.failures for client in clients] == [[]] * len(clients)
    # one that is opened just when the first proxy closes its port may be reset; no request is
    assert [text for text in load.failures if "ConnectionResetError" not in text] == []
    assert len(load.failures) <= 1
    assert there.client.api.inspect_container(name)["Id"] == before


def answers(proxy: RemoteProxy, port: int) -> bool:
    """Whether a proxy takes commands there."""
    return proxy._remote._at(port).answers()


def served(there: RemoteEngine) -> str:
    """The release that answers; "" if none does."""
    try:
        return release_of(get(f"http://{there.settings.proxy_http}/?text", Host=HOST)[1])
    except (OSError, StopIteration):
        return ""


def test_fault_55_a_remote_proxy_that_cannot_be_replaced_goes_on(
    there: RemoteEngine, proxy: RemoteProxy, serving: SlotSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy.renew(60)
    ended(proxy)
    port, before = int(there.settings.proxy_http.rpartition(":")[2]), proxy._control.info("Pid")
    with Load(port, release_of, HOST, pause=0.05).kept_alive(1).fresh(1) as load:
        for broken in ("nonsense", "stats socket 0.0.0.1:9 level admin"):  # it is read, and does not start
            until(load.reached(10), 20)
            with monkeypatch.context() as patch:
                changed(patch, broken)
                with pytest.raises(EngineFailed, match=r"does not start\. It said: .*goes on as before"):
                    proxy.renew(60)
        until(load.reached(10), 20)
    # The second one may have had the port for a moment. A connection that the kernel gave it then ends with it: by a
    # reset, or without an answer where Docker's own proxy is in between.
    cut = ("ConnectionResetError", "RemoteDisconnected")
    assert [text for text in load.failures if not any(name in text for name in cut)] == []
    assert len(load.failures) <= 1
    assert proxy._control.info("Pid") == before
    assert proxy.renew(60) == []
    there.engine.switch(serving)


def test_fault_55_a_remote_container_comes_back_with_what_took_over(
    there: RemoteEngine, proxy: RemoteProxy, serving: SlotSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"{there.settings.instance}-proxy"
    with monkeypatch.context() as patch:
        changed(patch, "maxconnrate 200000")
        proxy.renew(60)
        there.client.api.restart(name, timeout=0)  # the first one has not been ended yet
        until(lambda: served(there) == "r1", 30)
        assert proxy.renew(60) == []
        assert ended(proxy) == []
        assert answers(proxy, MAIN)
    proxy.renew(60)
    ended(proxy)
    assert not answers(proxy, MAIN)
    proxy._remote.handover._shell('kill -9 "$1"', proxy._control.info("Pid"))
    until(lambda: answers(proxy, MAIN), 30)
    until(lambda: served(there) == "r1", 30)
    there.engine.switch(serving)


def test_fault_55_a_remote_handover_that_was_cut_off_is_ended(
    there: RemoteEngine, proxy: RemoteProxy, serving: SlotSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        changed(patch, "maxconnrate 200000")
        with proxy._folder.locked():
            proxy._folder.save(proxy._folder.load())
        before = proxy._control.info("Pid")
        proxy._remote.replace()
        assert proxy._control.info("Pid") != before
        proxy._seen = False
        proxy.ensure()
        ended(proxy)
        assert sum(answers(proxy, port) for port in (MAIN, *OTHERS)) == 1
        assert proxy.renew(60) == []
        assert served(there) == "r1"
    proxy.renew(60)
    ended(proxy)
