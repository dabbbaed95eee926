"""`shift` on a real cluster: an HTTPRoute of the real Gateway API, a real controller that passes requests on, a real
Prometheus."""

from __future__ import annotations

import json
import math
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pipeline.adapters.kubernetes.names import base, slot_name
from pipeline.domain.engine_types import Share, SlotSpec
from pipeline.errors import ConfigError, EngineFailed, PushliveError, TryAgain
from tests.cluster.conftest import Installed
from tests.cluster.gateway import Gateway as Between
from tests.support.clusterbench import ClusterBench, kubectl
from tests.support.developer import Files, web
from tests.support.gateway_api import Gateway, gateway
from tests.support.load import Load, release_of
from tests.support.prometheus import Exporter, prometheus
from tests.support.service import Service
from tests.support.waiting import until

HOST = "hello.example.com"


# ── the engine ───────────────────────────────────────────────────────────────


@dataclass
class Two:
    """Blue serves, and green is exposed; visitors come by ``route``."""

    bench: ClusterBench
    gateway: Gateway
    blue: SlotSpec
    green: SlotSpec

    @property
    def route(self) -> str:
        return self.bench.name

    @property
    def host(self) -> str:
        return f"{self.bench.name}.example.com"

    def weights(self) -> dict[str, int]:
        return self.gateway.weights(self.route)

    @contextmanager
    def visitors(self) -> Iterator[Load]:
        with Load(self.gateway.port, release_of, self.host, pause=0.005).fresh(4) as load:
            until(load.reached(10), 30)
            yield load

    def divides(self, load: Load, percent: float) -> None:
        """Waits until the part of the new release among so many answers is within what chance explains: five standard
        deviations of a binomial distribution."""
        count, part = 600, percent / 100
        allowed = 5 * math.sqrt(count * part * (1 - part)) + 1

        def fits() -> bool:
            before = load.answers.copy()
            until(load.reached(count), 60)
            new, old = (load.answers[name] - before[name] for name in ("r2", "r1"))
            return abs(new - part * (new + old)) <= allowed * (new + old) / count

        until(fits, 60)


@pytest.fixture
def two(cluster_bench: ClusterBench, gateway: Gateway) -> Two:
    blue, green = cluster_bench.spec("blue", 1), cluster_bench.spec("green", 2)
    cluster_bench.deploy(blue)
    cluster_bench.stand(green)
    found = Two(cluster_bench, gateway, blue, green)
    gateway.route(found.route, base(blue.ref), found.host)
    return found


def test_visitors_are_divided_by_weights_and_none_is_lost(two: Two) -> None:
    engine = two.bench.engine
    resting = two.gateway.of(two.route)["spec"]
    with two.visitors() as load:
        for percent in (5.0, 50.0):
            engine.share(two.green, percent, two.route)
            two.divides(load, percent)
        assert two.weights() == {base(two.blue.ref): 500, slot_name(two.green.ref): 500}
        engine.unshare(two.blue.ref)
        two.divides(load, 0.0)
        engine.share(two.green, 25.0, two.route)
        two.divides(load, 25.0)
        engine.switch(two.green)
        two.divides(load, 100.0)
        assert engine.shared(two.green.ref) is None
    assert load.failures == []
    assert two.gateway.of(two.route)["spec"] == resting


def test_everything_else_in_the_route_stays_as_it_is(two: Two) -> None:
    name, green = base(two.blue.ref), slot_name(two.green.ref)
    kept = {
        "type": "ResponseHeaderModifier",
        "responseHeaderModifier": {"set": [{"name": "x-a", "value": "b"}]},
    }
    header = {"headers": [{"name": "x-tester", "value": "yes"}], "path": {"type": "PathPrefix", "value": "/"}}
    rules: list[dict[str, Any]] = [
        {"name": "testers", "matches": [header], "backendRefs": [{"name": green, "port": 80}]},
        {"matches": [{"path": {"type": "PathPrefix", "value": "/"}}], "filters": [kept],
         "backendRefs": [{"name": name, "port": 80, "weight": 3}]},
    ]  # fmt: skip
    two.gateway.apply(two.route, two.host, rules)
    before = two.gateway.of(two.route)
    engine = two.bench.engine
    engine.share(two.green, 0.1, two.route)
    during = two.gateway.of(two.route)
    assert two.gateway.weights(two.route, 1) == {name: 2997, green: 3}
    assert engine.shared(two.blue.ref) == Share("green", 0.1)
    during["spec"]["rules"][1]["backendRefs"] = before["spec"]["rules"][1]["backendRefs"]
    assert during["spec"] == before["spec"]
    engine.unshare(two.blue.ref)
    assert two.gateway.of(two.route)["spec"] == before["spec"]
    words = ("get", "httproute", two.route, "-o", "json", "--show-managed-fields")
    written = json.loads(kubectl(two.gateway.namespace, *words))["metadata"]["managedFields"]
    assert "pushlive" in [one["manager"] for one in written]


