"""On a real cluster a real Prometheus counts: requests and errors of the pods that serve reach `status`, and a
Prometheus that is away is said and no fault of the release."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest

from pipeline.adapters.kubernetes.api.kube_api import KubeApi
from pipeline.adapters.kubernetes.names import PIPELINE
from tests.cluster.conftest import Installed
from tests.support.developer import web
from tests.support.prometheus import Exporter, prometheus
from tests.support.service import Service
from tests.support.waiting import until

CONFIG = """
pipelines:
  hello:
    registry: REGISTRY/SPACE-hello
    service: {memory: 128MiB, cpu: 100m, stop: 1s, drain: 1s}
    environments:
      plain: {engine: {namespace: SPACE}}
      live:
        bake: 0
        engine: {namespace: SPACE}
        metrics:
          prometheus: URL
          requests: 'requests_total{space="$namespace",pod=~"$pods"}'
          errors: 'requests_total{space="$namespace",pod=~"$pods",code=~"5.."}'
          latency: 'took_seconds_bucket{space="$namespace",pod=~"$pods"}'
"""


@pytest.fixture(scope="module")
def counter() -> Iterator[Exporter]:
    with prometheus() as found:
        yield found


@pytest.fixture(scope="module")
def scene(
    installed: Callable[..., AbstractContextManager[Installed]], counter: Exporter
) -> Iterator[tuple[Service, KubeApi]]:
    with installed("figures", CONFIG, URL=counter.url) as one:
        yield one.service, one.api


def live(service: Service) -> dict[str, Any]:
    return service.environments()["live"]


def test_what_prometheus_counts_of_the_pods_that_serve_is_shown(
    scene: tuple[Service, KubeApi], counter: Exporter
) -> None:
    service, api = scene
    service.push(web("version 1"), "The first one")
    pods = [
        pod["metadata"]["name"]
        for pod in api.find("Pod", {PIPELINE: "hello"})
        if pod["metadata"]["name"].startswith("hello-live-")
    ]
    [pod, *_] = pods
    other = {"hello-plain-blue-x": 900.0, "hello-live-green-x": 900.0}

    def series(name: str, code: int) -> str:
        return f'requests_total{{space="{api.namespace}",pod="{name}",code="{code}"}}'

    counter.add({series(pod, 200): 100.0, **{series(name, 200): many for name, many in other.items()}})
    # Counting begins a minute after the switch, with what there is then.
    until(lambda: live(service)["answers"] is not None or _count(counter, series(pod, 200)), 150)
    counter.add({series(pod, 500): 7.0})
    until(lambda: live(service)["answers"]["errors"] == 7, 60)
    found = live(service)
    assert found["answers"]["requests"] >= 7
    assert found["answers"]["requests"] < 900
    assert {**found["figures"], "latency": ""} == {
        "source": "prometheus",
        "problem": "",
        "text": "",
        "latency": "",
    }
    plain = service.environments()["plain"]
    assert plain["figures"]["source"] == ""
    assert "by restarts and readiness alone" in plain["figures"]["text"]
    assert "by restarts and readiness alone" in service.pushlive("status").out
    # It is asked for their histograms once a minute.
    until(lambda: "the query for latency gives no series" in live(service)["figures"]["latency"], 90)
    assert "answers are not compared by time: " in service.pushlive("status").out
    ends = {"0.1": 3.0, "+Inf": 4.0}
    counter.add(
        {
            f'took_seconds_bucket{{space="{api.namespace}",pod="{pod}",le="{end}"}}': count
            for end, count in ends.items()
        }
    )
    until(lambda: not live(service)["figures"]["latency"], 90)


def _count(counter: Exporter, name: str) -> bool:
    """One more request; never the end of a wait."""
    counter.add({name: 1.0})
    return False


def test_one_that_is_away_is_said_and_is_no_fault_of_the_release(
    scene: tuple[Service, KubeApi], counter: Exporter
) -> None:
    service, _ = scene
    counter.stop()
    until(lambda: live(service)["figures"]["problem"], 60)
    assert "connection refused" in live(service)["figures"]["problem"]
    assert f"requests are not counted: Prometheus at {counter.url}: " in service.pushlive("status").out
    assert "requests are not counted: " in service.pushlive("doctor", code=1).out
    assert live(service)["health"]["state"] == "up"
    assert live(service)["hold"] is None
