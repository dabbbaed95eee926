"""Why a pod does not start is reported as soon as it is known, with its last output and the cluster's warnings, and not
only at the deadline."""

from __future__ import annotations

import io
import json
import re
import socketserver
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

import docker
from pipeline.adapters.kubernetes import readiness
from pipeline.adapters.kubernetes.pods import problems
from pipeline.adapters.kubernetes.pods.state import restarts
from pipeline.config.engines import Registry
from pipeline.domain.engine_types import Login, SlotSpec
from pipeline.domain.events import Event
from pipeline.errors import AppFailed, DoesNotFit, EngineFailed, PushliveError
from pipeline.lib.secret import Secret
from pipeline.ports.clock import Deadline, SystemClock
from tests.cluster import where
from tests.cluster.test_cluster import LOGIN, local
from tests.conftest import push
from tests.support.clusterbench import ClusterBench, kubectl
from tests.support.waiting import until

HTTPD = "httpd -f -h /www -p"
LONG = 60.0  # seconds: no test waits for all of it
AT_DEADLINE = "is not ready after"


def shell(*lines: str) -> tuple[str, ...]:
    return ("sh", "-c", "; ".join(lines))


def fails(bench: ClusterBench, spec: SlotSpec) -> PushliveError:
    """The error that `ready` raises for the slot."""
    bench.engine.prepare(spec.ref, ())
    bench.engine.start(spec, bench.watch())
    with pytest.raises((AppFailed, EngineFailed)) as raised:
        bench.engine.ready(spec, bench.events.append, bench.watch(LONG))
    return raised.value


def evidence(error: PushliveError) -> str:
    return "\n".join(error.evidence)  # type: ignore[attr-defined]


def notes(bench: ClusterBench) -> str:
    return "\n".join(event.text for event in bench.events if event.kind == "note")


# ── known before the deadline ────────────────────────────────────────────


@dataclass(frozen=True)
class Case:
    spec: Callable[[ClusterBench], SlotSpec]
    kind: type[PushliveError]
    said: str
    advice: str
    shown: str = ""


