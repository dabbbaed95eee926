"""The manifests grant the permissions that the engine uses: no more, and no less."""

from __future__ import annotations

import ast
import copy
import io
import json
import re
import threading
from dataclasses import replace
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml

from pipeline.adapters.kubernetes import permissions
from pipeline.adapters.kubernetes.api.kube_api import _GROUPS, _PLURALS, KubeApi
from pipeline.adapters.kubernetes.engine import KubeEngine
from pipeline.adapters.kubernetes.permissions import (
    ACCESSORIES,
    CLAIMS,
    HTTP_ROUTES,
    INSIDE,
    LIMITS,
    METRICS,
    NODES,
    NODES_USE,
    OUTSIDE,
    READERS,
    SLEEPERS,
    TERMINALS,
    Permission,
)
from pipeline.adapters.kubernetes.probe import KubeProbe
from pipeline.adapters.kubernetes.sleep import account
from pipeline.adapters.tar_stream import END
from pipeline.config.engines import Registry
from pipeline.config.workload.accessory import Accessory
from pipeline.domain.accessories import AccessoryRef, AccessorySpec, Attachment
from pipeline.domain.engine_types import Login, Share, SlotRef, SlotSpec
from pipeline.domain.volumes import VolumeRef
from pipeline.errors import ConfigError, EngineFailed
from pipeline.lib.secret import Secret
from pipeline.ports.clock import Deadline, SystemClock
from pipeline.ports.commands import Commands
from pipeline.ports.drift import Drift
from pipeline.ports.sleep.sleeping import Activity
from pipeline.ports.slots import Slots
from pipeline.ports.traffic import Traffic
from tests.support.paths import ROOT
from tests.support.specs import slot_spec

MANIFESTS = ROOT / "docker" / "kubernetes"
ADAPTERS = sorted((ROOT / "pipeline" / "adapters" / "kubernetes").rglob("*.py"))
PATH = re.compile(
    r"/(?:api|apis/(?P<group>[^/]+))/v1(?:/namespaces/[^/]+)?/(?P<kind>[^/]+)(?:/(?P<name>[^/]+))?(?:/(?P<part>[^/]+))?"
)
VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
Used = set[tuple[str, str, str]]  # group, resource, verb


def flat(*needed: Permission) -> Used:
    return {(one.group, one.resource, verb) for one in needed for verb in one.verbs}


def granted(rules: list[dict[str, Any]]) -> Used:
    every = [
        (g, r, v) for one in rules for g in one["apiGroups"] for r in one["resources"] for v in one["verbs"]
    ]
    assert len(every) == len(set(every)), "granted twice"
    return set(every)


def documents(path: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((MANIFESTS / path).read_text()))


def test_the_role_grants_what_the_table_lists() -> None:
    role, binding = documents("namespace/role.yaml")
    assert granted(role["rules"]) == flat(
        *INSIDE, LIMITS, TERMINALS, CLAIMS, ACCESSORIES, METRICS, READERS, HTTP_ROUTES, SLEEPERS
    )
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    (account,) = documents("base/account.yaml")
    assert binding["subjects"][0]["name"] == account["metadata"]["name"]


def test_what_wakes_an_environment_may_only_set_numbers_of_replicas() -> None:
    own, role, binding = documents("namespace/activator.yaml")
    assert own["metadata"]["name"] == account.NAME
    assert granted(role["rules"]) == {
        ("apps", f"{kind}/scale", verb)
        for kind in ("deployments", "statefulsets")
        for verb in ("get", "patch")
    }
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": account.NAME}]
    assert documents("namespace/kustomization.yaml")[0]["resources"] == ["role.yaml", "activator.yaml"]


def test_a_pushlive_outside_the_cluster_gets_two_more_permissions() -> None:
    (component,) = documents("outside/kustomization.yaml")
    added = [step["value"] for patch in component["patches"] for step in yaml.safe_load(patch["patch"])]
    assert granted(added) == flat(*OUTSIDE)


