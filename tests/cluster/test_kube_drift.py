"""Changes by hand are reported value by value, and reverted only on request."""

from __future__ import annotations

import base64
import json
import re
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.adapters.kubernetes.names import RELEASE, base, slot_labels, slot_name
from pipeline.config.models import Registry
from pipeline.config.parity.properties import IMAGE, properties
from pipeline.domain.engine_types import Login, SlotSpec
from pipeline.domain.parity import seen
from pipeline.errors import ConfigError
from pipeline.lib.secret import Secret
from tests.cluster import where
from tests.cluster.test_kube_failures import shell
from tests.support.clusterbench import ClusterBench, kubectl
from tests.support.waiting import until

TIME = r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d UTC"


@pytest.fixture
def live(cluster_bench: ClusterBench) -> SlotSpec:
    spec = cluster_bench.spec(replicas=2, env={"GREETING": "hello"})
    cluster_bench.deploy(spec)
    return spec


Edit = Callable[[str, str, dict[str, object]], None]


@pytest.fixture
def edit(kubeconfig: Path, namespace: str):
    """`kubectl patch`, with the field manager of `kubectl edit`."""

    def act(kind: str, name: str, change: dict[str, object]) -> None:
        command = [where.BIN / "kubectl", "-n", namespace, "patch", kind, name]
        command += ["--field-manager=kubectl-edit", "--type=merge", "-p", json.dumps(change)]
        subprocess.run(command, check=True, capture_output=True, text=True)

    return act


def test_a_slot_that_was_not_changed_has_no_drift(cluster_bench: ClusterBench, live: SlotSpec) -> None:
    assert cluster_bench.engine.drift(live) == ()


def test_another_number_of_replicas_is_reported_and_left_until_reverted(
    cluster_bench: ClusterBench, live: SlotSpec, edit
) -> None:
    engine = cluster_bench.engine
    edit("deployment", slot_name(live.ref), {"spec": {"replicas": 3}})
    assert engine.missing(live) == ()
    assert engine.restore(live) is False
    [line, *more] = engine.drift(live)
    assert re.fullmatch(
        rf"Deployment {slot_name(live.ref)} \(kubectl-edit, {TIME}\): spec\.replicas: 2 → 3", line
    )
    assert not more
    engine.revert_drift(live)
    assert engine.drift(live) == ()
    until(lambda: len(engine.replicas(live.ref)) == 2)


def test_a_changed_and_an_added_variable_are_reverted_without_a_gap(
    cluster_bench: ClusterBench, live: SlotSpec, namespace: str
) -> None:
    engine, name = cluster_bench.engine, slot_name(live.ref)
    words = [where.BIN / "kubectl", "-n", namespace]
    subprocess.run(
        [*words, "set", "env", f"deployment/{name}", "DEBUG=1", "PUSHLIVE_RELEASE=r99"],
        check=True,
        capture_output=True,
    )
    found = "\n".join(engine.drift(live))
    assert "env[PUSHLIVE_RELEASE].value: ••• → •••" in found
    assert "env[DEBUG]: nothing → •••" in found
    assert re.search(rf"\(kubectl-set, {TIME}\)", found)
    engine.revert_drift(live)
    assert engine.drift(live) == ()
    deployment = cluster_bench.api.get("Deployment", name)
    assert deployment is not None
    names = {one["name"] for one in deployment["spec"]["template"]["spec"]["containers"][0]["env"]}
    assert "DEBUG" not in names
    engine.ready(live, cluster_bench.events.append, cluster_bench.watch())
    assert cluster_bench.probe.get(engine.public(live), "/healthz", 5).status == 200


def test_a_changed_service_is_reported_and_reverted(
    cluster_bench: ClusterBench, live: SlotSpec, edit
) -> None:
    engine = cluster_bench.engine
    edit("service", base(live.ref), {"spec": {"ports": [{"name": "http", "port": 81, "targetPort": "http"}]}})
    assert any("spec.ports" in line for line in engine.drift(live))
    engine.revert_drift(live)
    assert engine.drift(live) == ()
    found = cluster_bench.api.get("Service", base(live.ref))
    assert found is not None
    assert [port["port"] for port in found["spec"]["ports"]] == [80]


def test_the_next_release_in_the_slot_starts_from_its_configuration(
    cluster_bench: ClusterBench, live: SlotSpec, edit
) -> None:
    engine, green = cluster_bench.engine, cluster_bench.spec("green", 2)
    cluster_bench.stand(green)
    engine.switch(green)
    edit("deployment", slot_name(live.ref), {"spec": {"replicas": 4}})
    third = cluster_bench.spec("blue", 3)
    cluster_bench.stand(third)
    assert len(engine.replicas(third.ref)) == 1
    assert engine.drift(third) == ()


