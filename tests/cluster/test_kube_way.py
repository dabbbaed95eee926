"""The connection to the API server: it is lost and comes back, streams break, credentials are invalid."""

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

from pipeline.adapters.kubernetes.api import credentials
from pipeline.adapters.kubernetes.api.client import Refused, connect
from pipeline.adapters.kubernetes.api.kube_api import KubeApi
from pipeline.adapters.kubernetes.api.watch import WatchedObjects
from pipeline.adapters.kubernetes.engine import KubeEngine
from pipeline.adapters.kubernetes.names import environment_labels, selector, slot_labels
from pipeline.adapters.kubernetes.permissions import inspect_cluster
from pipeline.domain.events import Event
from pipeline.errors import EngineAway, EngineFailed, PushliveError, TryAgain
from pipeline.lib.retry import Backoff
from pipeline.ports.clock import SystemClock
from tests.cluster.test_kube_failures import HTTPD, shell
from tests.support.clusterbench import ClusterBench, kubectl, make
from tests.support.relay import Relay, relayed
from tests.support.waiting import until


@pytest.fixture
def way(kubeconfig: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Relay]:
    """A relay to the API server for the context ``relayed``; the current context connects directly."""
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
    """The environment of ``cluster_bench``, through the relay."""
    one = make(instance, namespace, cluster_bench.remote, lambda _, name: connect("relayed", name))
    one.name = cluster_bench.name
    return one


def meanwhile(act: Callable[[], object]) -> Callable[[], object]:
    """Starts the act in a thread. The returned function waits for its end, and returns or raises what it did."""
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


def test_watching_goes_on_after_broken_streams(bench: ClusterBench, way: Relay) -> None:
    query = {"labelSelector": selector(slot_labels(bench.engine._instance, bench.ref()))}
    spec = bench.spec(replicas=2)
    with WatchedObjects(bench.api, ("Pod", "Deployment"), query) as watched:
        until(lambda: watched.complete() and watched.silence() == 0.0)
        for round_ in (1, 2, 3):
            way.drop()
            until(lambda at=round_: watched.breaks >= 2 * at and watched.silence() == 0.0)
        bench.deploy(spec)
        names = {replica.name for replica in bench.engine.replicas(spec.ref)}
        until(lambda: {one["metadata"]["name"] for one in watched.objects("Pod")} == names)
        way.cut()
        kubectl(bench.api.namespace, "delete", "pod", *names, "--wait=false", "--grace-period=1")
        until(lambda: watched.silence() > 0.5)
        way.open()
        until(lambda: not names & {one["metadata"]["name"] for one in watched.objects("Pod")}, 20)
        assert len(watched.objects("Pod")) == 2


def test_watching_leaves_no_thread_and_no_connection_behind(bench: ClusterBench, way: Relay) -> None:
    bench.api.find("Pod", {})
    threads = {one for one in threading.enumerate() if "_run" in one.name}
    for _ in range(5):
        with WatchedObjects(bench.api, ("Pod", "Deployment"), {}) as watched:
            until(lambda seen=watched: seen.complete() and seen.silence() == 0.0)
    assert {one for one in threading.enumerate() if "_run" in one.name} == threads
    until(lambda: way.standing <= 2)  # those kept for the next request, not five times as many
    bench.api.find("Pod", {})


def test_an_api_server_that_comes_back_in_time_does_not_fail_a_start(bench: ClusterBench, way: Relay) -> None:
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
    """That field of the environment's containers, read without the relay."""
    chosen = selector(environment_labels(bench.engine._instance, bench.ref()))
    path = f"jsonpath={{.items[*].status.containerStatuses[*].{what}}}"
    return kubectl(bench.api.namespace, "get", "pods", "-l", chosen, "-o", path)