def test_the_permission_for_nodes_is_granted_separately() -> None:
    assert granted(documents("nodes/role.yaml")[0]["rules"]) == flat(NODES, NODES_USE)


class FakeApi(KubeApi):
    """As much of a cluster as the engine needs. It stores what it is given, its pods are ready at once, and it records
    the permission that each request needs."""

    def __init__(self, inside: bool) -> None:
        super().__init__(lambda: None)  # type: ignore[arg-type, return-value]
        config = SimpleNamespace(configuration=SimpleNamespace(host="https://api"))
        self._it = SimpleNamespace(namespace="hello", inside=inside, client=config)
        self._kept: dict[tuple[str, str], dict[str, Any]] = {}
        self._lock = threading.Lock()
        self.used: Used = set()

    @property
    def cluster(self) -> Any:
        return self._it

    def raw(self, method: str, path: str, doing: str, **more: Any) -> Any:
        if path == "/version":  # which every account may read
            return SimpleNamespace(status=200, data=b'{"gitVersion": "v1.33.1"}')
        url = urlsplit(path)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        found = PATH.fullmatch(url.path.partition("/proxy")[0] + ("/proxy" if "/proxy" in url.path else ""))
        assert found, path
        group, kind, name, part = (found[key] or "" for key in ("group", "kind", "name", "part"))
        body = json.loads(more.get("body") or "{}")
        if isinstance(body, list):  # a JSON patch
            body = self._patched(kind, name, body, query)
        with self._lock:
            self.used |= {(group, f"{kind}/{part}" if part else kind, self._verb(method, name, query))}
            if method == "PATCH" and "fieldManager" in query and (kind, name) not in self._kept:
                self.used.add((group, kind, "create"))  # the API server checks this as well
            return self._answer(
                method, kind, name or body.get("metadata", {}).get("name", ""), part, query, body
            )

    def _patched(self, kind: str, name: str, changes: list[Any], query: dict[str, str]) -> dict[str, Any]:
        found: dict[str, Any] = copy.deepcopy(self._kept[kind, name])
        if kind == "services":
            value = changes[1]["value"]
            return {"spec": {"selector": {**found["spec"]["selector"], "pushlive/slot": value}}}
        for one in [] if "dryRun" in query else changes:
            rule = found["spec"]["rules"][int(one["path"].split("/")[3])]
            if one["op"] == "test":
                assert rule["backendRefs"] == one["value"]
            else:
                rule["backendRefs"] = one["value"]
        return found

    @staticmethod
    def _verb(method: str, name: str, query: dict[str, str]) -> str:
        return VERBS.get(method) or ("get" if name else "watch" if "watch" in query else "list")

    def _answer(self, method: str, kind: str, name: str, part: str, query: dict[str, str], body: Any) -> Any:
        if part:
            return answer(200, "Hello")
        if "watch" in query:
            return Stream()
        if method in ("POST", "PUT", "PATCH"):
            self._keep(kind, name, body)
        if method == "DELETE":
            self._kept.pop((kind, name), None)
            return answer(200, "{}")
        if not name:
            items = [one for (k, _), one in self._kept.items() if k == kind and chosen(one, query)]
            items = self._endpoints(query) if kind == "endpointslices" else items
            return answer(200, json.dumps({"items": items, "metadata": {"resourceVersion": "1"}}))
        one = self._kept.get((kind, name))
        return answer(200 if one else 404, json.dumps(one or {}))

    def _keep(self, kind: str, name: str, body: dict[str, Any]) -> None:
        old = self._kept.get((kind, name), {})
        one = {
            **old,
            **body,
            "metadata": {"generation": 1, **old.get("metadata", {}), **body.get("metadata", {})},
        }
        notes = [each.get("metadata", {}).get("annotations", {}) for each in (old, body)]
        both = {**notes[0], **notes[1]}
        one["metadata"]["annotations"] = {key: text for key, text in both.items() if text is not None}
        one["spec"] = {**old.get("spec", {}), **body.get("spec", {})}
        self._kept[kind, name] = one
        if kind == "services":
            one["spec"].setdefault("clusterIP", "10.96.0.7")
        if kind == "pods":
            one["status"] = {
                "phase": "Succeeded",
                "containerStatuses": [{"state": {"terminated": {"exitCode": 0}}}],
            }
        if kind == "statefulsets":
            self._kept.pop(("pods", f"{name}-0"), None)
            if one["spec"]["replicas"]:
                self._pod(f"{name}-0", one["spec"]["template"])
                status = self._kept["pods", f"{name}-0"]["status"]
                status["containerStatuses"] = [{"name": "app", "state": {"running": {}}}]
        if kind == "deployments":
            count = one["spec"]["replicas"]
            one["status"] = dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas"), count)
            one["status"]["observedGeneration"] = 1
            own = [key for key in self._kept if key[0] == "pods" and key[1].rpartition("-")[0] == name]
            for pod in own:
                del self._kept[pod]
            for number in range(one["spec"]["replicas"]):
                self._pod(f"{name}-{number}", one["spec"]["template"])

    def _pod(self, name: str, template: dict[str, Any]) -> None:
        metadata = {"name": name, "labels": template["metadata"]["labels"]}
        status = {"podIP": "10.0.0.1", "conditions": [{"type": "Ready", "status": "True"}]}
        self._kept["pods", name] = {"metadata": metadata, "spec": template["spec"], "status": status}

    def _endpoints(self, query: dict[str, str]) -> list[dict[str, Any]]:
        service = self._kept["services", query["labelSelector"].partition("=")[2]]
        wanted = ",".join(f"{key}={value}" for key, value in service["spec"]["selector"].items())
        pods = [
            n for (k, n), one in self._kept.items() if k == "pods" and chosen(one, {"labelSelector": wanted})
        ]
        return [{"metadata": {}, "endpoints": [{"targetRef": {"name": pod}} for pod in pods]}]


