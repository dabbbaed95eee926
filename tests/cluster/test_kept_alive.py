"""Real pods and real Service routing under clients that never reconnect by themselves, with every answer counted.
After a detach no client is answered by the old release, and no request is lost: if the server closes a connection
between two requests, the client repeats one request."""

from __future__ import annotations

import io
import json
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

import docker
from pipeline.adapters.kubernetes import engine_base
from pipeline.adapters.kubernetes.names import base
from pipeline.domain.engine_types import SlotSpec
from pipeline.errors import TryAgain
from tests.cluster.build import built, packed
from tests.cluster.callers import Callers
from tests.cluster.test_cluster import local
from tests.conftest import push, scripts_cluster
from tests.support.clusterbench import ClusterBench, make
from tests.support.waiting import until

pytestmark = local  # a Service's IP address can be reached from this machine


@pytest.fixture(scope="module")
def patient(docker_client: docker.DockerClient, registry: str, instance: str) -> str:
    """The image of an application that keeps connections alive and ends gracefully, by digest in the registry."""
    dockerfile = (
        f'FROM scratch\nLABEL pushlive.instance={instance}\nCOPY app /app\nUSER 65534\nCMD ["/app"]\n'
    )
    files = {"Dockerfile": dockerfile.encode(), "app": built("patient", "-s -w", "seconds").read_bytes()}
    tag, context = f"{instance}-patient:1", io.BytesIO(packed(files))
    docker_client.images.build(fileobj=context, custom_context=True, tag=tag, rm=True)
    return push(docker_client, tag, f"{registry}/{instance}-patient")


@dataclass
class Scene:
    """One environment with its clients."""

    bench: ClusterBench

    def spec(self, slot: str, release: int) -> SlotSpec:
        return self.bench.spec(slot, release, replicas=2, stop=5.0)

    @property
    def address(self) -> str:
        service = self.bench.api.get("Service", base(self.bench.ref()))
        assert service
        return str(service["spec"]["clusterIP"])

    def first(self) -> SlotSpec:
        """r1 serves in blue, and the node has seen it."""
        spec = self.spec("blue", 1)
        self.bench.deploy(spec)
        self.serves("r1")
        return spec

    def serves(self, release: str) -> None:
        """Waits until new connections are answered by that release: nodes follow a switch within about a second, or
        later if the API server was away just before."""
        until(lambda: {ask(self.address) for _ in range(20)} == {release}, 60)

    def moves(self, spec: SlotSpec) -> None:
        """What a run does: start, ready, expose, switch."""
        self.bench.stand(spec)
        self.bench.engine.switch(spec)

    def callers(self) -> Callers:
        return Callers(self.address).kept(4).fresh(2).kept(1, "/slow").fresh(1, "/slow")

    def pods(self, release: int) -> set[str]:
        """The pods of that release, including those that are ending."""
        found = self.bench.api.find(
            "Pod", {"pushlive/release": str(release), "pushlive/pipeline": self.bench.name}
        )
        return {pod["metadata"]["name"] for pod in found}

    def ended(self, pods: set[str], release: int) -> None:
        until(lambda: not pods & self.pods(release), 30)


@pytest.fixture
def town(namespace: str, instance: str, patient: str) -> Iterator[Scene]:
    one = make(instance, namespace, patient)
    yield Scene(one)
    one.engine.remove(one.ref())


def ask(address: str) -> str:
    """The answer on a new connection; "" if there is none."""
    try:
        with urllib.request.urlopen(f"http://{address}/", timeout=5) as answer:
            return str(answer.read().decode())
    except OSError:
        return ""


def by_kind(said: dict[str, set[str]], kind: str) -> set[str]:
    """The releases that answered the clients of that kind."""
    return set().union(*(releases for client, releases in said.items() if client.startswith(kind)))


