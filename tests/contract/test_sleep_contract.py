"""What every engine promises about environments that sleep."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import docker
from pipeline.domain.engine_types import SlotSpec
from pipeline.errors import RequestError
from tests.cluster.sleeping import account, activator_image
from tests.contract.test_engine_contract import Kit, kit_for
from tests.support.waiting import until

WAIT = 50.0  # seconds that a request waits


@pytest.fixture(params=["fake", "docker", "cluster"])
def kit(request: pytest.FixtureRequest) -> Iterator[Kit]:
    for one in kit_for(request):
        if request.param == "cluster":
            client: docker.DockerClient = request.getfixturevalue("docker_client")
            bench = request.getfixturevalue("cluster_bench")
            bench.engine._activator_image = activator_image(client, request.getfixturevalue("registry"))
            account(bench.api.namespace)
        yield one


def asleep(kit: Kit, spec: SlotSpec) -> None:
    kit.engine.await_request(spec.ref, WAIT)
    kit.engine.end_sleeping(spec)
    until(lambda: not kit.engine.still_awake(spec), 30)


def test_what_serves_sleeps_and_is_woken_again_and_again(kit: Kit) -> None:
    engine, probe = kit.engine, kit.probe
    spec = kit.spec(processes={"work": {"command": ["sleep", "600"], "stop": 1.0}})
    kit.deploy(spec)
    engine.start_processes(spec, kit.watch())
    engine.can_sleep(spec.ref)
    until(lambda: engine.activity(spec.ref), 60)
    with pytest.raises(RequestError):
        engine.end_sleeping(spec)  # its requests would not wait
    for _ in range(2):
        engine.await_request(spec.ref, WAIT)
        engine.await_request(spec.ref, WAIT)
        assert (engine.awaits_request(spec.ref), engine.serving(spec.ref)) == (True, None)
        assert len(engine.still_awake(spec)) == 3
        asleep(kit, spec)
        asleep(kit, spec)
        assert engine.awaits_request(spec.ref)
        assert not engine.is_wanted(spec.ref)
        engine.wake(spec, kit.watch(60))
        engine.wake(spec, kit.watch(60))
        assert [one.state for one in engine.replicas(spec.ref)] == ["running", "running"]
        engine.switch(spec)
        assert (engine.awaits_request(spec.ref), engine.serving(spec.ref)) == (False, spec.ref.slot)
        assert engine.missing(spec) == ()
        engine.restore_processes(spec)
        assert engine.missing_processes(spec) == ()
        until(lambda: probe.get(engine.public(spec), "/healthz", 5).status == 200)
        until(lambda: len(engine.processes(spec.ref)) == 1)


def test_another_release_an_end_of_the_traffic_and_a_removal_end_it(kit: Kit) -> None:
    engine, blue, green = kit.engine, kit.spec("blue", 1), kit.spec("green", 2)
    kit.deploy(blue)
    asleep(kit, blue)
    engine.unroute(blue.ref)
    assert not engine.awaits_request(blue.ref)
    asleep(kit, blue)
    kit.stand(green)
    engine.switch(green)
    assert (engine.awaits_request(green.ref), engine.serving(green.ref)) == (False, "green")
    engine.stop(blue.ref)
    assert {one.slot for one in engine.slots() if one.pipeline == kit.name} <= {"blue", "green"}
    asleep(kit, green)
    assert engine.remove(green.ref) == ""
    until(lambda: kit.name not in {one.pipeline for one in engine.environments()}, 30)
