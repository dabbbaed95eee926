"""An accessory on a real cluster, and a release that uses it: by its name, also after its Service was deleted by hand;
and an image that no node can pull, which takes nothing away from the one that runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.adapters.kubernetes.names import HELPER
from pipeline.adapters.kubernetes.pods import claims
from pipeline.config.workload.accessory import Accessory, Use
from pipeline.domain.accessories import AccessoryRef, AccessorySpec, Attachment
from pipeline.domain.engine_types import SlotSpec
from pipeline.errors import EngineFailed
from pipeline.lib.secret import Secret
from tests.cluster.test_kube_failures import shell
from tests.support.clusterbench import ClusterBench, local_volume
from tests.support.waiting import until

SERVE = "echo $WORD >/tmp/index.html; exec httpd -f -p 8080 -h /tmp"


def accessory(bench: ClusterBench, **changes: Any) -> AccessorySpec:
    values = {"image": bench.remote, "volume": "/kept", "port": 8080, "memory": 64 << 20, "cpu": 0.1}
    values |= {"stop": 1.0, "command": ("sh", "-c", SERVE)}
    ref = AccessoryRef(f"{bench.name}-db", "live", bench.key)
    attached = (Attachment(bench.name, 0, ("db",), 29),)
    return AccessorySpec(
        ref,
        Accessory(**{**values, **changes}),
        attached,
        {"WORD": 1},
        lambda: {"WORD": Secret("a word with $(HOME)")},
    )


def using(bench: ClusterBench, one: AccessorySpec) -> SlotSpec:
    spec = bench.spec(env={"URL": "http://${db.HOST}:8080/"}, replicas=1)
    config = spec.config.model_copy(update={"uses": {"db": Use(accessory=one.ref.name)}})
    return replace(spec, config=config, reveal=lambda: {"URL": Secret("http://db:8080/")})


def test_a_release_reaches_its_accessory_by_name_and_nothing_takes_it_away(
    cluster_bench: ClusterBench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "GRACE", 1.0)
    bench, engine, api = cluster_bench, cluster_bench.engine, cluster_bench.api
    one = accessory(bench)
    spec, name = using(bench, one), f"{bench.engine._instance}-{one.ref.name}-live"
    engine.prepare(spec.ref, ())
    with pytest.raises(EngineFailed, match="has no Service"):
        engine.start(spec, bench.watch())
    nowhere = accessory(bench, image=f"{bench.remote.partition('@')[0]}:none")
    with pytest.raises(
        EngineFailed, match=f"the accessory {one.ref.id} was not made from .*:none: its image"
    ):
        engine.keep_accessory(nowhere, bench.watch())
    # So the next run takes a corrected one.
    assert one.ref not in engine.accessories()
    assert one.ref.volume not in [each.ref for each in engine.volumes()]
    with pytest.raises(
        EngineFailed, match=f"the accessory {one.ref.id} does not start: it waits for its volume"
    ) as raised:
        engine.keep_accessory(one, bench.watch())
    assert f"call `pushlive accessory apply {one.ref.name} live`" in raised.value.message
    with local_volume(api.namespace, engine.volume_name(one.ref.volume), tmp_path):
        engine.replace_accessory(one, bench.watch())
        until(lambda: not engine.accessory_unready(one), 40)  # its volume may be seen after 15 s
        result = engine.command(spec, "ask", shell('wget -qO- "$URL"'), {}, print, bench.watch())
        engine.forget_command(spec, "ask")
        assert result.output == "a word with $(HOME)\n"
        bench.stand(spec)
        assert engine.drift(spec) == ()

        # Made again, its Service has the address that the pods know.
        address = api.get("Service", name)["spec"]["clusterIP"]
        api.delete("Service", name)
        assert engine.keep_accessory(one, bench.watch())
        assert api.get("Service", name)["spec"]["clusterIP"] == address
        assert engine.drift(spec) == ()

        # A copy that a killed process has left may keep the volume on another node.
        engine.halt_accessory(one.ref)
        engine.ensure_volume(one.ref.before_upgrade)
        engine._volume_helpers.pod(one.ref.before_upgrade, "sleep 600", one.ref.volume).create()
        assert engine.keep_accessory(one, bench.watch())
        assert api.find("Pod", {HELPER: "copy"}) == []
        engine.remove_volume(one.ref.before_upgrade)
        until(lambda: not engine.accessory_unready(one), 40)

        pod = api.get("Pod", f"{name}-0")["metadata"]["uid"]
        engine.revert_drift(spec)
        engine.restore(spec)
        with pytest.raises(EngineFailed, match="its image cannot be pulled"):
            engine.replace_accessory(nowhere, bench.watch())
        assert api.get("Pod", f"{name}-0")["metadata"]["uid"] == pod
        assert engine.accessory_unready(one) == ""
        assert one.ref.name not in [each.pipeline for each in engine.environments()]

        engine.unroute(spec.ref)
        engine.remove(spec.ref)
        assert api.get("Pod", f"{name}-0")["metadata"]["uid"] == pod
        engine.remove_accessory(one.ref)
        assert [each for each in api.find("Secret", {}) if each["metadata"]["name"].startswith(name)] == []
        engine.remove_volume(one.ref.volume)