def test_a_changed_configuration_is_compared_with_what_runs(
    cluster_bench: ClusterBench, live: SlotSpec
) -> None:
    wanted = cluster_bench.spec(replicas=2, env={"GREETING": "hi"}, memory=64 << 20)
    found = "\n".join(line.back for line in cluster_bench.engine.drift(wanted))
    assert "resources.limits.memory: 128Mi → 64Mi" in found
    assert cluster_bench.engine.missing(live) == ()


def test_fields_that_pushlive_does_not_set_are_left_to_those_who_did(
    cluster_bench: ClusterBench, edit: Edit
) -> None:
    """Those who run a cluster set TLS, annotations and the types of Services; a switch and a repair keep them."""
    bench, engine = cluster_bench, cluster_bench.engine
    bench.hosts = ("f1.example.com",)
    blue = bench.spec(replicas=2)
    bench.deploy(blue)
    public, slot = base(blue.ref), slot_name(blue.ref)
    tls = [{"hosts": ["f1.example.com"], "secretName": "certificate"}]
    noted = {"metadata": {"annotations": {"issuer": "letsencrypt"}}}
    edit("ingress", public, {"spec": {"tls": tls}, **noted})
    https = {"name": "https", "port": 443, "targetPort": "http"}
    http = {"name": "http", "port": 80, "targetPort": "http"}
    edit("service", public, {"spec": {"type": "NodePort", "ports": [http, https]}, **noted})
    edit("deployment", slot, {"spec": {"minReadySeconds": 1, "paused": True}, **noted})

    [paused] = engine.drift(blue)
    assert re.fullmatch(rf"Deployment {slot} \(kubectl-edit, {TIME}\): spec\.paused: nothing → true", paused)
    engine.revert_drift(blue)
    assert engine.drift(blue) == ()

    bench.hosts = ()  # the next release has no host name
    green = bench.spec("green", 2)
    bench.deploy(green)
    assert engine.missing(green) == ()
    unrouted = bench.api.get("Ingress", public)
    assert unrouted is not None
    assert unrouted["spec"]["rules"] == [{"host": "no-host.invalid"}]

    engine.switch(blue)
    assert engine.missing(blue) == engine.drift(blue) == ()
    ingress, service, deployment = (
        bench.api.get(kind, name)
        for kind, name in (("Ingress", public), ("Service", public), ("Deployment", slot))
    )
    assert ingress is not None
    assert service is not None
    assert deployment is not None
    assert ingress["spec"]["tls"] == tls
    assert [rule["host"] for rule in ingress["spec"]["rules"]] == ["f1.example.com"]
    assert service["spec"]["type"] == "NodePort"
    assert [port["name"] for port in service["spec"]["ports"]] == ["http", "https"]
    assert deployment["spec"]["minReadySeconds"] == 1
    for one in (ingress, service, deployment):
        assert one["metadata"]["annotations"]["issuer"] == "letsencrypt"


def test_fields_of_others_that_exclude_ours_do_not_keep_a_switch_or_a_repair_from_ending(
    cluster_bench: ClusterBench, live: SlotSpec, edit: Edit
) -> None:
    engine = cluster_bench.engine
    edit(
        "poddisruptionbudget",
        slot_name(live.ref),
        {"spec": {"maxUnavailable": None, "minAvailable": 1}},
    )
    edit("service", base(live.ref), {"spec": {"ports": [{"name": "http", "port": 81, "targetPort": "http"}]}})
    assert len(engine.drift(live)) > 1
    engine.expose(live)
    engine.switch(live)
    assert engine.drift(live) == ()


def test_an_ingress_that_is_only_pushlives_goes_with_the_last_host_name(
    cluster_bench: ClusterBench,
) -> None:
    bench = cluster_bench
    bench.hosts = ("f1.example.com",)
    blue = bench.spec()
    bench.deploy(blue)
    assert bench.api.get("Ingress", base(blue.ref)) is not None
    bench.hosts = ()
    without = bench.spec()
    assert bench.engine.restore(without) is True
    assert bench.api.get("Ingress", base(blue.ref)) is None


# ── what the cluster needs when pods move to another node ────────────────────


