"""Claims on a real cluster: one that gets no volume, one that is corrected, and what the cluster refuses."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from pipeline.adapters.kubernetes.names import PIPELINE
from pipeline.adapters.kubernetes.pods import claims
from pipeline.adapters.kubernetes.pods.state import is_finished
from pipeline.adapters.kubernetes.workload import volume_helpers, volumes
from pipeline.adapters.kubernetes.workload.claims import KIND, swap_of
from pipeline.adapters.volume_scripts import _BASICS
from pipeline.domain.engine_types import SlotSpec
from pipeline.domain.volumes import VolumeRef
from pipeline.errors import ConfigError, EngineFailed, RequestError, TryAgain
from tests.cluster.test_kube_failures import fails, shell
from tests.contract.test_volumes_contract import packed
from tests.support.clusterbench import ClusterBench, kubectl, local_volume
from tests.support.waiting import until

WRITES = "id -u; echo 1 >/data/one && ls /data"


def keeping(bench: ClusterBench, release: int = 1, **asked: Any) -> SlotSpec:
    options = {"kubernetes": {"volumes": {"data": asked}}} if asked else {}
    return bench.spec(release=release, volumes={"data": "/data"}, user="1234", replicas=1, **options)


def data(bench: ClusterBench) -> VolumeRef:
    return VolumeRef(bench.name, "live", "data")


on_this_machine = pytest.mark.skipif(
    "PUSHLIVE_TEST_KUBECONFIG" in os.environ, reason="needs a cluster without a StorageClass"
)


@on_this_machine
def test_a_claim_that_gets_no_volume_is_named_and_can_be_corrected(
    cluster_bench: ClusterBench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, engine, api = cluster_bench, cluster_bench.engine, cluster_bench.api
    claim = engine.volume_name(data(bench))
    monkeypatch.setattr(claims, "GRACE", 1.0)
    wrong = keeping(bench, **{"class": "fast"})
    engine.prepare(wrong.ref, ())
    error = fails(bench, wrong)
    assert (
        f"the claim {claim} in the namespace {api.namespace} (1 GiB, class fast, ReadWriteOnce)"
        in error.message
    )
    assert '"fast" not found' in error.message
    assert "kubectl get storageclass" in error.advice
    assert any("it waits for its volume" in event.text for event in bench.events)

    # It has no files yet, so another claim takes its place; and a user who is not root writes into root's folder.
    right = keeping(bench, release=2)
    engine.ensure_volume(data(bench))
    with local_volume(api.namespace, claim, tmp_path / "disk"):
        bench.stand(right)
        result = bench.engine.command(right, "write", shell(WRITES), {}, bench.events.append, bench.watch())
        engine.forget_command(right, "write")
        assert result.output.split() == ["1234", "one"]
        assert engine.drift(right) == ()

        with pytest.raises(ConfigError, match=f"The claim {claim} cannot grow"):
            engine.start(keeping(bench, release=3, size=2 << 30), bench.watch())
        with pytest.raises(ConfigError, match="has the access ReadWriteOnce, which no cluster changes"):
            engine.start(keeping(bench, release=3, access="ReadWriteMany"), bench.watch())

        engine.unroute(right.ref)
        engine.remove(right.ref)
        until(lambda: [one.users for one in engine.volumes() if one.ref == data(bench)] == [()], 30)
        assert (tmp_path / "disk" / "one").read_text() == "1\n"
        found = api.get(KIND, claim)
        assert found
        assert not found["metadata"].get("ownerReferences")
        engine.remove_volume(data(bench))
        assert api.get(KIND, claim) is None


@pytest.fixture
def disk(cluster_bench: ClusterBench, tmp_path: Path) -> Iterator[Path]:
    """The folder in which the files of the environment's volume are."""
    claim = cluster_bench.engine.volume_name(data(cluster_bench))
    cluster_bench.engine.prepare(cluster_bench.ref(), ())
    with local_volume(cluster_bench.api.namespace, claim, tmp_path / "disk"):
        yield tmp_path / "disk"
        cluster_bench.engine.remove_volume(data(cluster_bench))