CASES = {
    "a digest that the registry does not have": Case(
        lambda b: replace(b.spec(), remote=b.remote.partition("@")[0] + "@sha256:" + "401a" * 16),
        EngineFailed,
        "image cannot be pulled: .*not found",
        "deploy the commit again",
    ),
    "an exit at start": Case(
        lambda b: b.spec(command=shell("echo no database >&2", "exit 3")),
        AppFailed,
        "exited with code 3",
        "last lines of output",
        "no database",
    ),
    "an exit after a while": Case(
        lambda b: b.spec(command=shell("echo thinking", "sleep 2", "exit 4"), replicas=2),
        AppFailed,
        "exited with code 4",
        "last lines of output",
        "thinking",
    ),
    "exit code 0": Case(
        lambda b: b.spec(command=("true",)), AppFailed, "exited with code 0", "in the foreground"
    ),
    "too little memory": Case(
        lambda b: b.spec(command=shell("echo hungry", "dd if=/dev/zero of=/tmp/x bs=200M"), memory=16 << 20),
        AppFailed,
        r"ran out of memory \(exit code 137\)",
        "`memory`",
        "hungry",
    ),
    "no such program": Case(
        lambda b: b.spec(command=("/no/such/program",)),
        AppFailed,
        "cannot be executed: .*/no/such/program",
        "ENTRYPOINT",
    ),
    "more processors than any node has": Case(
        lambda b: b.spec(cpu=900.0), DoesNotFit, "no node has room for it: .*Insufficient cpu", "add a node"
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_fault_26_the_reason_why_a_pod_does_not_start_is_reported(
    case: Case, cluster_bench: ClusterBench
) -> None:
    error = fails(cluster_bench, case.spec(cluster_bench))
    assert type(error) is case.kind
    assert re.search(case.said, error.message)
    assert AT_DEADLINE not in error.message
    assert case.advice in error.advice
    assert case.shown in evidence(error)


def test_a_node_that_the_cluster_is_adding_is_waited_for(
    cluster_bench: ClusterBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An autoscaler reports it with an event; here the test writes that event."""
    monkeypatch.setattr(problems, "GRACE", 1.0)
    bench, spec = cluster_bench, cluster_bench.spec(cpu=900.0)
    bench.engine.prepare(spec.ref, ())
    bench.engine.start(spec, bench.watch())
    watch = Exhausted(SystemClock(), 3.0)

    def tell(event: Event) -> None:
        if "no node has room" in event.text:
            scaled_up(bench, event.text.partition(":")[0])

    with pytest.raises(DoesNotFit):
        bench.engine.ready(spec, tell, watch)
    assert watch.over


class Exhausted(Deadline):
    """A watch that remembers whether its deadline has come."""

    over = False

    def check(self) -> None:
        self.over = self.remaining() <= 0
        super().check()


def scaled_up(bench: ClusterBench, pod: str) -> None:
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": "scaled-up-"},
        "involvedObject": {"kind": "Pod", "name": pod, "namespace": bench.api.namespace},
        "reason": "TriggeredScaleUp",
        "type": "Normal",
        "message": "pod triggered scale-up",
    }
    kubectl(bench.api.namespace, "create", "-f", "-", stdin=json.dumps(event))


def test_a_registry_that_does_not_answer_is_reported_at_once_and_waited_for_a_moment(
    cluster_bench: ClusterBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(problems, "PULL_GRACE", 2.0)
    nowhere = replace(cluster_bench.spec(), remote="localhost:1/hello@sha256:" + "1" * 64)
    error = fails(cluster_bench, nowhere)
    assert type(error) is EngineFailed
    assert error.message.endswith("dial tcp 127.0.0.1:1: connect: connection refused.")
    assert "nodes can reach the registry" in error.advice
    assert "connection refused; waiting, since this may pass" in notes(cluster_bench)


@local
def test_a_wrong_registry_password_is_reported_and_the_right_one_works(
    cluster_bench: ClusterBench, docker_client: docker.DockerClient, app_image: str, instance: str
) -> None:
    repository = f"localhost:{where.LOCKED_REGISTRY}/{instance}"
    remote = push(docker_client, app_image, repository, LOGIN)
    registry = Registry(repository=repository, username=where.REGISTRY_USER, password="REGISTRY")

    def spec(password: str) -> SlotSpec:
        plain = cluster_bench.spec()
        config = plain.config.model_copy(update={"registry": registry})
        login = Login(where.REGISTRY_USER, Secret(password))
        return replace(plain, remote=remote, config=config, login=lambda: login)

    for wrong in (replace(cluster_bench.spec(), remote=remote), spec("wrong")):
        error = fails(cluster_bench, wrong)
        assert "401 Unauthorized" in error.message
        assert "the secret that it names" in error.advice
    right = spec(where.REGISTRY_PASSWORD)
    cluster_bench.stand(replace(right, release=2))
    assert where.REGISTRY_PASSWORD not in repr(cluster_bench.events)


def test_strict_refuses_an_image_of_root_at_once(
    cluster_bench: ClusterBench,
    docker_client: docker.DockerClient,
    app_image: str,
    registry: str,
    instance: str,
) -> None:
    dockerfile = io.BytesIO(f"FROM {app_image}\nUSER 0\n".encode())
    labels = {"pushlive.instance": instance}
    rooted = str(docker_client.images.build(fileobj=dockerfile, labels=labels, rm=True)[0].id)
    remote = push(docker_client, rooted, f"{registry}/{instance}-rooted")
    strict = replace(cluster_bench.spec(security="strict"), remote=remote)
    error = fails(cluster_bench, strict)
    assert type(error) is AppFailed
    assert "runAsNonRoot" in error.message
    assert "`USER 10001`" in error.advice
    with pytest.raises(AppFailed, match="runAsNonRoot"):
        cluster_bench.engine.command(strict, "x", ("true",), {}, print, cluster_bench.watch())
    assert cluster_bench.engine.command_runs(strict.ref) == frozenset()
    cluster_bench.stand(replace(cluster_bench.spec(), remote=remote))  # without `strict` it is allowed


# ── at the deadline ─────────────────────────────────────────────────────────────────────


def answering(status: str) -> tuple[str, ...]:
    """A command that answers every request with that status."""
    reply = rf"printf 'HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n'"
    return shell(f"echo begun; while :; do {{ {reply}; }} | nc -l -p 8080 >/dev/null; done")


@pytest.mark.parametrize(
    ("command", "said", "advice"),
    [
        (answering("500 No"), "GET /healthz: HTTP probe failed with statuscode: 500", "`health` (/healthz)"),
        (shell("echo begun", f"exec {HTTPD} 9090"), "nothing listens on 0.0.0.0:8080", "`port`"),
        (
            shell("echo begun", f"exec {HTTPD} 127.0.0.1:8080"),
            "listens only on 127.0.0.1:8080",
            "0.0.0.0:8080",
        ),
    ],
    ids=["500", "another port", "loopback"],
)
def test_an_application_that_does_not_become_ready_is_explained_at_the_deadline(
    command: tuple[str, ...], said: str, advice: str, cluster_bench: ClusterBench
) -> None:
    error = fails(cluster_bench, cluster_bench.spec(command=command, ready=2.5))
    assert type(error) is AppFailed
    assert AT_DEADLINE in error.message
    assert said in error.message
    assert advice in error.advice
    assert "Unhealthy: Readiness probe failed" in evidence(error)
    assert "begun" in evidence(error)


def test_an_application_that_listens_only_on_loopback_is_reported_before_the_deadline(
    cluster_bench: ClusterBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readiness, "LOOPBACK_AFTER", 2.0)
    spec = cluster_bench.spec(command=shell(f"{HTTPD} 127.0.0.1:8080"), ready=600.0)
    assert "listens only on 127.0.0.1:8080" in fails(cluster_bench, spec).message


# It serves one host name, as applications in production do.
STRICT = """\
mkdir -p /tmp/www/cgi-bin
cat > /tmp/www/cgi-bin/page <<'SCRIPT'
#!/bin/sh
[ "$HTTP_HOST" = localhost ] && status="200 OK" || status="400 Bad Request"
printf 'Status: %s\\r\\nContent-Type: text/plain\\r\\n\\r\\n%s\\n' "$status" "$status"
SCRIPT
chmod +x /tmp/www/cgi-bin/page
exec httpd -f -p 8080 -h /tmp/www
"""


def test_a_refused_host_name_ends_the_wait_early_and_is_named(
    cluster_bench: ClusterBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readiness, "SAME", 2.0)
    spec = cluster_bench.spec(command=("sh", "-c", STRICT), health="/cgi-bin/page", ready=600.0)
    error = fails(cluster_bench, spec)
    assert type(error) is AppFailed
    said = f" refuses the host name {spec.ref.own_host}: GET /cgi-bin/page answered 400, and is well for localhost."
    assert said in error.message
    assert "`health: {path: /cgi-bin/page, host: localhost}`" in error.advice


def test_a_slow_application_is_waited_for_with_a_note(
    cluster_bench: ClusterBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readiness, "FIRST_NOTE", 1.0)
    spec = cluster_bench.spec(command=shell("sleep 3", f"exec {HTTPD} 8080"))
    cluster_bench.deploy(spec)
    assert cluster_bench.probe.get(cluster_bench.engine.public(spec), "/healthz", 5).status == 200
    assert "is not ready yet" in notes(cluster_bench)


def test_the_watchs_deadline_ends_the_wait_and_leaves_the_pods(cluster_bench: ClusterBench) -> None:
    spec = cluster_bench.spec(command=shell("sleep 60"))
    cluster_bench.engine.prepare(spec.ref, ())
    cluster_bench.engine.start(spec, cluster_bench.watch())
    with pytest.raises((AppFailed, EngineFailed)):
        cluster_bench.engine.ready(spec, cluster_bench.events.append, cluster_bench.watch(1.0))
    assert len(cluster_bench.engine.replicas(spec.ref)) == 1


# ── afterwards ───────────────────────────────────────────────────────────────


def test_a_failed_slot_is_kept_for_inspection_and_the_traffic_stays(cluster_bench: ClusterBench) -> None:
    good, bad = (
        cluster_bench.spec("blue"),
        cluster_bench.spec("green", 2, command=shell("echo why", "exit 7")),
    )
    cluster_bench.deploy(good)
    fails(cluster_bench, bad)
    engine = cluster_bench.engine
    assert engine.serving(good.ref) == "blue"
    assert cluster_bench.probe.get(engine.public(good), "/healthz", 5).status == 200
    [replica] = engine.replicas(bad.ref)
    assert (replica.state, replica.exit_code, replica.out_of_memory) == ("exited", 7, False)
    assert engine.logs(bad.ref, 5) == ("why",)


@local
def test_the_next_start_restarts_a_crashed_slot_at_once(cluster_bench: ClusterBench) -> None:
    """The kubelet would wait longer and longer before it restarts the container."""
    server = socketserver.TCPServer(
        (where.ADDRESS, 0), socketserver.BaseRequestHandler, bind_and_activate=False
    )
    with server as database:
        database.server_bind()
        port = database.server_address[1]
        command = shell(f"nc {where.ADDRESS} {port} </dev/null || exit 5", f"exec {HTTPD} 8080")
        spec = cluster_bench.spec(command=command, replicas=2)
        for _ in range(2):
            assert "exited with code 5" in fails(cluster_bench, spec).message
        # Until then a container may run that has found no database.
        until(lambda: {one.state for one in cluster_bench.engine.replicas(spec.ref)} == {"exited"})
        database.server_activate()
        threading.Thread(target=database.serve_forever, args=(0.01,)).start()
        try:
            cluster_bench.stand(spec)
        finally:
            database.shutdown()


def test_one_crash_of_a_warm_slot_is_no_reason_to_refuse_it(cluster_bench: ClusterBench) -> None:
    spec = cluster_bench.spec()
    cluster_bench.deploy(spec)
    [pod] = cluster_bench.engine.replicas(spec.ref)
    kubectl(cluster_bench.api.namespace, "exec", pod.name, "--", "killall", "httpd")

    def again() -> bool:
        found = cluster_bench.api.get("Pod", pod.name)
        return bool(found and restarts(found))

    until(again)
    assert [one.name for one in cluster_bench.engine.ready(spec, print, cluster_bench.watch())] == [pod.name]
