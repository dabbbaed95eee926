"""Issue 4, point 7: an API server that goes away and comes back, streams that break, credentials that are no good."""

from __future__ import annotations

import base64
import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from pipeline.adapters.kubernetes.api import KubeApi
from pipeline.adapters.kubernetes.client import Refused, connect
from pipeline.adapters.kubernetes.engine import KubeEngine
from pipeline.adapters.kubernetes.names import environment_labels, selector, slot_labels
from pipeline.adapters.kubernetes.watch import Follow
from pipeline.domain.events import Event
from pipeline.errors import EngineFailed, PushliveError, TryAgain
from pipeline.ports.clock import SystemClock
from tests.cluster.test_kube_failures import HTTPD, shell
from tests.support.clusterbench import ClusterBench, kubectl, make
from tests.support.relay import Relay, relayed
from tests.support.waiting import until


@pytest.fixture
def way(kubeconfig: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Relay]:
    """To the API server, for the context ``relayed``; the current one leads there directly."""
    document = own_config()
    [cluster], [user] = document["clusters"], document["users"]
    address = urlsplit(cluster["cluster"]["server"])
    assert address.hostname
    with relayed((address.hostname, address.port or 443)) as relay:
        cluster["cluster"]["server"] = f"{address.scheme}://127.0.0.1:{relay.port}"
        cluster["cluster"]["tls-server-name"] = address.hostname
        cluster["name"] = user["name"] = "relayed"
        context = {"cluster": "relayed", "user": "relayed"}
        document["contexts"] = [{"name": "relayed", "context": context}]
        (tmp_path / "relayed").write_text(json.dumps(document))
        monkeypatch.setenv("KUBECONFIG", f"{kubeconfig}:{tmp_path / 'relayed'}")
        yield relay


def own_config() -> dict[str, Any]:
    """The current context's part of the kubeconfig."""
    found: dict[str, Any] = json.loads(
        kubectl("default", "config", "view", "--raw", "--minify", "-o", "json")
    )
    return found


@pytest.fixture
def bench(way: Relay, cluster_bench: ClusterBench, namespace: str, instance: str) -> ClusterBench:
    """The environment of ``cluster_bench``, by that way."""
    one = make(instance, namespace, cluster_bench.remote, lambda _, name: connect("relayed", name))
    one.name = cluster_bench.name
    return one


def meanwhile(act: Callable[[], object]) -> Callable[[], object]:
    """Begins the act; the answer waits for its end, returns what it returned and raises what it raised."""
    results: list[object] = []
    errors: list[BaseException] = []

    def body() -> None:
        try:
            results.append(act())
        except PushliveError as error:
            errors.append(error)

    thread = threading.Thread(target=body)
    thread.start()

    def end() -> object:
        thread.join(60)
        assert not thread.is_alive()
        if errors:
            raise errors[0]
        return results[0]

    return end


def test_what_is_followed_goes_on_where_its_streams_broke(bench: ClusterBench, way: Relay) -> None:
    query = {"labelSelector": selector(slot_labels(bench.engine._instance, bench.ref()))}
    spec = bench.spec(replicas=2)
    with Follow(bench.api, ("Pod", "Deployment"), query) as follow:
        until(lambda: follow.complete() and follow.silence() == 0.0)
        for round_ in (1, 2, 3):
            way.drop()
            until(lambda at=round_: follow.breaks >= 2 * at and follow.silence() == 0.0)
        bench.deploy(spec)
        names = {replica.name for replica in bench.engine.replicas(spec.ref)}
        until(lambda: {one["metadata"]["name"] for one in follow.objects("Pod")} == names)
        way.cut()
        kubectl(bench.api.namespace, "delete", "pod", *names, "--wait=false", "--grace-period=1")
        until(lambda: follow.silence() > 0.5)
        way.open()
        until(lambda: not names & {one["metadata"]["name"] for one in follow.objects("Pod")}, 20)
        assert len(follow.objects("Pod")) == 2