def chosen(one: dict[str, Any], query: dict[str, str]) -> bool:
    labels = one["metadata"].get("labels", {})
    pairs = [pair.split("=") for pair in query.get("labelSelector", "").split(",") if pair]
    field = query.get("fieldSelector", "").partition("metadata.name=")[2]
    return all(labels.get(key) == value for key, value in pairs) and field in ("", one["metadata"]["name"])


def answer(status: int, text: str) -> Any:
    stream = io.BytesIO(text.encode())
    return SimpleNamespace(
        status=status,
        data=text.encode(),
        headers={},
        read1=stream.read,
        stream=lambda size: iter([stream.read()]),
        close=stream.close,
        shutdown=stream.close,
    )


class Stream:
    """A watch without changes."""

    status = 200

    def read1(self) -> bytes:
        return b""

    def close(self) -> None: ...

    def shutdown(self) -> None: ...


class Recorded:
    """The engine, and the names of the methods that were called."""

    def __init__(self, engine: KubeEngine) -> None:
        self._engine, self.called = engine, set[str]()

    def __getattr__(self, name: str) -> Any:
        self.called.add(name)
        return getattr(self._engine, name)


def use_every_method(api: FakeApi) -> None:
    """Two releases, a switch, a command and the clean-up: every method of the engine's ports."""
    engine: Any = Recorded(KubeEngine(api, "pushlive", "kubernetes", SystemClock()))
    watch = Deadline(SystemClock(), 30)
    blue, green = spec("blue", 2, ("hello.example.com",)), spec("green", 1, ())
    for one in (blue, green):
        engine.prepare(one.ref, one.config.hosts)
        engine.fits(one)
        engine.command(one, "migrate", ("true",), {}, print, watch)
        assert engine.command_runs(one.ref) == {1}
        engine.start(one, watch)
        assert engine.ready(one, print, watch)
        engine.expose(one)
        if one is green:
            share_the_visitors(engine, api, green)
        engine.switch(one)
        ask(KubeProbe(api), engine.preview(one))
        ask(KubeProbe(api), engine.public(one))
        assert len(engine.replicas(one.ref)) == engine.scaled(one.ref) == one.config.service.replicas
        assert engine.open_sessions(one.ref) == 0
        assert engine.serving(one.ref) == one.ref.slot
        engine.renew_checks(one)
        assert all(each.healthy for each in engine.health(one))
        assert engine.missing(one) == ()
        assert engine.obstacles(one) == ()
        assert engine.drift(one) == ()
        assert engine.seen(one).around["engine.version"].text == "Kubernetes v1.33.1"
        engine.revert_drift(one)
        engine.restore(one)
        engine.logs(one.ref, 5)
        engine.end_command(one, "migrate")
        engine.forget_command(one, "migrate")
        engine.forget_commands(one.ref, 1)
    api.events("Pod", "hello-live-blue-0")
    engine.drain(blue.ref, 0, watch)
    engine.detach(blue.ref, "1")
    assert engine.written(blue.ref) == ()
    assert b"".join(engine.written_tar(blue.ref, ())) == END
    engine.stop_and_keep(blue.ref)
    engine.stop(blue.ref)
    engine.pause(green.ref, 5)
    engine.waited(green.ref)
    with pytest.raises(ConfigError, match="cannot be put in maintenance"):
        engine.can_have_notice(green.ref)
    engine.set_notice(green.ref, None)
    assert engine.has_notice(green.ref, None)
    engine.answered(green.ref)
    engine.sent(green.ref)
    engine.timed(green.ref)
    engine.unroute(green.ref)
    assert list(engine.slots())
    assert list(engine.environments())
    engine.remove(green.ref)
    ports = (Slots, Traffic, Commands, Drift)
    assert engine.called == {name for port in ports for name in vars(port) if not name.startswith("_")}


