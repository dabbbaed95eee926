"""What a namespace's rules refuse is reported: quotas, LimitRanges, Pod Security; each in a namespace of its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.adapters.inspection import EngineInspection
from pipeline.adapters.kubernetes.names import slot_name
from pipeline.adapters.kubernetes.pods import problems
from pipeline.config import loading, settings
from pipeline.domain.engine_types import SlotSpec
from pipeline.errors import DoesNotFit, EngineFailed
from pipeline.runtime.machines import unfit
from tests.cluster.test_kube_failures import HTTPD, fails, shell
from tests.support.clusterbench import ClusterBench, kubectl
from tests.support.waiting import until

MIB = 1 << 20


def rule(bench: ClusterBench, kind: str, spec: dict[str, object]) -> None:
    """Creates or changes the rule ``small`` in the environment's namespace."""
    manifest = {"apiVersion": "v1", "kind": kind, "metadata": {"name": "small"}, "spec": spec}
    kubectl(bench.api.namespace, "apply", "-f", "-", stdin=json.dumps(manifest))
    if kind == "ResourceQuota":

        def counted() -> bool:
            [quota] = bench.api.find(kind, {})
            return quota["status"].get("hard") == spec["hard"]

        until(counted)


def test_a_quota_that_is_too_small_is_reported_with_the_figures_before_anything_starts(
    own: ClusterBench,
) -> None:
    rule(own, "ResourceQuota", {"hard": {"limits.memory": "140Mi"}})
    with pytest.raises(
        DoesNotFit, match=r"blue needs 256 MiB of limits.memory; .* small has 140 MiB left"
    ) as raised:
        own.engine.fits(own.spec(replicas=2))
    assert "Raise the quota" in raised.value.advice
    own.engine.fits(own.spec())


def test_check_knows_what_the_largest_node_has(own: ClusterBench) -> None:
    text = (
        "pipelines: {{a: {{registry: r.io/a, environments: {{live: {{engine: kubernetes, memory: {0}}}}}}}}}"
    )
    inspection = EngineInspection(lambda *_: own.api, Path(), lambda _: pytest.fail("asked for a proxy"))
    found, left = unfit(loading.load(text.format("900GiB")), settings.load({}), inspection)
    assert [one.path for one in found] == ["pipelines.a.environments.live.memory"]
    assert "a replica requests 900 GiB of memory; the largest node of kubernetes has " in found[0].text
    assert unfit(loading.load(text.format("64MiB")), settings.load({}), inspection) == ([], []) == ([], left)


def test_a_slot_is_refilled_if_there_is_room_for_itself_only(
    own: ClusterBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its old pods end slowly. By then the cluster by itself retries only every few seconds."""
    monkeypatch.setattr(problems, "GRACE", 2.0)
    rule(own, "ResourceQuota", {"hard": {"limits.memory": "140Mi", "pods": "1"}})
    slow = shell("trap '' TERM", f"({HTTPD} 8080 &)", "while :; do sleep 1; done")
    own.engine.prepare(own.ref(), ())
    for release, stop in ((1, 3.0), (2, 1.0)):
        spec = own.spec(release=release, stop=stop, command=slow if release == 1 else ())
        own.engine.fits(spec)
        own.stand(spec)
    assert {replica.release for replica in own.engine.replicas(own.ref())} == {2}


def test_a_quota_that_appears_later_is_reported_and_a_larger_one_takes_effect_at_once(
    own: ClusterBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(problems, "GRACE", 2.0)
    spec = own.spec(replicas=2)
    own.engine.fits(spec)
    rule(own, "ResourceQuota", {"hard": {"limits.memory": "140Mi"}})
    error = fails(own, spec)
    assert type(error) is DoesNotFit
    assert "exceeded quota: small" in error.message
    assert "Raise the namespace's quota" in error.advice
    rule(own, "ResourceQuota", {"hard": {"limits.memory": "300Mi"}})
    own.stand(spec)


def test_a_limit_range_that_refuses_is_reported(own: ClusterBench) -> None:
    rule(own, "LimitRange", {"limits": [{"type": "Container", "max": {"memory": "16Mi"}}]})
    error = fails(own, own.spec())
    assert type(error) is DoesNotFit
    assert "maximum memory usage per Container is 16Mi" in error.message
    assert "LimitRange" in error.advice
    with pytest.raises(DoesNotFit, match="maximum memory usage"):
        own.engine.command(own.spec(), "x", ("true",), {}, print, own.watch())
    own.stand(own.spec(release=2, memory=12 * MIB))


def test_pods_request_as_much_cpu_as_a_limit_range_demands(own: ClusterBench) -> None:
    spec = own.spec(cpu=0.4)
    own.deploy(spec)
    rule(own, "LimitRange", {"limits": [{"type": "Container", "maxLimitRequestRatio": {"cpu": "4"}}]})
    [line] = own.engine.drift(spec)
    assert "requests.cpu: 40m → 100m" in line.back
    own.deploy(own.spec("green", 2, cpu=0.4))
    assert own.engine.drift(own.spec("green", 2, cpu=0.4)) == ()
    result = own.engine.command(own.spec("green", 2, cpu=0.4), "x", ("true",), {}, print, own.watch())
    assert result.exit_code == 0


def test_pod_security_refuses_a_standard_pod_and_accepts_a_strict_one(own: ClusterBench) -> None:
    kubectl("", "label", "namespace", own.api.namespace, "pod-security.kubernetes.io/enforce=restricted")
    error = fails(own, own.spec())
    assert type(error) is EngineFailed
    assert 'violates PodSecurity "restricted:latest"' in error.message
    assert "`security: strict`" in error.advice
    with pytest.raises(EngineFailed, match="violates PodSecurity") as raised:
        own.engine.command(own.spec(), "x", ("true",), {}, print, own.watch())
    assert "`security: strict`" in raised.value.advice

    strict = own.spec(release=2, security="strict", port=80, command=shell(f"exec {HTTPD} 80"))
    own.stand(strict)
    look = (
        "exec 2>&1; id -u; grep CapBnd /proc/self/status; touch /x; touch /tmp/x && echo wrote /tmp; exit 0"
    )
    assert output(own, strict, look) == [
        "65534",
        "CapBnd:\t0000000000000000",
        "touch: /x: Read-only file system",
        "wrote /tmp",
    ]


def output(bench: ClusterBench, spec: SlotSpec, script: str) -> list[str]:
    result = bench.engine.command(spec, "look", shell(script), {}, bench.events.append, bench.watch())
    return result.output.splitlines()


def test_a_quota_that_does_not_apply_to_a_slot_is_ignored(own: ClusterBench) -> None:
    rule(own, "ResourceQuota", {"hard": {"pods": "0"}, "scopes": ["BestEffort"]})
    own.engine.fits(own.spec())
    own.deploy(own.spec())
    assert slot_name(own.ref()) in own.engine.replicas(own.ref())[0].name
