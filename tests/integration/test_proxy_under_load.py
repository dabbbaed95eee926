"""No request is lost in a switch, a revert, or when a pipeline is added."""

from __future__ import annotations

import socket
import time

from pipeline.adapters.haproxy.proxy import Proxy
from pipeline.adapters.http.probe import HttpProbe
from pipeline.config.settings import Settings
from pipeline.domain.engine_types import Route, SlotRef
from tests.conftest import PORTS, Bench
from tests.support.load import Load, release_of
from tests.support.waiting import PATIENCE, until

SWITCHES = 20


def test_fault_30_switches_and_reverts_under_load_lose_nothing(bench: Bench, settings: Settings) -> None:
    engine = bench.engine
    blue, green = bench.spec("blue", 1, replicas=2), bench.spec("green", 2, replicas=2)
    bench.deploy(blue)
    load = Load(settings.port_range[bench.index], release_of)
    load.kept_alive(4).fresh(2).kept_alive(2, "/cgi-bin/slow.cgi?1").fresh(1, "/cgi-bin/slow.cgi?2")
    with load:
        engine.start(green, bench.watch())
        engine.ready(green, bench.events.append, bench.watch())
        engine.expose(green)
        for number in range(SWITCHES):
            to = (green, blue)[number % 2]
            until(load.reached(20), 20)
            engine.switch(to)
        # meanwhile a pipeline is added and removed
        other = SlotRef("newcomer", "live", (bench.index + PORTS // 2) % PORTS, "blue")
        engine.prepare(other, ("newcomer.example.com",))
        until(load.reached(20), 20)
        engine.remove(other)
        # then the old slot is drained of its slow requests and stopped
        engine.switch(green)
        assert engine.drain(blue.ref, 10, bench.watch()) == 0
        engine.stop(blue.ref)
        until(load.reached(50), 20)
    assert load.failures == []
    assert load.answers["r1"] > 100
    assert load.answers["r2"] > 100


def test_fault_30_a_request_that_does_not_end_in_time_is_closed(bench: Bench, settings: Settings) -> None:
    engine, blue, green = bench.engine, bench.spec("blue", 1), bench.spec("green", 2)
    bench.deploy(blue)
    load = Load(settings.port_range[bench.index], release_of).fresh(3, "/cgi-bin/slow.cgi?4")
    with load:
        until(lambda: engine.open_sessions(blue.ref) == 3)
        bench.deploy(green)
        assert engine.drain(blue.ref, 0.3, bench.watch()) == 3
        until(lambda: engine.open_sessions(blue.ref) == 0)
        engine.stop(blue.ref)
        load._over.set()
    assert len(load.failures) == 3


def test_a_dead_replica_loses_no_request(bench: Bench, settings: Settings) -> None:
    spec = bench.spec(replicas=2)
    bench.deploy(spec)
    victim = bench.engine.replicas(spec.ref)[0]
    with Load(settings.port_range[bench.index], release_of).kept_alive(2).fresh(2) as load:
        until(load.reached(50), 20)
        bench.engine._api.sdk.stop(victim.name, timeout=1)
        until(load.reached(300), 30)
    assert load.failures == []


DOWNS = 5


def row(proxy: Proxy, backend: str, server: str) -> list[str]:
    """One server as ``show stat`` has it."""
    lines = proxy._control.ask(f"show stat {backend} 4 -1").splitlines()
    return next(fields for line in lines if (fields := line.split(","))[:2] == [backend, server])


def taken_out(proxy: Proxy, backend: str) -> bool:
    return row(proxy, backend, "s1")[17].startswith("DOWN")


def test_fault_53_replicas_keep_their_requests_though_all_their_checks_fail(
    bench: Bench, settings: Settings, proxy: Proxy
) -> None:
    bench.deploy(bench.spec(replicas=2))
    name, public = f"e{bench.index}-blue", bench.engine.public(bench.spec(replicas=2))
    load = Load(settings.port_range[bench.index], release_of)
    with load.kept_alive(2).fresh(2):
        for _ in range(DOWNS):
            health(proxy, name, "down")
            until(load.reached(20), 20)
            health(proxy, name, "up")
            until(load.reached(20), 20)
    assert load.failures == []
    assert int(row(proxy, name, "last")[7]) >= DOWNS
    # both are asked, and a check learns their names though the proxy took another way to them
    health(proxy, name, "down")
    asked = set()
    until(lambda: asked.add(HttpProbe().get(public, "/healthz", 5).served_by) or len(asked) == 2, 20)
    assert asked == set(public.expect)


def health(proxy: Proxy, backend: str, word: str) -> None:
    """What a check would find: ``up`` or ``down``."""
    proxy._control.ask(f"set server {backend}/s1 health {word};set server {backend}/s2 health {word}")


def test_fault_53_a_dead_application_is_said_to_be_dead_and_served_as_soon_as_it_accepts(
    bench: Bench, settings: Settings, proxy: Proxy
) -> None:
    spec = bench.spec()
    bench.deploy(spec)
    name = f"e{bench.index}-blue"
    replica = bench.engine.replicas(spec.ref)[0]
    address, port = proxy.servers(bench.index, "blue")[0]
    public = Route(f"http://127.0.0.1:{settings.port_range[bench.index]}")
    sdk = bench.engine._api.sdk
    sdk.stop(replica.name, timeout=1)
    until(lambda: HttpProbe().get(public, "/", 20).status == 503 and taken_out(proxy, name), 30)
    began = time.monotonic()
    answer = HttpProbe().get(public, "/", 20)
    assert (answer.status, b"pushlive status" in answer.body) == (503, True)
    assert time.monotonic() - began < 4 * PATIENCE
    sdk.start(replica.name)
    until(lambda: accepts(address, port), 20)
    # whether its check has seen that already or not
    assert HttpProbe().get(public, "/healthz", 20).status == 200


def accepts(address: str, port: int) -> bool:
    with socket.socket() as client:
        client.settimeout(1)
        return client.connect_ex((address, port)) == 0