@on_this_machine
def test_fault_59_what_starts_next_with_a_claim_finishes_a_swap_that_was_killed(
    cluster_bench: ClusterBench, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, engine, ref = cluster_bench, cluster_bench.engine, data(cluster_bench)
    engine.import_volume(ref, [packed(a="old", b="old")], bench.watch())
    # As far as it comes: the old files are away, and one of the new ones is in its place.
    some = f"{_BASICS}mkdir $old; each . $old; mv $new $ready; mv $ready/b .; sleep 100"
    monkeypatch.setattr(volumes, "SWAP", some)
    monkeypatch.setattr(volume_helpers, "SWAP_USUAL", 0.0)

    def restore() -> None:
        with suppress(EngineFailed, TryAgain):  # its pod ends
            engine.import_volume(ref, [packed(b="new", c="new")], bench.watch())

    thread = threading.Thread(target=restore)
    thread.start()
    until(lambda: (disk / ".pushlive-ready").exists() and (disk / "b").exists(), 30)
    spec = keeping(bench)
    result = engine.command(spec, "look", shell("ls -A /data"), {}, print, bench.watch())
    engine.forget_command(spec, "look")
    thread.join(30)
    assert result.output.split() == ["b", "c"]
    assert {one.name: one.read_text() for one in disk.iterdir()} == {"b": "new", "c": "new"}
    claim = bench.api.get(KIND, engine.volume_name(ref))
    assert claim
    assert not swap_of(claim)


@on_this_machine
def test_a_pod_that_ended_keeps_a_volume_only_if_it_is_not_ours_or_has_a_result(
    cluster_bench: ClusterBench,
    disk: Path,
) -> None:
    bench, engine, ref = cluster_bench, cluster_bench.engine, data(cluster_bench)
    spec, other, space = keeping(bench), f"{bench.name}-other", bench.api.namespace
    engine.command(spec, "release", ("true",), {}, print, bench.watch())
    [pod] = bench.api.find("Pod", {PIPELINE: bench.name})
    until(lambda: is_finished(bench.api.get("Pod", pod["metadata"]["name"])), 30)
    with pytest.raises(RequestError, match=f"{ref} is kept by {pod['metadata']['name']}") as raised:
        engine.remove_volume(ref)
    assert "removed with its run" in raised.value.advice
    engine.forget_command(spec, "release")

    claim = {"claimName": engine.volume_name(ref)}
    container = {"name": "app", "image": bench.remote, "command": ["true"]}
    container["volumeMounts"] = [{"name": "data", "mountPath": "/data"}]
    volume = {"name": "data", "persistentVolumeClaim": claim}
    body = {"containers": [container], "volumes": [volume], "restartPolicy": "Never"}
    theirs = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": other}, "spec": body}
    kubectl(space, "create", "-f", "-", stdin=json.dumps(theirs))
    until(lambda: is_finished(bench.api.get("Pod", other)), 30)
    with pytest.raises(RequestError, match=f"{ref} is kept by {other}") as raised:
        engine.remove_volume(ref)
    assert f"`kubectl -n {space} delete pod {other}`" in raised.value.advice
    assert [one.ref for one in engine.volumes() if one.ref == ref] == [ref]
    kubectl(space, "delete", "pod", other)


def test_a_namespace_that_allows_no_root_says_so_to_who_reads_a_volume(own: ClusterBench) -> None:
    bench, space = own, own.api.namespace
    kubectl(space, "label", "namespace", space, "pod-security.kubernetes.io/enforce=restricted")
    bench.engine.ensure_volume(data(bench))
    pieces = bench.engine.export_volume(data(bench), bench.watch())
    with closing(pieces), pytest.raises(EngineFailed, match="the cluster refuses it") as raised:
        next(pieces)
    assert "PodSecurity" in raised.value.message
    assert "`baseline`" in raised.value.advice
    assert not bench.api.find("Pod", {})