def test_an_api_server_that_stays_away_is_not_blamed_on_the_application(
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


def test_a_command_goes_on_and_its_output_is_complete(bench: ClusterBench, way: Relay) -> None:
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


def test_every_method_raises_try_again_while_the_connection_is_lost_and_works_afterwards(
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


def test_a_tcp_check_that_is_refused_or_cut_raises_try_again(bench: ClusterBench, way: Relay) -> None:
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


def changed(tmp_path: Path, change: Callable[[dict[str, dict[str, str]]], None], context: str = "") -> Path:
    """The kubeconfig, with its cluster and user changed; ``context``: another name for all of its parts."""
    document = own_config()
    if context:
        [one], [cluster], [user] = (document[part] for part in ("contexts", "clusters", "users"))
        one["name"] = cluster["name"] = user["name"] = context
        one["context"] = {"cluster": context, "user": context}
    change({"cluster": document["clusters"][0]["cluster"], "user": document["users"][0]["user"]})
    path = tmp_path / "changed"
    path.write_text(json.dumps(document))
    return path


def test_a_program_for_credentials_that_hangs_or_fails_is_tried_again_and_disturbs_no_other_cluster(
    kubeconfig: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def program(parts: dict[str, dict[str, str]]) -> None:
        user = parts["user"]
        names = {f"client{kind}Data": f"client-{kind.lower()}-data" for kind in ("Certificate", "Key")}
        keys = {key: base64.b64decode(user[name]).decode() for key, name in names.items() if name in user}
        keys = {"token": user["token"]} if "token" in user else keys
        version = "client.authentication.k8s.io/v1"
        printed = {"apiVersion": version, "kind": "ExecCredential", "status": keys}
        (tmp_path / "printed").write_text(json.dumps(printed))
        script = f"echo run >>{tmp_path}/runs; . {tmp_path}/first; cat {tmp_path}/printed"
        user.clear()
        user["exec"] = {"apiVersion": version, "command": "sh", "args": ["-c", script]}  # type: ignore[assignment]

    monkeypatch.setattr(credentials, "REMEMBERED", Backoff(0.0))
    path = changed(tmp_path, program, "by-program")
    monkeypatch.setenv("KUBECONFIG", f"{kubeconfig}:{path}")
    plugins = credentials.CredentialPlugins()
    api, other = (
        KubeApi(lambda: connect("by-program", "default", plugins)),
        KubeApi(lambda: connect("", "default")),
    )
    cases = (("sleep 600", 1.0, "did not end within 1 s"), ("exit 1", 10.0, "exit code 1"))
    for does, limit, said in cases:
        monkeypatch.setattr(credentials, "EXEC_WITHIN", limit)
        (tmp_path / "first").write_text(does)
        with pytest.raises(EngineAway, match=said):
            api.find("Service", {})
        assert other.find("Service", {})
    (tmp_path / "first").write_text("")
    assert api.find("Service", {}) == other.find("Service", {}), "not as system:anonymous"
    before = (tmp_path / "runs").read_text()
    assert KubeApi(lambda: connect("by-program", "default", plugins)).find("Service", {})
    assert (tmp_path / "runs").read_text() == before


def test_an_invalid_token_is_an_engine_error(
    kubeconfig: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other(parts: dict[str, dict[str, str]]) -> None:
        parts["user"].clear()
        parts["user"]["token"] = "expired"

    monkeypatch.setenv("KUBECONFIG", str(changed(tmp_path, other)))
    with pytest.raises(Refused, match="answered 401") as raised:
        KubeApi(lambda: connect("", "")).find("Pod", {})
    assert "token is still valid" in raised.value.advice


def test_the_certificate_of_another_cluster_is_an_engine_error(
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
    with pytest.raises(EngineFailed, match="cannot be verified") as raised:
        KubeApi(lambda: connect("", "")).find("Pod", {})
    assert "certificate-authority-data" in raised.value.advice


def test_an_authority_that_is_not_a_certificate_is_an_error(
    kubeconfig: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other(parts: dict[str, dict[str, str]]) -> None:
        parts["cluster"].pop("certificate-authority", None)
        parts["cluster"]["certificate-authority-data"] = base64.b64encode(b"no certificate").decode()

    monkeypatch.setenv("KUBECONFIG", str(changed(tmp_path, other)))
    with pytest.raises(PushliveError):
        KubeApi(lambda: connect("", "")).find("Pod", {})


def test_a_missing_namespace_is_reported(kubeconfig: Path) -> None:
    api = KubeApi(lambda: connect("", "no-such-namespace"))
    engine = KubeEngine(api, "pl", "kubernetes", SystemClock())
    bench = ClusterBench(api, engine, None, "x/y@sha256:1", "hello")  # type: ignore[arg-type]
    with pytest.raises(EngineFailed, match='namespaces "no-such-namespace" not found') as raised:
        engine.prepare(bench.ref(), ())
    assert "`kubectl create namespace no-such-namespace`" in raised.value.advice
    assert not inspect_cluster(api).exists


def test_a_namespace_that_is_being_deleted_is_reported_as_such(own: ClusterBench) -> None:
    space = own.api.namespace
    kept = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "kept", "finalizers": ["test/kept"]},
    }
    assert own.api.create(kept)
    kubectl(space, "delete", "namespace", space, "--wait=false")
    try:
        with pytest.raises(EngineFailed, match="being terminated") as raised:
            own.engine.prepare(own.ref(), ())
        assert raised.value.advice.startswith("Wait until `kubectl get namespace`")
        found = inspect_cluster(own.api)
        assert found.exists
        assert found.going
    finally:
        kubectl(space, "patch", "configmap", "kept", "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