def test_whoever_has_followed_leaves_no_thread_and_no_connection_behind(
    bench: ClusterBench, way: Relay
) -> None:
    bench.api.find("Pod", {})
    threads = {one for one in threading.enumerate() if "_run" in one.name}
    for _ in range(5):
        with Follow(bench.api, ("Pod", "Deployment"), {}) as follow:
            until(lambda seen=follow: seen.complete() and seen.silence() == 0.0)
    assert {one for one in threading.enumerate() if "_run" in one.name} == threads
    until(lambda: way.standing <= 2)  # what is kept for the next question, not five times as many
    bench.api.find("Pod", {})


def test_an_api_server_that_comes_back_in_time_costs_a_start_nothing(bench: ClusterBench, way: Relay) -> None:
    spec = bench.spec(command=shell("sleep 3", f"exec {HTTPD} 8080"))
    bench.engine.prepare(spec.ref, ())
    bench.engine.start(spec, bench.watch())
    waits = meanwhile(lambda: bench.engine.ready(spec, bench.events.append, bench.watch(60)))
    until(lambda: "true" in directly(bench, "started"))
    way.cut()
    until(lambda: "true" in directly(bench, "ready"))
    way.open()
    [replica] = waits()  # type: ignore[misc]
    assert replica.state == "running"


def directly(bench: ClusterBench, what: str) -> str:
    """What the cluster says of the environment's containers, not asked by the way that may be cut."""
    chosen = selector(environment_labels(bench.engine._instance, bench.ref()))
    path = f"jsonpath={{.items[*].status.containerStatuses[*].{what}}}"
    return kubectl(bench.api.namespace, "get", "pods", "-l", chosen, "-o", path)


def test_an_api_server_that_stays_away_says_nothing_against_the_application(
    bench: ClusterBench, way: Relay
) -> None:
    spec = bench.spec(command=shell("sleep 60"))
    bench.engine.prepare(spec.ref, ())
    bench.engine.start(spec, bench.watch())
    waits = meanwhile(lambda: bench.engine.ready(spec, bench.events.append, bench.watch(4)))
    until(lambda: "true" in directly(bench, "started"))
    way.cut()
    with pytest.raises(TryAgain, match="has not answered for"):
        waits()


def test_a_command_goes_on_and_its_output_is_whole(bench: ClusterBench, way: Relay) -> None:
    bench.engine.prepare(bench.ref(), ())
    lines = [f"echo line {number}; sleep 0.5" for number in range(8)]
    cuts = []

    def tell(event: Event) -> None:
        bench.events.append(event)
        if event.text in ("line 1", "line 4"):
            cuts.append(event.text)
            way.drop()

    result = bench.engine.command(bench.spec(), "long", shell(*lines, "exit 4"), {}, tell, bench.watch(60))
    assert cuts == ["line 1", "line 4"]
    assert result.exit_code == 4
    assert result.output.splitlines() == [event.text for event in bench.events]
    assert result.output.splitlines() == [f"line {number}" for number in range(8)]


def test_every_act_is_repeated_with_the_same_result_after_the_way_was_lost(
    bench: ClusterBench, way: Relay
) -> None:
    spec = bench.spec()
    bench.deploy(spec)
    way.cut()
    acts: list[Callable[[], object]] = [
        lambda: bench.engine.prepare(spec.ref, ()),
        lambda: bench.engine.fits(spec),
        lambda: bench.engine.start(spec, bench.watch()),
        lambda: bench.engine.expose(spec),
        lambda: bench.engine.switch(spec),
        lambda: bench.engine.serving(spec.ref),
        lambda: bench.engine.replicas(spec.ref),
        lambda: bench.engine.logs(spec.ref, 5),
        lambda: bench.engine.missing(spec),
        lambda: bench.engine.remove(spec.ref),
        lambda: bench.probe.get(bench.engine.public(spec), "/healthz", 5),
        lambda: list(bench.engine.slots()),
    ]
    for act in acts:
        with pytest.raises(TryAgain, match="does not answer"):
            act()
    way.open()
    bench.deploy(spec)
    assert bench.engine.serving(spec.ref) == "blue"
    assert bench.probe.get(bench.engine.public(spec), "/healthz", 5).status == 200