def test_a_release_that_does_not_come_up_keeps_no_node_from_being_drained(
    cluster_bench: ClusterBench, live: SlotSpec, edit: Edit
) -> None:
    bench, engine = cluster_bench, cluster_bench.engine
    green = bench.spec("green", 2, replicas=2)
    bench.deploy(green)
    earlier: dict[str, object] = {"spec": {"unhealthyPodEvictionPolicy": None}}  # that of an earlier version
    edit("poddisruptionbudget", slot_name(live.ref), earlier)
    assert any("from being drained" in text for text in engine.missing(live))
    assert engine.restore(live) is True
    assert engine.missing(live) == ()
    broken = bench.spec("blue", 3, replicas=2, command=shell("sleep 600"))  # the budget is still there
    engine.start(broken, bench.watch())

    labels = slot_labels(engine._instance, broken.ref) | {RELEASE: "3"}

    def run_and_are_counted() -> bool:
        """As long as they have not begun to run, they may always be evicted."""
        budget = bench.api.get("PodDisruptionBudget", slot_name(broken.ref))
        assert budget is not None
        pods = bench.api.find("Pod", labels)
        counts = [
            budget["status"].get(key) for key in ("expectedPods", "currentHealthy", "disruptionsAllowed")
        ]
        return counts == [2, 0, 0] and [pod["status"]["phase"] for pod in pods] == ["Running"] * 2

    until(run_and_are_counted, 20)
    for name in [pod["metadata"]["name"] for pod in bench.api.find("Pod", labels)]:
        path = f"{bench.api.path('Pod', name)}/eviction"
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
        headers = {"Content-Type": "application/json"}
        answer = bench.api.raw("POST", path, "evicting", headers=headers, body=json.dumps(eviction).encode())
        assert answer.status == 201, answer.data


def test_a_new_registry_login_reaches_the_nodes_without_a_release(cluster_bench: ClusterBench) -> None:
    bench, engine = cluster_bench, cluster_bench.engine
    registry = Registry(repository=bench.remote.partition("@")[0], username="ann", password="PULL")
    plain = bench.spec()
    config = plain.config.model_copy(update={"registry": registry})

    def with_login(password: str) -> SlotSpec:
        return replace(plain, config=config, login=lambda: Login("ann", Secret(password)))

    bench.deploy(with_login("of yesterday"))
    assert engine.missing(with_login("of yesterday")) == ()
    today = with_login("of today")
    assert engine.missing(today) == ("the nodes' login for the registry is not the newest",)
    assert engine.restore(today) is True
    assert engine.missing(today) == ()
    [before] = engine.replicas(plain.ref)
    found = bench.api.get("Secret", f"{base(plain.ref)}-pull")
    assert found is not None
    assert "of today" in base64.b64decode(found["data"][".dockerconfigjson"]).decode()
    assert engine.restore(today) is False
    assert engine.replicas(plain.ref) == (before,)

    def lost() -> Login:
        raise ConfigError("the secret PULL is not set.")

    assert engine.missing(replace(today, login=lost)) == (), "what runs keeps the login that it has"


# ── environments side by side ────────────────────────────────────────────────


def test_what_was_changed_by_hand_is_seen_as_properties(
    cluster_bench: ClusterBench, live: SlotSpec, edit: Edit, namespace: str
) -> None:
    """A variable, the image, the number of replicas and the memory; each with the next look."""
    engine, name = cluster_bench.engine, slot_name(live.ref)
    made = {IMAGE: seen.image(live.image), **properties(live.config)}

    def differing() -> dict[str, str]:
        found = engine.seen(live).inside
        return {
            key: value.text if value else "none"
            for key, value in found.items()
            if value is None or key not in made or value.same != made[key].same
        }

    assert differing() == {}
    around = engine.seen(live).around
    assert around["engine.version"].text.startswith("Kubernetes v")
    assert around["tls"].text == "off"

    edit("deployment", name, {"spec": {"replicas": 1}})
    assert differing() == {"replicas": "1"}
    kubectl(namespace, "set", "env", f"deployment/{name}", "DEBUG=1")
    assert differing() == {"replicas": "1", "env.DEBUG": "set"}
    kubectl(
        namespace, "set", "resources", f"deployment/{name}", "--limits=memory=64Mi", "--requests=memory=64Mi"
    )
    assert differing().items() >= {"memory": "64 MiB", "env.DEBUG": "set"}.items()
    kubectl(namespace, "set", "image", f"deployment/{name}", "*=busybox:1.36")
    assert differing()["image"] == "busybox:1.36"
    engine.revert_drift(live)
    assert differing() == {}
    assert engine.drift(live) == ()
