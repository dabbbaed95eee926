"""A slot on a real cluster: who owns its objects, what is kept and what is deleted, and what its pods see."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from pipeline.adapters.kubernetes.names import base, environment_labels, slot_name
from pipeline.adapters.kubernetes.ownership import OwnedObjects
from pipeline.domain.engine_types import SlotRef, SlotSpec
from pipeline.domain.environment import SLOTS
from pipeline.errors import ConfigError, RequestError
from pipeline.lib.secret import Secret
from tests.cluster.test_kube_failures import HTTPD, shell
from tests.support import clusterbench
from tests.support.clusterbench import ClusterBench, kubectl
from tests.support.waiting import until

KINDS = (
    "deployments,replicasets,pods,services,configmaps,secrets,ingresses,poddisruptionbudgets,endpointslices"
)


def names(bench: ClusterBench, kind: str) -> set[str]:
    labels = environment_labels(bench.engine._instance, bench.ref())
    return {one["metadata"]["name"] for one in bench.api.find(kind, labels)}


def content(bench: ClusterBench, kind: str, name: str) -> Any:
    """An object without what the cluster itself keeps writing."""
    found = bench.api.get(kind, name)
    assert found is not None
    return [found["metadata"]["uid"], found["metadata"].get("labels"), found.get("spec"), found.get("data")]


def with_secret(spec: SlotSpec, version: int) -> SlotSpec:
    values = {"TOKEN": Secret(f"value {version}")}
    return replace(spec, secrets={"TOKEN": version}, reveal=lambda: values)


def inside(bench: ClusterBench, spec: SlotSpec, script: str, name: str = "look") -> list[str]:
    result = bench.engine.command(spec, name, shell(script), {}, bench.events.append, bench.watch())
    bench.engine.forget_command(spec, name)
    return result.output.splitlines()


# ── ownership ──────────────────────────────────────────────────────────────


def foreign(bench: ClusterBench, kind: str, name: str) -> None:
    """An object of that name that Pushlive does not manage."""
    port = {"name": "http", "port": 80}
    pod = {
        "metadata": {"labels": {"app": "theirs"}},
        "spec": {"containers": [{"name": "x", "image": "theirs"}]},
    }
    backend = {"service": {"name": "theirs", "port": {"number": 80}}}
    rule = {
        "host": "theirs.example.com",
        "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]},
    }
    bodies: dict[str, tuple[str, dict[str, Any]]] = {
        "Service": ("v1", {"spec": {"selector": {"app": "theirs"}, "ports": [port]}}),
        "Deployment": (
            "apps/v1",
            {"spec": {"replicas": 0, "selector": {"matchLabels": {"app": "theirs"}}, "template": pod}},
        ),
        "Ingress": ("networking.k8s.io/v1", {"spec": {"rules": [rule]}}),
        "PodDisruptionBudget": (
            "policy/v1",
            {"spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "theirs"}}}},
        ),
        "Secret": ("v1", {"stringData": {"theirs": "yes"}}),
    }
    version, body = bodies[kind]
    manifest = {"apiVersion": version, "kind": kind, "metadata": {"name": name}, **body}
    kubectl(bench.api.namespace, "create", "-f", "-", stdin=json.dumps(manifest))


@pytest.fixture
def theirs(cluster_bench: ClusterBench) -> Iterator[list[tuple[str, str]]]:
    """Kinds and names to delete afterwards."""
    made: list[tuple[str, str]] = []
    yield made
    for kind, name in made:
        kubectl(cluster_bench.api.namespace, "delete", kind.lower(), name, "--wait=false")


@pytest.mark.parametrize(
    ("kind", "suffix"), [("Service", ""), ("Ingress", ""), ("Deployment", "-green"), ("Service", "-blue")]
)
def test_a_foreign_object_is_refused_before_anything_is_created_and_left_alone(
    kind: str, suffix: str, cluster_bench: ClusterBench, theirs: list[tuple[str, str]]
) -> None:
    name = base(cluster_bench.ref()) + suffix
    foreign(cluster_bench, kind, name)
    theirs.append((kind, name))
    before = content(cluster_bench, kind, name)
    with pytest.raises(
        ConfigError, match=f"{kind} {name} already exists in the namespace .* and is not managed by Pushlive"
    ) as raised:
        cluster_bench.engine.prepare(cluster_bench.ref(), ("hello.example.com",))
    assert f"delete {kind.lower()} {name}" in raised.value.advice
    for slot in SLOTS:
        cluster_bench.engine.stop(cluster_bench.ref(slot))
    cluster_bench.engine.remove(cluster_bench.ref())
    assert content(cluster_bench, kind, name) == before
    assert not any(names(cluster_bench, each) for each in ("Service", "Deployment", "Ingress"))


def test_a_foreign_object_created_meanwhile_is_left_alone(
    cluster_bench: ClusterBench, theirs: list[tuple[str, str]]
) -> None:
    bench, engine = cluster_bench, cluster_bench.engine
    engine.prepare(bench.ref(), ())
    spec, slot = bench.spec(replicas=2), slot_name(bench.ref())
    owned = ("PodDisruptionBudget", slot), ("Ingress", base(bench.ref()))
    engine.start(spec, bench.watch())
    for kind, name in owned:
        foreign(bench, kind, name)
        theirs.append((kind, name))
    before = [content(bench, *each) for each in owned]
    with pytest.raises(ConfigError, match=f"PodDisruptionBudget {slot} .* is not managed by Pushlive"):
        engine.expose(spec)
    engine.expose(bench.spec())  # one replica and no host name: it needs neither
    assert [content(bench, *each) for each in owned] == before


def test_two_installations_in_one_namespace_do_not_touch_each_other(
    cluster_bench: ClusterBench, namespace: str, pushed_app: str
) -> None:
    spec = cluster_bench.spec(env={"A": "1"})
    cluster_bench.deploy(spec)
    other = clusterbench.make("other", namespace, pushed_app)
    with pytest.raises(
        ConfigError, match=f"belongs to the Pushlive instance {cluster_bench.engine._instance}"
    ):
        other.engine.prepare(spec.ref, ())
    assert [ref for ref in other.engine.slots() if ref.pipeline == spec.ref.pipeline] == []
    for slot in SLOTS:
        assert other.engine.replicas(replace(spec.ref, slot=slot)) == ()
    other.engine.remove(spec.ref)
    try:
        other.deploy(other.spec())
        other.engine.remove(other.ref())
    finally:
        other.engine.remove(other.ref())
    assert cluster_bench.engine.missing(spec) == ()
    assert cluster_bench.probe.get(cluster_bench.engine.public(spec), "/healthz", 5).status == 200


def test_an_object_of_another_environment_is_refused(cluster_bench: ClusterBench) -> None:
    cluster_bench.engine.prepare(cluster_bench.ref(), ())
    owned = OwnedObjects(cluster_bench.api, cluster_bench.engine._instance)
    with pytest.raises(ConfigError, match="belongs to another environment"):
        owned.get("Service", base(cluster_bench.ref()), replace(cluster_bench.ref(), environment="qa"))


# ── what is kept, and what is deleted ───────────────────────────────────────


def test_configuration_that_no_slot_refers_to_is_deleted_and_the_rest_is_kept(
    cluster_bench: ClusterBench,
) -> None:
    bench, engine = cluster_bench, cluster_bench.engine
    engine.prepare(bench.ref(), ())
    blue = with_secret(bench.spec("blue", 1, env={"RELEASE": "1"}), 1)
    green = with_secret(bench.spec("green", 2, env={"RELEASE": "2"}), 2)
    for spec in (blue, green):
        bench.stand(spec)
    kept = {kind: names(bench, kind) for kind in ("ConfigMap", "Secret")}
    assert {kind: len(found) for kind, found in kept.items()} == {"ConfigMap": 2, "Secret": 2}
    newer = with_secret(bench.spec("blue", 3, env={"RELEASE": "3"}), 3)
    bench.stand(newer)
    for kind, before in kept.items():
        after = names(bench, kind)
        assert len(after) == 2
        assert len(after & before) == 1
    script = "echo $RELEASE $TOKEN"
    assert inside(bench, green, script) == ["2 value 2"]
    assert inside(bench, newer, script) == ["3 value 3"]


def test_a_stopped_slot_is_kept_at_0_replicas_and_starts_again(cluster_bench: ClusterBench) -> None:
    bench, engine = cluster_bench, cluster_bench.engine
    blue, green = with_secret(bench.spec("blue", 1, env={"A": "1"}), 1), bench.spec("green", 2)
    bench.deploy(blue)
    with pytest.raises(RequestError, match="takes the traffic"):
        engine.stop(blue.ref)
    bench.deploy(green)
    for _ in range(2):
        engine.stop(blue.ref)
    assert engine.replicas(blue.ref) == ()
    kept = bench.api.get("Deployment", slot_name(blue.ref))
    assert kept is not None
    assert kept["spec"]["replicas"] == 0
    assert len(names(bench, "ConfigMap")) == len(names(bench, "Secret")) == 1

    bench.deploy(blue)
    assert engine.serving(blue.ref) == "blue"
    again = bench.api.get("Deployment", slot_name(blue.ref))
    assert again is not None
    assert again["metadata"]["uid"] == kept["metadata"]["uid"]


def test_restore_creates_deleted_configuration_again(cluster_bench: ClusterBench) -> None:
    bench, engine = cluster_bench, cluster_bench.engine
    spec = with_secret(bench.spec(env={"A": "1"}), 1)
    bench.deploy(spec)
    before = {kind: names(bench, kind) for kind in ("ConfigMap", "Secret")}
    assert engine.restore(spec) is False
    kubectl(bench.api.namespace, "delete", "configmap", *before["ConfigMap"])
    kubectl(bench.api.namespace, "delete", "secret", *before["Secret"])
    assert engine.restore(spec) is True
    assert {kind: names(bench, kind) for kind in before} == before


def test_remove_deletes_everything_of_the_environment(own: ClusterBench) -> None:
    own.hosts = ("hello.example.com",)
    for slot, release in (("blue", 1), ("green", 2)):
        own.deploy(with_secret(own.spec(slot, release, replicas=2, env={"A": slot}), release))
    own.engine.command(own.spec("green", 2), "left", ("true",), {}, print, own.watch())
    own.engine.command(replace(own.spec("green", 2), run=2), "over", ("true",), {}, print, own.watch())
    for _ in range(2):
        own.engine.remove(own.ref())
    until(lambda: not anything(own), 20)


def test_a_host_name_moves_to_another_environment_with_its_switch(own: ClusterBench) -> None:
    def led(name: str) -> list[str]:
        """The Ingresses that have the host name."""
        found = own.api.find("Ingress", {})
        return [one["metadata"]["name"] for one in found if name in str(one["spec"].get("rules"))]

    own.hosts = ("www.example.com", "old.example.com")
    old = own.spec()
    own.deploy(old)
    ref = SlotRef(own.name, "shop", 1, "blue", own.key)
    own.hosts = ("www.example.com",)
    new = replace(own.spec(release=2), ref=ref)
    try:
        own.engine.prepare(ref, new.hosts)
        own.stand(new)
        assert led("www.example.com") == [base(old.ref)]
        own.engine.switch(new)
        assert led("www.example.com") == [base(ref)]
        assert led("old.example.com") == [base(old.ref)]
        there = replace(old, elsewhere=("www.example.com",))
        assert own.engine.missing(there) == (), "the keeper does not take it back"
        own.engine.unroute(ref)  # the new one was not verified: the keeper brings the old one back
        assert own.engine.missing(old) == (f"the Ingress {base(old.ref)} does not route its host names",)
        own.engine.restore(old)
        assert led("www.example.com") == [base(old.ref)]
    finally:
        own.engine.remove(ref)


def anything(bench: ClusterBench) -> set[str]:
    """The objects in the namespace, except those that every namespace has."""
    found = set(kubectl(bench.api.namespace, "get", KINDS, "-o", "name").split())
    return found - {"configmap/kube-root-ca.crt"}


def test_a_pod_that_the_node_ended_is_replaced_and_no_longer_counts(cluster_bench: ClusterBench) -> None:
    """As after an eviction by the kubelet, the pod stays in the phase Failed."""
    bench, engine = cluster_bench, cluster_bench.engine
    spec = bench.spec()
    bench.deploy(spec)
    [first] = engine.replicas(spec.ref)
    change = json.dumps({"spec": {"activeDeadlineSeconds": 1}})
    kubectl(bench.api.namespace, "patch", "pod", first.name, "--type=merge", "-p", change)
    waiting = ("--for=jsonpath={.status.phase}=Failed", "--timeout=30s")
    kubectl(bench.api.namespace, "wait", f"pod/{first.name}", *waiting)
    [second] = engine.ready(spec, print, bench.watch())
    assert second.name != first.name
    assert bench.api.get("Pod", first.name) is not None
    assert engine.missing(spec) == ()
    assert engine.restore(spec) is False
    engine.unroute(spec.ref)
    engine.stop(spec.ref)
    assert bench.api.get("Pod", first.name) is None


# ── changed by hand ───────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "words",
    [
        ("scale", "deployment/{name}", "--replicas=3"),
        ("set", "env", "deployment/{name}", "BY_HAND=yes"),
        ("set", "image", "deployment/{name}", "app=localhost:1/by-hand"),
        ("delete", "deployment/{name}"),
    ],
    ids=["scale", "env", "image", "delete"],
)
def test_the_next_start_reverts_changes_to_an_idle_slot(
    words: tuple[str, ...], cluster_bench: ClusterBench
) -> None:
    spec = cluster_bench.spec(env={"A": "1"})
    cluster_bench.engine.prepare(spec.ref, ())
    cluster_bench.stand(spec)
    kubectl(cluster_bench.api.namespace, *(word.format(name=slot_name(spec.ref)) for word in words))
    cluster_bench.stand(spec)
    assert cluster_bench.engine.missing(spec) == cluster_bench.engine.drift(spec) == ()
    [replica] = cluster_bench.engine.replicas(spec.ref)
    assert replica.state == "running"
    pod = cluster_bench.api.get("Pod", replica.name)
    assert pod is not None
    assert pod["spec"]["containers"][0]["image"] == cluster_bench.remote
    assert "BY_HAND" not in json.dumps(pod["spec"])
    assert cluster_bench.probe.get(cluster_bench.engine.preview(spec), "/healthz", 5).status == 200


# ── what its pods see ───────────────────────────────────────────────────────


def test_a_pod_gets_its_variables_by_the_same_rules_as_on_docker(cluster_bench: ClusterBench) -> None:
    env = {"TOKEN": "the configuration's", "PRICE": "$$5 $(TOKEN)", "PUSHLIVE_RELEASE": "mine"}
    spec = with_secret(cluster_bench.spec(env=env), 1)
    cluster_bench.deploy(spec)
    script = 'echo "$TOKEN"; echo "$PRICE"; echo "$PUSHLIVE_RELEASE $PUSHLIVE_ENVIRONMENT"; echo "$0"'
    argv = ("sh", "-c", script, "costs $(TOKEN) $$")
    result = cluster_bench.engine.command(spec, "look", argv, {}, print, cluster_bench.watch())
    assert result.output.splitlines() == [
        "the configuration's",
        "$$5 $(TOKEN)",
        "r1 live",
        "costs $(TOKEN) $$",
    ]


def test_a_pod_gets_no_token_and_no_further_privileges(cluster_bench: ClusterBench) -> None:
    look = "exec 2>&1; ls /var/run/secrets; env | grep -o '.*_SERVICE_HOST='; "
    look += "grep -E '^(NoNewPrivs|Seccomp):' /proc/self/status"
    cluster_bench.engine.prepare(cluster_bench.ref(), ())
    assert inside(cluster_bench, cluster_bench.spec(), look) == [
        "ls: /var/run/secrets: No such file or directory",
        "KUBERNETES_SERVICE_HOST=",
        "NoNewPrivs:\t1",
        "Seccomp:\t2",
    ]


def test_logs_of_several_replicas_are_merged_in_order_with_their_numbers(cluster_bench: ClusterBench) -> None:
    say = shell("echo first", "sleep 2", "echo second", f"exec {HTTPD} 8080")
    spec = cluster_bench.spec(command=say, replicas=2)
    cluster_bench.deploy(spec)
    lines = cluster_bench.engine.logs(spec.ref, 10)
    assert sorted(lines) == ["1: first", "1: second", "2: first", "2: second"]
    assert {line[3:] for line in lines[:2]} == {"first"}
    assert cluster_bench.engine.logs(spec.ref, 1)[0].endswith("second")
    cluster_bench.engine.unroute(spec.ref)
    cluster_bench.engine.stop(spec.ref)
    assert cluster_bench.engine.logs(spec.ref, 10) == ()
