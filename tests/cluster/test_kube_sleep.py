"""An environment on a real cluster goes to sleep and is woken, with clients that ask all the time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
import urllib3

import docker
from pipeline.adapters.kubernetes.names import base
from pipeline.domain.engine_types import SlotSpec
from tests.cluster.sleeping import account, activator_image
from tests.support.clusterbench import ClusterBench
from tests.support.waiting import until


@pytest.fixture
def bench(own: ClusterBench, docker_client: docker.DockerClient, registry: str) -> ClusterBench:
    own.engine._activator_image = activator_image(docker_client, registry)
    account(own.api.namespace)
    return own


@dataclass
class Clients:
    """Each asks again and again, by a new connection; ``wrong`` is every answer that was none of the application."""

    address: str
    answers: list[int] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    def ask(self) -> None:
        headers = {"Connection": "close"}
        with urllib3.PoolManager(retries=False, timeout=urllib3.Timeout(60)) as pool:
            while not self.ended.is_set():
                try:
                    answer = pool.request("GET", f"http://{self.address}/healthz", headers=headers)
                except urllib3.exceptions.HTTPError as error:
                    self.wrong.append(repr(error))
                    continue
                self.answers.append(answer.status)
                if answer.status != 200:
                    self.wrong.append(f"{answer.status} {answer.data[:80]!r}")


def address(bench: ClusterBench) -> str:
    found = bench.api.get("Service", base(bench.ref()))
    assert found
    return str(found["spec"]["clusterIP"])


def answers(bench: ClusterBench) -> bool:
    try:
        return urllib3.request("GET", f"http://{address(bench)}/healthz", retries=False).status == 200
    except urllib3.exceptions.HTTPError:
        return False


def together(clients: Clients, count: int) -> Callable[[], None]:
    threads = [threading.Thread(target=clients.ask) for _ in range(count)]
    for one in threads:
        one.start()

    def end() -> None:
        clients.ended.set()
        for one in threads:
            one.join(90)

    return end


def counted(bench: ClusterBench, spec: SlotSpec) -> None:
    """Its connections come by the activator, which has said so."""
    until(lambda: bench.engine.activity(spec.ref), 60)


def test_it_sleeps_and_ten_clients_at_once_wake_it_although_nothing_else_does(bench: ClusterBench) -> None:
    """Nobody is asked but the activator: as while the service is down."""
    engine, spec = bench.engine, bench.spec(replicas=2)
    bench.deploy(spec)
    until(lambda: answers(bench))  # the node has followed
    clients = Clients(address(bench))
    end = together(clients, 4)
    try:
        counted(bench, spec)
        assert engine.serving(spec.ref) == "blue"
        assert engine.missing(spec) == engine.drift(spec) == ()
        before = engine.activity(spec.ref)
        until(lambda: engine.activity(spec.ref) not in (None, before))
        engine.await_request(spec.ref, 50)
        assert (engine.serving(spec.ref), engine.awaits_request(spec.ref)) == (None, True)
        engine.end_sleeping(spec)
        until(lambda: engine.is_wanted(spec.ref), 30)  # the clients have not ceased to ask
        until(lambda: len(clients.answers) > 200, 60)
        engine.wake(spec, bench.watch(60))
        engine.switch(spec)
        assert (engine.serving(spec.ref), engine.awaits_request(spec.ref)) == ("blue", False)
        counted(bench, spec)
    finally:
        end()
    assert clients.wrong == []
    # Without anyone who asks it stays asleep.
    engine.await_request(spec.ref, 50)
    engine.end_sleeping(spec)
    until(lambda: not bench.engine._all_pods(spec.ref), 60)
    assert not engine.is_wanted(spec.ref)
    (found,) = (one for one in engine.survey() if one.pipeline == bench.name)  # for a store that was lost
    assert (found.active, [one.replicas for one in found.slots]) == ("blue", [2])
    many = Clients(address(bench))
    end = together(many, 10)
    until(lambda: len(many.answers) >= 10, 60)
    end()
    assert many.wrong == []
    assert engine.is_wanted(spec.ref)
    assert engine.still_awake(spec) == ()
    engine.wake(spec, bench.watch(60))
    assert len(engine.replicas(spec.ref)) == 2


def test_a_revert_of_what_sleeps_starts_nothing_of_it(bench: ClusterBench) -> None:
    """The Service leads to the release that replaces it, and nothing wakes the other one."""
    engine, spec = bench.engine, bench.spec()
    bench.deploy(spec)
    counted(bench, spec)
    engine.await_request(spec.ref, 50)
    engine.end_sleeping(spec)
    until(lambda: not engine._all_pods(spec.ref), 60)
    after = bench.spec("green", release=2, run=2)
    engine.prepare(after.ref, after.hosts)
    assert (engine.serving(spec.ref), engine.awaits_request(spec.ref)) == (None, True)
    engine.start(after, bench.watch(60))
    engine.ready(after, lambda _: None, bench.watch(60))
    engine.expose(after)
    assert (engine.serving(spec.ref), engine.awaits_request(spec.ref)) == (None, True)
    engine.switch(after)
    assert (engine.serving(after.ref), engine.awaits_request(after.ref)) == ("green", False)
    assert engine._all_pods(spec.ref) == []
    assert engine.detach(spec.ref, "left") == 0
    engine.stop(spec.ref)
    until(lambda: answers(bench), 30)
    counted(bench, after)
    assert engine.serving(after.ref) == "green"