def share_the_visitors(engine: Any, api: FakeApi, green: SlotSpec) -> None:
    """By a route that a Gateway follows at once."""
    accepted = {"type": "Accepted", "status": "True", "observedGeneration": 1}
    route = {
        "metadata": {"name": "hello", "generation": 1},
        "spec": {"rules": [{"backendRefs": [{"name": "hello-live", "port": 80, "weight": 1}]}]},
        "status": {"parents": [{"conditions": [accepted]}]},
    }
    api._kept["httproutes", "hello"] = route
    assert engine.shared(green.ref) is None
    with pytest.raises(EngineFailed, match="a Service cannot divide"):
        engine.share(green, 5.0)
    engine.can_share(green.ref, "hello", 5.0)
    assert engine.shared(green.ref) is None
    engine.share(green, 5.0, "hello")
    assert engine.shared(green.ref) == Share("green", 5.0)
    engine.unshare(green.ref)
    assert engine.shared(green.ref) is None
    assert api._kept["httproutes", "hello"]["spec"] == route["spec"]


def ask(probe: KubeProbe, route: Any) -> None:
    """From outside through the API server; from inside only the endpoints are read from it."""
    probe._plain = SimpleNamespace(
        get=lambda *_: SimpleNamespace(status=200, headers={}, body=b"", seconds=0.0)
    )  # type: ignore[assignment]
    assert probe.get(route, "/", 5).status == 200


def spec(slot: str, replicas: int, hosts: tuple[str, ...]) -> SlotSpec:
    registry = Registry(repository="registry.example.com/hello", username="ann", password="PULL")
    secrets = {f"KEY_{slot.upper()}": 1}
    plain = slot_spec(
        SlotRef("hello", "live", 0, slot, "kubernetes"),
        remote="registry.example.com/hello@sha256:1",
        hosts=hosts,
        registry=registry,
        replicas=replicas,
        env={"COLOUR": slot},
    )
    return replace(
        plain,
        secrets=secrets,
        reveal=lambda: {name: Secret("x") for name in secrets},
        login=lambda: Login("ann", Secret("x")),
    )


