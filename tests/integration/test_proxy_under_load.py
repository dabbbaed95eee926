"""No request is lost in a switch, a revert, or when a pipeline is added."""

from __future__ import annotations

from pipeline.config.settings import Settings
from pipeline.domain.engine_types import SlotRef
from tests.conftest import PORTS, Bench
from tests.support.load import Load, release_of
from tests.support.waiting import until

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
