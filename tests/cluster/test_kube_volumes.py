"""Claims on a real cluster: one that gets no volume, one that is corrected, and what the cluster refuses."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from pipeline.adapters.kubernetes.pods import claims
from pipeline.adapters.kubernetes.workload.claims import KIND
from pipeline.domain.engine_types import SlotSpec
from pipeline.domain.volumes import VolumeRef
from pipeline.errors import ConfigError, EngineFailed
from tests.cluster.test_kube_failures import fails, shell
from tests.support.clusterbench import ClusterBench, kubectl, local_volume

WRITES = "id -u; echo 1 >/data/one && ls /data"


def keeping(bench: ClusterBench, release: int = 1, **asked: Any) -> SlotSpec:
    options = {"kubernetes": {"volumes": {"data": asked}}} if asked else {}
    return bench.spec(release=release, volumes={"data": "/data"}, user="1234", replicas=1, **options)


def data(bench: ClusterBench) -> VolumeRef:
    return VolumeRef(bench.name, "live", "data")


@pytest.mark.skipif("PUSHLIVE_TEST_KUBECONFIG" in os.environ, reason="needs a cluster without a StorageClass")
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
        assert (tmp_path / "disk" / "one").read_text() == "1\n"
        found = api.get(KIND, claim)
        assert found
        assert not found["metadata"].get("ownerReferences")
        engine.remove_volume(data(bench))
        assert api.get(KIND, claim) is None


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