@pytest.mark.parametrize("inside", [True, False])
def test_the_engine_uses_every_permission_and_no_other(inside: bool) -> None:
    api = FakeApi(inside)
    use_every_method(api)
    forwarded = {("", "pods/portforward", "get"), ("", "pods/portforward", "create")}  # over a WebSocket
    sets = {("apps", "statefulsets", "list")}  # a slot that is stopped may have processes with `one`
    assert api.used == flat(*INSIDE, LIMITS, NODES, HTTP_ROUTES) | sets | (
        set() if inside else flat(*OUTSIDE) - forwarded
    )


def test_volumes_use_the_permission_for_claims_and_those_of_every_environment() -> None:
    api, data = FakeApi(inside=True), VolumeRef("hello", "live", "data")
    engine = KubeEngine(api, "pushlive", "kubernetes", SystemClock())
    for _ in range(2):
        engine.ensure_volume(data)
    assert [one.ref for one in engine.volumes()] == [data]
    engine.remove_volume(data)
    assert not list(engine.volumes())
    assert {one for one in api.used if one[1] == "persistentvolumeclaims"} == flat(CLAIMS)
    assert api.used <= flat(*INSIDE, CLAIMS)


def test_an_account_that_may_not_list_claims_has_no_volumes() -> None:
    """One with the Role of an earlier version: everything else goes on."""

    class Earlier(FakeApi):
        def raw(self, method: str, path: str, doing: str, **more: Any) -> Any:
            if "persistentvolumeclaims" in path:
                return answer(403, '{"message": "persistentvolumeclaims is forbidden"}')
            return super().raw(method, path, doing, **more)

    engine = KubeEngine(Earlier(inside=True), "pushlive", "kubernetes", SystemClock())
    assert not list(engine.volumes(sizes=True))
    with pytest.raises(EngineFailed, match="persistentvolumeclaims is forbidden"):
        engine.ensure_volume(VolumeRef("hello", "live", "data"))


def an_accessory() -> AccessorySpec:
    config = Accessory(image="postgres:15", volume="/data", port=5432, env={"PRICE": "$5"})
    ref = AccessoryRef("shop-db", "live", "kubernetes")
    attached = (Attachment("hello", 0, ("db",), 29),)
    return AccessorySpec(ref, config, attached, {"PASSWORD": 1}, lambda: {"PASSWORD": Secret("x")})


def test_accessories_use_their_permission_those_for_claims_and_those_of_every_environment() -> None:
    api, one, watch = FakeApi(inside=True), an_accessory(), Deadline(SystemClock(), 30)
    engine = KubeEngine(api, "pushlive", "kubernetes", SystemClock())
    assert engine.accessory_unready(one)
    assert engine.keep_accessory(one, watch)
    assert not engine.keep_accessory(one, watch)
    [found] = engine.accessories_found()
    assert {name: value.reveal() for name, value in found.env.items()} == {"PRICE": "$5", "PASSWORD": "x"}
    engine.detach_accessory(one.ref, one.attached[0])
    engine.replace_accessory(replace(one, secrets={"PASSWORD": 2}), watch)
    engine.restart_accessory(one, watch)
    engine.accessory_output(one.ref, 5)
    engine.remove_accessory(one.ref)
    assert not list(engine.accessories())
    mine = {one for one in api.used if one[1] == "statefulsets"}
    assert mine == flat(ACCESSORIES)
    assert api.used <= flat(*INSIDE, CLAIMS, ACCESSORIES, LIMITS, NODES)


