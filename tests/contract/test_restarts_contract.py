"""What every engine that restarts containers itself promises of a restart that is broken off."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import docker
from pipeline.domain.events import Event
from pipeline.errors import LeaseLost
from tests.contract.test_engine_contract import Kit, kit_for
from tests.support.lost import Lost


@pytest.fixture(params=["fake", "docker"])
def kit(request: pytest.FixtureRequest) -> Iterator[Kit]:
    for one in kit_for(request):
        one.engine.prepare(one.ref(), ())
        yield one


def broken_off(kit: Kit, looks: int) -> tuple[str, ...]:
    """What is missing after a restart whose lease is lost that many looks after its first replica."""
    spec, told, seen = kit.spec(), list[Event](), list[int]()
    kit.stand(spec)
    kit.engine.switch(spec)

    def lost() -> bool:
        seen.extend([1] if told else [])
        return len(seen) > looks

    with pytest.raises(LeaseLost):
        kit.engine.restart_slot(spec, "a1", told.append, Lost(kit.watch(), lost))
    assert len(told) == 1
    return kit.engine.missing(spec)


def test_without_its_lease_a_restart_goes_no_further(kit: Kit) -> None:
    assert broken_off(kit, 0) == ()


@pytest.mark.parametrize("kit", ["docker"], indirect=True)
def test_a_replica_that_a_broken_off_restart_took_out_gets_requests_again(kit: Kit) -> None:
    assert broken_off(kit, 1) == ("the proxy does not know its containers",)
    assert kit.engine.restore(kit.spec())
    assert kit.engine.missing(kit.spec()) == ()
    assert [one.healthy for one in kit.engine.health(kit.spec())] == [True, True]


def test_a_replica_that_is_started_again_by_itself_keeps_its_place(kit: Kit) -> None:
    spec = kit.spec()
    kit.stand(spec)
    before = {one.name: one.address for one in kit.engine.replicas(spec.ref)}
    kit.engine.revive(spec, next(iter(before)))
    assert {one.name: one.address for one in kit.engine.replicas(spec.ref)} == before
    assert {one.state for one in kit.engine.replicas(spec.ref)} == {"running"}
    kit.engine.ready(spec, lambda _: None, kit.watch())


@pytest.mark.parametrize("kit", ["docker"], indirect=True)
def test_a_paused_container_is_said_to_be_paused_and_has_not_exited(kit: Kit) -> None:
    spec = kit.spec()
    kit.stand(spec)
    first, second = kit.engine.replicas(spec.ref)
    client = docker.from_env()
    client.containers.get(first.name).pause()
    try:
        paused, other = kit.engine.replicas(spec.ref)
        assert (paused.paused, paused.state, paused.exit_code) == (True, "starting", None)
        assert other == second
    finally:
        client.containers.get(first.name).unpause()
        client.close()
    assert kit.engine.replicas(spec.ref) == (first, second)