def test_a_tcp_check_that_is_refused_or_cut_may_be_tried_again(bench: ClusterBench, way: Relay) -> None:
    spec = bench.spec()
    bench.deploy(spec)
    [replica] = bench.engine.replicas(spec.ref)
    assert 0 < bench.probe.tcp(replica.reach, 8080, 5) < 5
    with pytest.raises(TryAgain, match=f"TCP {replica.name}:9: .*refused"):
        bench.probe.tcp(replica.reach, 9, 5)
    with pytest.raises(TryAgain, match="TCP nobody:8080: "):
        bench.probe.tcp("nobody", 8080, 5)
    way.cut()
    with pytest.raises(TryAgain, match=f"TCP {replica.name}:8080: "):
        bench.probe.tcp(replica.reach, 8080, 5)


def changed(tmp_path: Path, change: Callable[[dict[str, dict[str, str]]], None]) -> Path:
    """The kubeconfig, with its cluster and user changed."""
    document = own_config()
    change({"cluster": document["clusters"][0]["cluster"], "user": document["users"][0]["user"]})
    path = tmp_path / "changed"
    path.write_text(json.dumps(document))
    return path


def test_a_token_that_is_no_good_is_the_operators(
    kubeconfig: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other(parts: dict[str, dict[str, str]]) -> None:
        parts["user"].clear()
        parts["user"]["token"] = "expired"

    monkeypatch.setenv("KUBECONFIG", str(changed(tmp_path, other)))
    with pytest.raises(Refused, match="answered 401") as raised:
        KubeApi(lambda: connect("", "")).find("Pod", {})
    assert "token is still good" in raised.value.advice


def test_another_clusters_certificate_is_the_operators(
    kubeconfig: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other(parts: dict[str, dict[str, str]]) -> None:
        authority = tmp_path / "authority"
        command = [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
        ]
        command += [
            "-subj",
            "/CN=other",
            "-days",
            "1",
            "-keyout",
            str(tmp_path / "key"),
            "-out",
            str(authority),
        ]
        subprocess.run(command, check=True, capture_output=True)
        parts["cluster"].pop("certificate-authority", None)
        parts["cluster"]["certificate-authority-data"] = base64.b64encode(authority.read_bytes()).decode()

    monkeypatch.setenv("KUBECONFIG", str(changed(tmp_path, other)))
    with pytest.raises(EngineFailed, match="is not to be trusted") as raised:
        KubeApi(lambda: connect("", "")).find("Pod", {})
    assert "certificate-authority-data" in raised.value.advice


def test_an_authority_that_is_no_certificate_is_the_operators(
    kubeconfig: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other(parts: dict[str, dict[str, str]]) -> None:
        parts["cluster"].pop("certificate-authority", None)
        parts["cluster"]["certificate-authority-data"] = base64.b64encode(b"no certificate").decode()

    monkeypatch.setenv("KUBECONFIG", str(changed(tmp_path, other)))
    with pytest.raises(PushliveError):
        KubeApi(lambda: connect("", "")).find("Pod", {})


def test_a_namespace_that_is_not_there_is_said(kubeconfig: Path) -> None:
    api = KubeApi(lambda: connect("", "no-such-namespace"))
    engine = KubeEngine(api, "pl", "kubernetes", SystemClock())
    bench = ClusterBench(api, engine, None, "x/y@sha256:1", "hello")  # type: ignore[arg-type]
    with pytest.raises(EngineFailed, match='namespaces "no-such-namespace" not found'):
        engine.prepare(bench.ref(), ())