def test_an_account_that_may_not_list_accessories_has_none() -> None:
    """One with the Role of an earlier version: everything else goes on."""

    class Earlier(FakeApi):
        def raw(self, method: str, path: str, doing: str, **more: Any) -> Any:
            if "statefulsets" in path:
                return answer(403, '{"message": "statefulsets is forbidden"}')
            return super().raw(method, path, doing, **more)

    engine = KubeEngine(Earlier(inside=True), "pushlive", "kubernetes", SystemClock())
    assert not list(engine.accessories())
    assert not list(engine.accessories_found())
    with pytest.raises(EngineFailed, match="statefulsets is forbidden"):
        engine.keep_accessory(an_accessory(), Deadline(SystemClock(), 30))
    one, watch = spec("blue", 1, ()), Deadline(SystemClock(), 30)
    engine.start_processes(one, watch)
    assert engine.missing_processes(one) == ()
    engine.stop(one.ref)
    engine.remove(one.ref)


METHODS = {
    "get": "get", "find": "list", "snapshot": "list", "events": "list", "merge": "patch", "delete": "delete",
}  # fmt: skip


def test_every_kind_named_in_the_code_is_permitted() -> None:
    """Also in code that the test above does not reach."""
    allowed, seen = flat(*INSIDE, LIMITS, NODES, CLAIMS, ACCESSORIES, SLEEPERS), 0
    for path in ADAPTERS:
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args):
                continue
            kind = node.args[0].value if isinstance(node.args[0], ast.Constant) else ""
            if node.func.attr not in METHODS or kind not in _PLURALS:
                continue
            if node.func.attr == "events":  # its first argument is the kind that the events are about
                kind = "Event"
            seen += 1
            verb, group = (
                METHODS[node.func.attr],
                _GROUPS.get(kind, "").removeprefix("apis/").removesuffix("/v1"),
            )
            assert (group, _PLURALS[kind], verb) in allowed, f"{path.name}:{node.lineno}: {verb} {kind}"
    assert seen > 10


def test_sleep_uses_its_permission_and_those_of_every_environment() -> None:
    class Counting(FakeApi):
        def raw(self, method: str, path: str, doing: str, **more: Any) -> Any:
            if path.partition("?")[0].endswith("/log"):
                super().raw(method, path, doing, **more)
                return answer(200, '{"count": 0, "open": 0}\n')
            return super().raw(method, path, doing, **more)

    api, one, watch = Counting(inside=True), spec("blue", 2, ()), Deadline(SystemClock(), 30)
    api._kept["serviceaccounts", account.NAME] = {"metadata": {"name": account.NAME}}
    engine = KubeEngine(api, "pushlive", "kubernetes", SystemClock())
    engine.prepare(one.ref, ())
    engine.start(one, watch)
    engine.expose(one)
    engine.switch(one)
    api.used.clear()
    assert engine.activity(one.ref) is None
    assert engine.activity(one.ref) == Activity("hello-live-blue-activator-0:0", 0)
    engine.await_request(one.ref, 50)
    assert not engine.is_wanted(one.ref)
    engine.end_sleeping(one)
    assert engine.still_awake(one) == ()
    engine.wake(one, watch)
    sets = {("apps", "statefulsets", "list")}
    assert flat(SLEEPERS) <= api.used <= flat(*INSIDE, LIMITS, SLEEPERS) | sets


def test_missing_permissions_are_listed() -> None:
    class WithoutSome(FakeApi):
        def raw(self, method: str, path: str, doing: str, **more: Any) -> Any:
            if path == "/version":
                return answer(200, '{"gitVersion": "v1.36.3"}')
            if path.endswith("/namespaces/hello"):
                return answer(403, '{"message": "forbidden"}')
            asked = json.loads(more["body"])["spec"]["resourceAttributes"]
            missing = (asked["resource"], asked["verb"]) in (
                ("deployments", "patch"),
                ("nodes", "list"),
                ("statefulsets", "create"),
            )
            return answer(201, json.dumps({"status": {"allowed": not missing}}))

    found = permissions.inspect_cluster(WithoutSome(inside=True))
    assert found.missing == ("patch deployments.apps",)
    assert found.for_accessories == ("create statefulsets.apps",)
    assert (found.version, found.namespace, found.nodes, found.exists) == ("v1.36.3", "hello", False, True)
