"""People's commands on a cluster: in a pod of their own, and in one that serves."""

from __future__ import annotations

import io
import tarfile
import threading
from contextlib import closing, suppress
from typing import Any

import pytest

from pipeline.adapters.kubernetes.workload import reader
from pipeline.adapters.kubernetes.workload.terminals import KubeTerminals
from pipeline.domain.engine_types import SlotSpec
from pipeline.errors import AppFailed, RequestError
from pipeline.ports.terminal import STDERR, STDOUT, Wanted
from tests.support.clusterbench import ClusterBench
from tests.support.waiting import until


@pytest.fixture
def spec(cluster_bench: ClusterBench) -> SlotSpec:
    """One replica that is ready."""
    spec = cluster_bench.spec(env={"GREETING": "hello"})
    cluster_bench.engine.prepare(spec.ref, ())
    cluster_bench.engine.start(spec, cluster_bench.watch())
    cluster_bench.engine.ready(spec, cluster_bench.events.append, cluster_bench.watch())
    return spec


def read(session: Any) -> tuple[bytes, bytes, int]:
    """All its output, its errors and its exit code."""
    found = {STDOUT: b"", STDERR: b""}
    with closing(session):
        for kind, data in session.output():
            found[kind] += data
        return found[STDOUT], found[STDERR], session.exit_code()


def test_commands_on_a_cluster(cluster_bench: ClusterBench, spec: SlotSpec) -> None:
    engine, replica = cluster_bench.engine, cluster_bench.engine.replicas(spec.ref)[0].name
    script = 'echo "$GREETING $PUSHLIVE_RELEASE"; cat; echo oh >&2; exit 7'

    fresh = engine.run_session(spec, Wanted("a1", ("sh", "-c", script)), cluster_bench.watch())
    fresh.write(bytes(range(256)))
    fresh.end_input()
    assert read(fresh) == (b"hello r1\n" + bytes(range(256)), b"oh\n", 7)
    assert not engine.command_runs(spec.ref)
    pods = [pod["metadata"]["name"] for pod in cluster_bench.api.find("Pod", {"pushlive/session": "a1"})]
    assert len(pods) == 1
    engine.end_session(spec.ref, "a1")
    engine.end_session(spec.ref, "a1")
    until(lambda: cluster_bench.api.get("Pod", pods[0]) is None)

    terminal = engine.exec_session(spec.ref, replica, Wanted("a2", ("sh",), True, 100, 30))
    shown: list[bytes] = []
    thread = threading.Thread(target=lambda: shown.extend(data for _, data in terminal.output()))
    thread.start()
    terminal.write(b"hostname; stty size\n")
    until(lambda: replica.encode() in b"".join(shown) and b"30 100" in b"".join(shown))
    terminal.resize(120, 50)
    until(lambda: terminal.write(b"stty size\n") or b"50 120" in b"".join(shown))
    terminal.write(b"sleep 4321 &\n")
    terminal.write(b"echo $((40 + 2))\n")
    until(lambda: b"42\r\n" in b"".join(shown))
    terminal.close()
    thread.join(10)
    engine.end_session(spec.ref, "a2", replica)
    left = engine.exec_session(
        spec.ref, replica, Wanted("a3", ("sh", "-c", "cat /proc/[0-9]*/cmdline 2>/dev/null"))
    )
    assert b"4321" not in read(left)[0]

    missing = Wanted("a4", ("/no/such/program",))
    assert read(engine.exec_session(spec.ref, replica, missing))[2] == 127  # `env` says so
    with pytest.raises(AppFailed, match="could not be started"):
        read(engine.run_session(spec, missing, cluster_bench.watch()))
    engine.end_session(spec.ref, "a4")


# All of the pod's processes are seen, or the application's alone; by its own user, or by one who first finds out which
# that is.
@pytest.mark.parametrize(("init", "user"), [(False, "0"), (True, "")])
def test_files_are_copied_out_of_an_image_without_tar(
    cluster_bench: ClusterBench, monkeypatch: pytest.MonkeyPatch, init: bool, user: str
) -> None:
    if not user:  # nor may the image's own user, whom no one knows, remove the program
        monkeypatch.setattr(KubeTerminals, "_has_tar", lambda *_: False)
        monkeypatch.setattr(reader, "ANYONE", 12345)
    made = "mkdir /tmp/out; echo one >/tmp/out/file; rm /bin/tar; exec httpd -f -p 8080 -h /www"
    spec = cluster_bench.spec(init=init, user=user, command=("sh", "-c", made))
    engine = cluster_bench.engine
    engine.prepare(spec.ref, ())
    engine.start(spec, cluster_bench.watch())
    until(lambda: [one.state for one in engine.replicas(spec.ref)] == ["running"], 30)
    replica = engine.replicas(spec.ref)[0].name
    archive, said, code = read(engine.copy_session(spec.ref, replica, "/tmp/out", "c1"))
    assert (said, code) == (b"", 0)
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        assert tar.getnames() == ["out", "out/file"]
        found = tar.extractfile("out/file")
        assert found
        assert found.read() == b"one\n"
    engine.end_session(spec.ref, "c1", replica)

    def ends() -> bool:
        status = (cluster_bench.api.get("Pod", replica) or {})["status"]
        return all("terminated" in one["state"] for one in status["ephemeralContainerStatuses"])

    until(ends, 20)
    assert [one.state for one in engine.replicas(spec.ref)] == ["running"]


def test_a_restart_replaces_every_pod_and_is_no_drift(cluster_bench: ClusterBench, spec: SlotSpec) -> None:
    engine = cluster_bench.engine
    engine.expose(spec)
    before = {one.name for one in engine.replicas(spec.ref)}
    engine.restart_slot(spec, "a1", cluster_bench.events.append, cluster_bench.watch())
    after = {one.name for one in engine.replicas(spec.ref)}
    assert len(after) == 1
    assert not before & after
    assert engine.drift(spec) == ()
    assert not engine.restore(spec)
    (source,) = engine.sources(spec.ref)
    output = engine.output_of(source.name, lines=10, since=0.0, follow=False)
    with closing(output):
        assert all(isinstance(piece, bytes) for piece in output.pieces())
    with suppress(RequestError):  # a cluster without the metrics API says so
        assert all(one.memory > 0 for one in engine.usage(spec.ref))