def test_what_is_changed_by_hand_is_seen_and_corrected(two: Two) -> None:
    engine, name, green = two.bench.engine, base(two.blue.ref), slot_name(two.green.ref)
    engine.share(two.green, 25.0, two.route)
    backend = {"name": name, "port": 80, "weight": 1}
    change([backend], two)
    assert engine.shared(two.blue.ref) == Share("green", 0.0)
    engine.share(two.green, 25.0, two.route)
    assert two.weights() == {name: 750, green: 250}
    engine.unshare(two.blue.ref)
    change([backend, {"name": green, "port": 80, "weight": 1}], two)  # at rest
    assert engine.shared(two.blue.ref) == Share("green", 50.0)
    engine.unshare(two.blue.ref)
    assert two.weights() == {name: 1}
    engine.share(two.green, 25.0, two.route)
    engine.remove(two.blue.ref)
    assert two.weights() == {name: 1}


def test_a_route_that_is_deleted_in_the_midst_is_no_share(two: Two) -> None:
    engine = two.bench.engine
    engine.share(two.green, 25.0, two.route)
    kubectl(two.gateway.namespace, "delete", "httproute", two.route)
    assert engine.shared(two.blue.ref) == Share("green", 0.0)  # what was begun is not over
    engine.unshare(two.blue.ref)
    assert engine.shared(two.blue.ref) is None
    engine.stop(two.green.ref)


def change(backends: list[dict[str, Any]], two: Two) -> None:
    patch = [{"op": "replace", "path": "/spec/rules/0/backendRefs", "value": backends}]
    words = ("patch", "httproute", two.route, "--type=json", "-p", json.dumps(patch))
    kubectl(two.gateway.namespace, *words)


def refused(two: Two, route: str = "") -> PushliveError:
    """What is said before anything changes; and it is said again by a share."""
    before = two.gateway.of(two.route)["spec"] if not route else None
    with pytest.raises((ConfigError, EngineFailed)) as found:
        two.bench.engine.can_share(two.green.ref, route or two.route, 5.0)
    with pytest.raises(type(found.value)) as again:
        two.bench.engine.share(two.green, 5.0, route or two.route)
    assert again.value.message == found.value.message
    two.bench.engine.unshare(two.green.ref)
    assert two.bench.engine.shared(two.green.ref) is None
    if before:
        assert two.gateway.of(two.route)["spec"] == before
    return found.value


def test_a_route_that_cannot_divide_is_named_with_its_reason(two: Two) -> None:
    name, space = base(two.blue.ref), two.gateway.namespace
    assert f"There is no HTTPRoute nowhere in the namespace {space}." in refused(two, "nowhere").message
    two.gateway.apply(two.route, two.host, [{"backendRefs": [{"name": "other", "port": 80}]}])
    assert f"none of its rules sends visitors to the Service {name}" in refused(two).message
    both = [{"name": name, "port": 80, "weight": 9}, {"name": "other", "port": 80, "weight": 1}]
    two.gateway.apply(two.route, two.host, [{"backendRefs": both}])
    assert "multiply all weights of that rule by 1000" in refused(two).message


def test_a_route_that_no_gateway_takes_up_is_named(two: Two) -> None:
    manifest = two.gateway.of(two.route)
    manifest["metadata"] = {"name": f"{two.route}-b"}
    manifest["spec"]["parentRefs"] = [{"name": "no-such-gateway"}]
    kubectl(two.gateway.namespace, "apply", "-f", "-", stdin=json.dumps(manifest))
    assert "no Gateway has taken it up yet" in refused(two, f"{two.route}-b").message


def test_a_controller_that_does_not_follow_is_waited_for_and_named(two: Two) -> None:
    two.gateway.process.send_signal(19)  # SIGSTOP
    try:
        with pytest.raises(TryAgain, match="has not followed a change of weights within 10 s"):
            two.bench.engine.share(two.green, 5.0, two.route)
    finally:
        two.gateway.process.send_signal(18)  # SIGCONT
    two.bench.engine.share(two.green, 5.0, two.route)
    two.bench.engine.unshare(two.green.ref)


# ── the whole service ────────────────────────────────────────────────────────

CONFIG = """
pipelines:
  hello:
    registry: REGISTRY/SPACE-hello
    service: {memory: 128MiB, cpu: 100m, stop: 1s, drain: 1s, health: /}
    environments:
      live:
        bake: 0
        engine: {namespace: SPACE}
        shift: {steps: [20%, 60%], for: 3s, route: visitors}
        metrics:
          prometheus: URL
          requests: 'requests_total{space="$namespace",pod=~"$pods"}'
          errors: 'requests_total{space="$namespace",pod=~"$pods",code=~"5.."}'
"""