def test_after_a_detach_no_client_is_answered_by_the_old_release(town: Scene) -> None:
    blue, green, engine = town.first(), town.spec("green", 2), town.bench.engine
    with town.callers() as callers:
        town.moves(green)
        town.serves("r2")
        said = callers.since(callers.round())
        assert by_kind(said, "kept") == {"r1"}, "a kept connection stays with its release"
        assert callers.moved.total() == 0

        old = town.pods(1)
        assert engine.detach(blue.ref, "the switch to r2") == 2
        town.ended(old, 1)
        assert by_kind(callers.since(callers.round()), "") == {"r2"}
        assert {callers.moved[client] for client in said if client.startswith("kept")} == {1}
        assert engine.detach(blue.ref, "the switch to r2") == 0

        # The slot is warm again: a switch back is immediate and costs no request either.
        engine.start(blue, town.bench.watch())
        assert len(engine.ready(blue, town.bench.events.append, town.bench.watch())) == 2
        engine.switch(blue)
        town.serves("r1")
        assert by_kind(callers.since(callers.round()), "fresh") == {"r1"}
    assert callers.lost == []


def test_a_revert_ends_the_bad_releases_connections_at_once(town: Scene) -> None:
    """Without a wait between switch and detach, when nodes may not have seen the switch."""
    blue, green, engine = town.first(), town.spec("green", 2), town.bench.engine
    town.moves(green)
    town.serves("r2")
    with town.callers() as callers:
        assert by_kind(callers.since(callers.round()), "kept") == {"r2"}
        bad = town.pods(2)
        engine.switch(blue)
        assert engine.detach(green.ref, "the revert") == 2
        town.ended(bad, 2)
        said = callers.since(callers.round())
        assert by_kind(said, "kept") == by_kind(said, "fresh") == {"r1"}
    assert callers.lost == []


def test_releases_that_follow_one_another_lose_no_request(town: Scene) -> None:
    """A slot gets the next release while connections to its previous one are still open."""
    town.first()
    with town.callers() as callers:
        for release in (2, 3, 4):
            town.moves(town.spec("blue" if release % 2 else "green", release))
        town.serves("r4")
        town.ended(town.pods(2), 2)
        assert by_kind(callers.since(callers.round()), "kept") <= {"r3", "r4"}
    assert callers.lost == []
    assert by_kind(callers.since(0), "fresh") >= {"r1", "r4"}


def test_old_pods_do_not_end_before_the_service_has_left_them(
    town: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cluster's controllers follow a switch late: until then nodes send new connections to the old pods."""
    blue, green, engine = town.first(), town.spec("green", 2), town.bench.engine
    town.bench.stand(green)
    old = town.pods(1)
    with town.callers() as callers:
        scripts_cluster("stop", "kube-controller-manager")
        try:
            with monkeypatch.context() as patch:
                patch.setattr(engine_base, "SETTLE_WITHIN", 0.5)
                engine.switch(green)
                with pytest.raises(TryAgain, match="still sends connections to its pods"):
                    engine.detach(blue.ref, "the switch to r2")
            assert by_kind(callers.since(callers.round()), "fresh") == {"r1"}
        finally:
            scripts_cluster("start", "kube-controller-manager")
        town.serves("r2")
        assert engine.detach(blue.ref, "the switch to r2") == 2
        town.ended(old, 1)
    assert callers.lost == []


def test_deleting_or_evicting_a_serving_pod_loses_no_request(town: Scene) -> None:
    blue, api = town.first(), town.bench.api
    with town.callers() as callers:
        for evicted in (False, True):
            before = town.pods(1)
            one = min(before)
            if evicted:
                evict(town.bench, one, 201)
                # While one pod is missing, the disruption budget protects the other.
                evict(town.bench, max(before), 429)
            else:
                api.delete("Pod", one)
            town.ended({one}, 1)
            until(lambda: len(town.bench.engine.ready(blue, print, town.bench.watch())) == 2)
            callers.round()
    assert callers.lost == []
    assert by_kind(callers.since(0), "") == {"r1"}


def evict(bench: ClusterBench, pod: str, status: int) -> None:
    """The request of `kubectl drain` for each pod of a node."""
    body: dict[str, Any] = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod}}
    path, headers = f"{bench.api.path('Pod', pod)}/eviction", {"Content-Type": "application/json"}
    answer = bench.api.raw("POST", path, "evicting", headers=headers, body=json.dumps(body).encode())
    assert answer.status == status, answer.data
