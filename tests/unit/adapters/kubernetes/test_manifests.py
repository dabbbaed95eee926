"""Kubernetes manifests from a SlotSpec."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.adapters import workload
from pipeline.adapters.docker import containers
from pipeline.adapters.kubernetes import manifests
from pipeline.adapters.kubernetes.api.objects import Manifest
from pipeline.adapters.kubernetes.manifests import NO_HOST, Manifests
from pipeline.adapters.kubernetes.names import INSTANCE, NOWHERE, RUN, SLOT, SPEC, selector
from pipeline.adapters.kubernetes.workload.routes import entries_of
from pipeline.config.models import Registry
from pipeline.config.workload.kubernetes import IngressOptions
from pipeline.domain.engine_types import SlotRef, SlotSpec
from pipeline.lib.secret import Secret
from tests.support.specs import slot_spec

MAKE = Manifests("pl", "shop")
PASSWORD = "correct horse battery staple"
LOGIN = Registry(repository="r.example.com/hello", username="u", password="REGISTRY")


def spec(slot: str = "blue", **changes: object) -> SlotSpec:
    ref = SlotRef("hello", "live", 3, slot, "kubernetes")
    remote = "r.example.com/hello@sha256:" + "1" * 64
    return slot_spec(ref, 17, 42, remote=remote, **changes)


def pod(one: SlotSpec) -> dict[str, Any]:
    found: dict[str, Any] = MAKE.deployment(one)["spec"]["template"]["spec"]
    return found


def container(one: SlotSpec) -> dict[str, Any]:
    found: dict[str, Any] = pod(one)["containers"][0]
    return found


def command(one: SlotSpec, *argv: str, **more: str) -> dict[str, Any]:
    return MAKE.command(one, "migrate", argv or ("true",), more)


def everything(one: SlotSpec) -> list[Manifest]:
    """Every object of an environment, except Secrets."""
    return [
        MAKE.public(one.ref, "blue"),
        MAKE.ingress(one.ref, ("hello.example.com",), ""),
        MAKE.preview(one),
        MAKE.deployment(one),
        MAKE.disruption(one),
        MAKE.config_map(one),
        command(one),
    ]


# ── resources, readiness and termination ────────────────────────────────────


def test_limits_are_the_configurations_and_a_part_of_the_cpu_is_requested() -> None:
    resources = container(spec(cpu=0.5, memory=64 << 20))["resources"]
    assert resources["limits"] == {"cpu": "500m", "memory": "64Mi"}
    assert resources["requests"] == {"cpu": "50m", "memory": "64Mi"}
    assert container(spec(cpu=0.02))["resources"]["requests"]["cpu"] == "10m"
    assert command(spec(cpu=0.5))["spec"]["containers"][0]["resources"]["limits"]["cpu"] == "500m"


def test_readiness_uses_the_health_path_and_no_probe_ends_a_pod() -> None:
    one = container(spec(port=9000, health="/healthz?deep=1"))
    asked = one["readinessProbe"]["httpGet"]
    headers = {each["name"]: each["value"] for each in asked.pop("httpHeaders")}
    assert asked == {"path": "/healthz?deep=1", "port": "http", "scheme": "HTTP"}
    assert headers == {"Host": "hello-live.localhost", "X-Forwarded-Proto": "http"}
    assert one["ports"] == [{"name": "http", "containerPort": 9000, "protocol": "TCP"}]
    assert not {"livenessProbe", "startupProbe"} & set(one)


@pytest.mark.parametrize(("stop", "seconds"), [(0.0, 1), (0.4, 1), (2.6, 3), (300.0, 300)])
def test_stop_is_counted_from_the_end_of_the_pre_stop_delay(stop: float, seconds: int) -> None:
    one = pod(spec(stop=stop))
    assert one["containers"][0]["lifecycle"] == {"preStop": {"sleep": {"seconds": manifests.PRE_STOP}}}
    assert one["terminationGracePeriodSeconds"] == manifests.PRE_STOP + seconds


def test_a_disruption_budget_allows_one_pod_at_a_time() -> None:
    budget = MAKE.disruption(spec(replicas=3))["spec"]
    assert budget["maxUnavailable"] == 1
    assert budget["selector"] == MAKE.deployment(spec())["spec"]["selector"]


# ── security ─────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("build", [pod, lambda one: command(one)["spec"]])
def test_the_security_defaults_are_those_on_docker(build: Any) -> None:
    one = build(spec())
    app = one["containers"][0]["securityContext"]
    assert app == {"allowPrivilegeEscalation": False, "capabilities": {"drop": workload.CAP_DROP}}
    assert one["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert one["automountServiceAccountToken"] is False
    assert one["enableServiceLinks"] is False
    assert "volumes" not in one
    assert one["shareProcessNamespace"] is True


def test_without_init_the_command_is_process_1() -> None:
    usual, first = (MAKE.deployment(spec(**more)) for more in ({}, {"init": False}))
    shared = [one["spec"]["template"]["spec"]["shareProcessNamespace"] for one in (usual, first)]
    assert shared == [True, False]


@pytest.mark.parametrize("build", [pod, lambda one: command(one)["spec"]])
def test_strict_complies_with_the_restricted_profile(build: Any) -> None:
    """https://kubernetes.io/docs/concepts/security/pod-security-standards"""
    one = build(spec(security="strict"))
    app = one["containers"][0]["securityContext"]
    assert app["allowPrivilegeEscalation"] is False
    assert app["capabilities"] == {"drop": ["ALL"]}
    assert app["runAsNonRoot"] is app["readOnlyRootFilesystem"] is True
    assert one["securityContext"]["runAsNonRoot"] is True
    assert one["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert one["volumes"] == [{"name": "tmp", "emptyDir": {"medium": "Memory"}}]
    assert one["containers"][0]["volumeMounts"] == [{"name": "tmp", "mountPath": "/tmp"}]


# ── variables ────────────────────────────────────────────────────────────────


def variables(one: SlotSpec, manifest: Manifest) -> dict[str, str]:
    """The container's variables by Kubernetes' rules: later sources win, and `env` wins over all of them."""
    sources = {"secretRef": revealed(one), "configMapRef": MAKE.config_map(one)["data"]}
    app = manifest["spec"]["containers"][0]
    found: dict[str, str] = {}
    for source in app["envFrom"]:
        [kind] = source
        found |= sources[kind]
    return found | {each["name"]: expanded(each["value"], found) for each in app["env"]}


def revealed(one: SlotSpec) -> dict[str, str]:
    data = MAKE.secret(one, one.reveal())["data"]
    return {key: base64.b64decode(value).decode() for key, value in data.items()}


def expanded(text: str, known: dict[str, str]) -> str:
    """How Kubernetes expands a value: k8s.io/kubernetes/third_party/forked/golang/expansion/expand.go."""
    out, at = "", 0
    while at < len(text):
        rest = text[at + 1 :]
        if text[at] != "$" or not rest:
            out, at = out + text[at], at + 1
        elif rest[0] == "$":
            out, at = out + "$", at + 2
        elif rest[0] == "(" and ")" in rest:
            name = rest[1 : rest.index(")")]
            out, at = out + known.get(name, f"$({name})"), at + len(name) + 3
        else:
            out, at = out + text[at : at + 2], at + 2
    return out


def with_secrets(one: SlotSpec) -> SlotSpec:
    values = {"TOKEN": Secret(PASSWORD), "BOTH": Secret("the secret's")}
    return replace(one, secrets={"TOKEN": 3, "BOTH": 1}, reveal=lambda: values)


def test_the_configuration_wins_over_secrets_and_pushlive_over_both_as_on_docker() -> None:
    env = {"A": "1", "BOTH": "the configuration's", "PUSHLIVE_RELEASE": "r1", "MORE": "2", "MONEY": "$$ $(A)"}
    one, more = with_secrets(spec(env=env)), {"MORE": "3", "PRICE": "$$5 or $(A)"}
    manifest = MAKE.command(one, "x", ("true",), more)
    body = containers.with_secrets({"Env": workload.environment(one, more)}, one.reveal(), one.filled)
    on_docker = dict(entry.split("=", 1) for entry in body["Env"])
    assert variables(one, manifest) == on_docker
    assert on_docker["BOTH"] == "the configuration's"
    assert on_docker["PRICE"] == "$$5 or $(A)"


@given(st.text("$()Aé", max_size=12))
@example("$(A)")
@example("$$(A)")
@example("$$")
@example("costs $é")
def test_values_and_arguments_reach_the_application_unchanged(text: str) -> None:
    [value] = [each["value"] for each in container_of(command(spec(), B=text))["env"] if each["name"] == "B"]
    assert expanded(value, {"A": "replaced"}) == text
    assert expanded(container(spec(command=("x", text)))["args"][1], {"A": "replaced"}) == text
    assert expanded(container_of(command(spec(), "x", text))["command"][1], {"A": "replaced"}) == text


def container_of(manifest: Manifest) -> dict[str, Any]:
    found: dict[str, Any] = manifest["spec"]["containers"][0]
    return found


def test_secrets_are_only_in_secrets() -> None:
    one = with_secrets(spec(env={"A": "1"}, registry=LOGIN))
    text = json.dumps(everything(one))
    for hidden in (PASSWORD, "the secret's"):
        assert hidden not in text
        assert base64.b64encode(hidden.encode()).decode() not in text
    assert revealed(one) == {"TOKEN": PASSWORD, "BOTH": "the secret's"}
    assert MAKE.secret(one, one.reveal())["metadata"]["labels"][INSTANCE] == "pl"


def test_the_hash_in_a_secrets_name_does_not_depend_on_its_value() -> None:
    one, other = with_secrets(spec()), replace(with_secrets(spec()), reveal=lambda: {"TOKEN": Secret("x")})
    assert MAKE.secret(one, one.reveal())["metadata"] == MAKE.secret(other, other.reveal())["metadata"]
    newer = replace(one, secrets={"TOKEN": 4, "BOTH": 1})
    assert (
        MAKE.secret(newer, one.reveal())["metadata"]["name"]
        != MAKE.secret(one, one.reveal())["metadata"]["name"]
    )


def test_nodes_log_in_to_the_registry_with_a_pull_secret() -> None:
    one = spec(registry=LOGIN)
    found = MAKE.pull_secret(one, "u", Secret(PASSWORD))
    document = json.loads(base64.b64decode(found["data"][".dockerconfigjson"]))
    both = base64.b64encode(f"u:{PASSWORD}".encode()).decode()
    assert document == {"auths": {"r.example.com": {"username": "u", "password": PASSWORD, "auth": both}}}
    assert found["type"] == "kubernetes.io/dockerconfigjson"
    for each in (pod(one), command(one)["spec"]):
        assert each["imagePullSecrets"] == [{"name": found["metadata"]["name"]}]
    assert "imagePullSecrets" not in pod(spec(registry=Registry(repository="r.example.com/hello")))


def test_a_pod_has_a_liveness_probe_only_if_liveness_says_so() -> None:
    plain = container(spec(health="/healthz", ready=30.0))
    assert {"livenessProbe", "startupProbe"} & plain.keys() == set()
    found = container(spec(health="/healthz", ready=30.0, liveness="restart"))
    assert found["readinessProbe"] == plain["readinessProbe"]
    get = plain["readinessProbe"]["httpGet"]
    alive, start = found["livenessProbe"], found["startupProbe"]
    assert (alive["httpGet"], alive["failureThreshold"] * alive["periodSeconds"]) == (get, 60)
    # While it starts, it has as long as `ready` says.
    assert (start["httpGet"], start["failureThreshold"] * start["periodSeconds"]) == (get, 30)


# ── the hash ──────────────────────────────────────────────


def test_the_hash_changes_with_everything_that_changes_a_pod_and_nothing_else() -> None:
    plain = MAKE.spec_hash(spec())
    assert MAKE.spec_hash(replace(spec(), run=99)) == plain
    assert MAKE.spec_hash(replace(spec(), image="sha256:elsewhere")) == plain  # what runs is `remote`
    assert (
        MAKE.spec_hash(spec(drain=99.0, keep_warm=1.0, timeout=5.0, replicas=3, ready=5.0, release=("x",)))
        == plain
    )
    others = [
        spec("green"),
        spec(memory=64 << 20),
        spec(cpu=0.5),
        spec(env={"A": "b"}),
        spec(env={"A": "c"}),
        spec(command=("x",)),
        spec(stop=3.0),
        spec(port=9000),
        spec(health="/healthz"),
        spec(security="strict"),
        spec(registry=LOGIN),
        with_secrets(spec()),
        replace(with_secrets(spec()), secrets={"TOKEN": 4, "BOTH": 1}),
        replace(spec(), remote="r.example.com/hello@sha256:" + "3" * 64),
        replace(spec(), release=18),
        replace(spec(), commit="d" * 40),
    ]
    hashes = [MAKE.spec_hash(one) for one in others]
    assert len({plain, *hashes}) == len(others) + 1


def test_the_hash_does_not_depend_on_the_order_of_variables() -> None:
    assert MAKE.spec_hash(spec(env={"A": "1", "B": "2"})) == MAKE.spec_hash(spec(env={"B": "2", "A": "1"}))
    one, other = with_secrets(spec()), replace(with_secrets(spec()), secrets={"BOTH": 1, "TOKEN": 3})
    assert MAKE.spec_hash(one) == MAKE.spec_hash(other)


def test_pods_have_their_hash_and_no_run() -> None:
    template = MAKE.deployment(spec())["spec"]["template"]
    assert template["metadata"]["labels"][SPEC] == MAKE.spec_hash(spec())
    assert RUN not in template["metadata"]["labels"]
    assert template == MAKE.deployment(replace(spec(), run=99))["spec"]["template"]


# ── traffic ──────────────────────────────────────────────────────────────────


def matches(service: Manifest, labels: dict[str, str]) -> bool:
    return service["spec"]["selector"].items() <= labels.items()


def test_the_public_service_selects_one_slot_and_the_preview_one_release() -> None:
    blue, green = (
        MAKE.deployment(spec(s))["spec"]["template"]["metadata"]["labels"] for s in ("blue", "green")
    )
    public = MAKE.public(spec().ref, "blue")
    assert matches(public, blue)
    assert not matches(public, green)
    assert manifests.selected_slot(public) == "blue"
    assert not matches(MAKE.public(spec().ref, NOWHERE), blue)
    assert manifests.selected_slot(MAKE.public(spec().ref, NOWHERE)) is None
    assert matches(MAKE.preview(spec()), blue)
    assert not matches(MAKE.preview(replace(spec(), release=18)), blue)
    assert manifests.selected_slot(None) is None


def test_no_service_and_no_deployment_selects_a_commands_pod() -> None:
    labels = command(spec())["metadata"]["labels"]
    for service in (MAKE.public(spec().ref, "blue"), MAKE.preview(spec())):
        assert not matches(service, labels)
    chosen = MAKE.deployment(spec())["spec"]["selector"]["matchLabels"]
    assert not chosen.items() <= labels.items()
    assert labels[SLOT] == "blue-command"


def test_no_other_installation_or_environment_is_selected() -> None:
    labels = MAKE.deployment(spec())["spec"]["template"]["metadata"]["labels"]
    other = Manifests("other", "shop")
    for service in (other.public(spec().ref, "blue"), other.preview(spec())):
        assert not matches(service, labels)
    twin = replace(spec().ref, environment="qa")
    assert not matches(MAKE.public(twin, "blue"), labels)


def test_host_names_are_routed_to_the_public_service() -> None:
    found = MAKE.ingress(spec().ref, ("a.example.com", "b.example.com"), "nginx")["spec"]
    assert [rule["host"] for rule in found["rules"]] == ["a.example.com", "b.example.com"]
    backend = found["rules"][1]["http"]["paths"][0]["backend"]["service"]
    assert backend == {"name": "hello-live", "port": {"name": "http"}}
    assert found["ingressClassName"] == "nginx"
    assert "ingressClassName" not in MAKE.ingress(spec().ref, ("a.example.com",), "")["spec"]


def test_paths_and_wildcards_are_those_of_the_ingress() -> None:
    hosts = ("a.example.com/api", "*.example.com", "*", "a.example.com", "*/x")
    manifest = MAKE.ingress(spec().ref, hosts, "", IngressOptions(tls="certificate"))
    found = [
        (rule.get("host"), [(one["path"], one["pathType"]) for one in rule["http"]["paths"]])
        for rule in manifest["spec"]["rules"]
    ]
    assert found == [
        ("a.example.com", [("/api", "Prefix"), ("/", "Prefix")]),
        ("*.example.com", [("/", "Prefix")]),
        (None, [("/", "Prefix"), ("/x", "Prefix")]),
    ]
    assert manifest["spec"]["tls"][0]["hosts"] == ["a.example.com", "*.example.com"]
    assert set(entries_of(manifest)) == set(hosts)
    assert entries_of(MAKE.ingress(spec().ref, (), "")) == (NO_HOST,)


# ── ownership ──────────────────────────────────────────────────────────────


def test_every_object_has_the_environments_labels() -> None:
    one = with_secrets(spec(env={"A": "1"}, registry=LOGIN))
    made_all = [*everything(one), MAKE.secret(one, {}), MAKE.pull_secret(one, "u", Secret("p"))]
    wanted = {"pushlive/instance": "pl", "pushlive/pipeline": "hello", "pushlive/environment": "live"}
    for each in made_all:
        assert each["metadata"]["namespace"] == "shop"
        assert wanted.items() <= each["metadata"]["labels"].items(), each["kind"]
    assert selector(wanted) == "pushlive/instance=pl,pushlive/pipeline=hello,pushlive/environment=live"


def test_hashed_configuration_is_immutable() -> None:
    one = with_secrets(spec(env={"A": "1"}))
    assert MAKE.config_map(one)["immutable"] is MAKE.secret(one, one.reveal())["immutable"] is True
    assert (
        MAKE.config_map(one)["metadata"]["name"] != MAKE.config_map(spec(env={"A": "2"}))["metadata"]["name"]
    )


def test_a_strict_pod_has_one_folder_at_tmp_with_the_size_that_the_service_says() -> None:
    one = spec(security="strict", tmpfs={"/tmp": 1 << 20, "/cache": 1 << 21})
    mounts = {mount["mountPath"]: mount["name"] for mount in container(one)["volumeMounts"]}
    volumes = {volume["name"]: volume["emptyDir"] for volume in pod(one)["volumes"]}
    assert len(container(one)["volumeMounts"]) == len(mounts) == len(volumes) == 2
    assert volumes[mounts["/tmp"]] == {"medium": "Memory", "sizeLimit": str(1 << 20)}
    assert volumes[mounts["/cache"]] == {"medium": "Memory", "sizeLimit": str(1 << 21)}


def test_host_names_of_one_address_are_together() -> None:
    one = spec(extra_hosts={"b": "10.0.0.1", "a": "10.0.0.1", "c": "::1"})
    assert pod(one)["hostAliases"] == [
        {"ip": "10.0.0.1", "hostnames": ["a", "b"]},
        {"ip": "::1", "hostnames": ["c"]},
    ]


def test_labels_of_ones_own_never_replace_those_that_select_pods() -> None:
    one = spec(labels={"team": "shop"}, annotations={"a.example/b": "c"})
    template = MAKE.deployment(one)["spec"]["template"]["metadata"]
    assert template["annotations"] == {"a.example/b": "c"}
    assert template["labels"]["team"] == "shop"
    assert set(template["labels"]) - {"team"} == set(
        MAKE.deployment(spec())["spec"]["template"]["metadata"]["labels"]
    )
    assert command(one)["metadata"]["labels"]["team"] == "shop"


def test_a_pod_says_where_it_may_run_and_what_is_reserved_for_it() -> None:
    options = {
        "node_selector": {"disktype": "ssd"},
        "tolerations": ("spot:NoExecute",),
        "service_account": "app",
    }
    one = spec(cpu=2.0, requests={"cpu": 0.05, "memory": 2**24}, kubernetes=options)
    assert container(one)["resources"]["requests"] == {"cpu": "50m", "memory": "16Mi"}
    assert container(one)["resources"]["limits"]["cpu"] == "2000m"
    found = pod(one)
    assert found["nodeSelector"] == {"disktype": "ssd"}
    assert found["tolerations"] == [{"key": "spot", "operator": "Exists", "effect": "NoExecute"}]
    assert (found["serviceAccountName"], found["automountServiceAccountToken"]) == ("app", True)
    assert pod(spec())["automountServiceAccountToken"] is False


def test_what_routes_to_pods_makes_no_other_pods() -> None:
    routed = spec(kubernetes={"service": {"type": "NodePort"}, "ingress": {"tls": "certificate"}})
    assert MAKE.spec_hash(routed) == MAKE.spec_hash(spec())
    assert MAKE.spec_hash(spec(kubernetes={"service_account": "app"})) != MAKE.spec_hash(spec())


def test_a_service_and_an_ingress_have_only_what_the_configuration_says() -> None:
    options = spec(
        kubernetes={
            "service": {"type": "NodePort", "annotations": {"a.example/b": "c"}},
            "ingress": {"tls": "certificate", "annotations": {"d.example/e": "f"}},
        }
    ).config.service.kubernetes
    ref, hosts = spec().ref, ("a.example.com",)
    public, ingress = MAKE.public(ref, "blue", options.service), MAKE.ingress(ref, hosts, "", options.ingress)
    assert (public["spec"]["type"], public["metadata"]["annotations"]) == ("NodePort", {"a.example/b": "c"})
    assert ingress["spec"]["tls"] == [{"hosts": ["a.example.com"], "secretName": "certificate"}]
    assert ingress["metadata"]["annotations"] == {"d.example/e": "f"}
    assert "tls" not in MAKE.ingress(ref, (), "", options.ingress)["spec"]
    for plain in (MAKE.public(ref, "blue"), MAKE.ingress(ref, hosts, "")):
        assert "annotations" not in plain["metadata"]
        assert not {"type", "tls"} & plain["spec"].keys()