@dataclass
class Scene:
    service: Service
    gateway: Gateway
    counter: Exporter
    between: Between
    config: str

    def with_steps(self, lasts: str) -> None:
        self.service.config.write_text(self.config.replace("for: 3s", f"for: {lasts}"))

    @contextmanager
    def visitors(self) -> Iterator[Load]:
        with Load(self.gateway.port, str.strip, HOST, pause=0.01).fresh(4, "/") as load:
            until(load.reached(10), 60)
            yield load

    def shift(self) -> dict[str, Any]:
        return self.service.environments()["live"]["shift"] or {}

    def count(self, slot: str, code: int, more: float) -> None:
        name = f'space="{self.gateway.namespace}",pod="hello-live-{slot}-x",code="{code}"'
        self.counter.add({f"requests_total{{{name}}}": more})

    @contextmanager
    def pushing(self, files: Files) -> Iterator[subprocess.Popen[str]]:
        """A push whose release has a part of the visitors."""
        repository = self.service.repository()
        repository.commit(files, "A change")
        push = repository.started("push", "pushlive", "main")
        try:
            until(lambda: bool(self.shift()), 90)
            yield push
        finally:
            push.communicate(timeout=180)


@pytest.fixture(scope="module")
def scene(installed: Callable[..., AbstractContextManager[Installed]], kubeconfig: Path) -> Iterator[Scene]:
    with (
        prometheus() as counter,
        installed("shift", CONFIG, URL=counter.url) as one,
        gateway(one.api.namespace, kubeconfig) as front,
    ):
        one.service.push(web("one"), "One")
        front.route("visitors", "hello-live", HOST)
        yield Scene(one.service, front, counter, one.gateway, one.config)


def test_a_release_gets_all_step_by_step_and_no_request_is_lost(scene: Scene) -> None:
    resting = scene.gateway.of("visitors")["spec"]
    with scene.visitors() as load:
        said = scene.service.push(web("two"), "Two")
        until(load.reached(200), 60)
    assert load.failures == []
    assert load.answers["one"] > 0
    assert load.answers["two"] > 0
    assert "20 % of requests go to r2, the others to r1, for 3s" in said
    assert "60 % went to r2 for 3s" in said
    assert scene.shift() == {}
    assert scene.gateway.of("visitors")["spec"] == resting


def test_worse_goes_back_and_loses_no_request(scene: Scene) -> None:
    scene.with_steps("1m")
    resting, number = scene.gateway.of("visitors")["spec"], scene.service.releases()["live"]
    with scene.visitors() as load:
        with scene.pushing(web("bad")):
            found = scene.shift()
            old = "green" if found["slot"] == "blue" else "blue"

            def gone() -> bool:
                scene.count(found["slot"], 200, 60.0)
                scene.count(found["slot"], 500, 20.0)
                scene.count(old, 200, 300.0)
                return not scene.shift()

            until(gone, 120)
        run = scene.service.wait("hello", seconds=60)
        until(load.reached(200), 60)
    assert load.failures == []
    assert run["outcome"] == "failed"
    assert f"it answers worse than r{number}" in run["failure"]["message"]
    assert load.answers["bad"] > 0
    assert [one["release"] for one in scene.service.environments()["live"]["quarantine"]] == [run["release"]]
    assert scene.gateway.of("visitors")["spec"] == resting


def test_a_service_that_is_killed_goes_on_with_the_step_it_was_at(scene: Scene) -> None:
    scene.with_steps("20s")
    with scene.pushing(web("after")):
        until(lambda: scene.shift().get("passed", 0) > 2, 60)
        found = scene.shift()
        scene.service.kill()
        with scene.visitors() as load:  # who need neither the service nor its API
            until(load.reached(200), 60)
        assert load.failures == []
        assert load.answers["after"] > 0
        scene.service.up()
        until(lambda: scene.shift().get("passed", 0) > found["passed"], 90)
        assert scene.shift()["since"] == found["since"]
    run = scene.service.wait("hello", seconds=180)
    assert run["outcome"] == "live", run["reason"]


def test_a_route_that_is_missing_is_said_before_anything_starts(scene: Scene) -> None:
    scene.service.config.write_text(scene.config.replace("visitors", "nowhere"))
    serves = scene.service.releases()["live"]
    scene.service.push(web("three"), "Three")
    run = scene.service.wait("hello")
    assert run["outcome"] == "failed"
    assert "There is no HTTPRoute nowhere in the namespace" in run["failure"]["message"]
    assert "Make it, or name another one" in run["failure"]["advice"]
    assert scene.service.releases()["live"] == serves
    assert "start" not in [one["step"] for one in run["steps"] if one["stage"] == "live"]
    assert "There is no HTTPRoute nowhere" in scene.service.pushlive("doctor", code=1).out
    assert "There is no HTTPRoute nowhere" in scene.service.pushlive("check").text


def test_a_route_that_this_account_may_not_change_is_said_before_anything_starts(scene: Scene) -> None:
    scene.with_steps("3s")
    scene.between.answer(lambda method, path: 403 if "httproutes" in path and method == "PATCH" else 0)
    try:
        scene.service.push(web("four"), "Four")
        run = scene.service.wait("hello")
    finally:
        scene.between.forward_all()
    assert run["outcome"] == "failed"
    assert "changing HTTPRoute visitors: the Kubernetes API answered 403" in run["failure"]["message"]
    assert "Check the account's permissions against docs/kubernetes.md" in run["failure"]["advice"]
    assert "start" not in [one["step"] for one in run["steps"] if one["stage"] == "live"]
