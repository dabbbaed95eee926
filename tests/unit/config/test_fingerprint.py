"""A release's fingerprint: it never changes for what was released, and no key is forgotten in it."""

from __future__ import annotations

import hashlib
import json
from typing import Any, get_args

import pytest
from pydantic import create_model

from pipeline.config.checks import HttpCheck, RunCheck, SmokeCheck, TcpCheck
from pipeline.config.engines import Registry, Where
from pipeline.config.fields import Model
from pipeline.config.loading import load
from pipeline.config.models import Rendered, Service
from pipeline.config.workload.accessory import Use
from pipeline.config.workload.processes import Process

TEXT = """
budget: {deploy: 4m}
pipelines:
  plain: {environments: {dev: , live: }}
  full:
    source: {repository: r, branch: b}
    build: {target: t, args: {A: "1"}}
    registry: r.example/x
    service:
      port: 9000
      health: /healthz
      ready: 30s
      replicas: 2
      cpu: 250m
      memory: 64MiB
      env: {B: two, A: one}
      command: [serve, --fast]
      release: [migrate]
      drain: 5s
      stop: 3s
      keep_warm: 1h
    smoke:
      - {get: /a, status: 201, headers: {X-A: b}, contains: ok, json: {a.0: 1, b: null}, within: 2s, retry: 1s}
      - {tcp: 9001, within: 1s}
      - {run: [./smoke.sh, "a b"], within: 9s}
    environments:
      dev: {smoke: [{get: /}], env: {A: dev}}
      qa: {hosts: [q.example], host: qa.example, secrets: [S], security: strict}
      far: {engine: {docker: ssh://u@h}}
      kube: {engine: {kubernetes: ctx, namespace: n, ingress: i}}
      live: {engine: kubernetes, secrets: [Z, Y], promote: manual}
"""

PLAIN = Rendered(service=Service())
STORED = ("port", "health", "ready", "replicas", "cpu", "memory", "pids", "init", "env", "secrets", "command",
          "release", "drain", "stop", "timeout", "keep_warm", "security")  # fmt: skip
"""Keys of a stored service when the hashes below were taken. Those that came later are in the record as well."""


@pytest.mark.parametrize(
    ("pipeline", "environment", "fingerprint", "stored"),
    [
        ("plain", "dev", "b4f69f46f7314f41", "6a071bd2fab12a4b"),
        ("plain", "live", "b4f69f46f7314f41", "6a071bd2fab12a4b"),
        ("full", "dev", "a475a99d99842bc0", "183e258a4e103d7b"),
        ("full", "qa", "47f38cacec4cbabd", "b473445f3017708d"),
        ("full", "far", "6efea44a083b3c6c", "0b0713933fa32a86"),
        ("full", "kube", "1324b7aaef3d4508", "1dda1abed08887b0"),
        ("full", "live", "db0cc91d83d86a3c", "44688419495d0eb1"),
    ],
)
def test_fingerprints_of_earlier_versions_are_unchanged(
    pipeline: str, environment: str, fingerprint: str, stored: str
) -> None:
    """The values are those of the first version that had each key. ``stored`` is the hash of the record's JSON,
    with the keys of ``STORED``."""
    rendered = load(TEXT).pipelines[pipeline].render(environment)
    assert rendered.fingerprint() == fingerprint
    record = json.loads(rendered.model_dump_json())
    record["service"] = {key: record["service"][key] for key in STORED}
    record = {key: record[key] for key in ("service", "hosts", "smoke", "engine", "registry")}
    text = json.dumps(record, separators=(",", ":"), ensure_ascii=False)
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == stored


OTHER: dict[type[Model], dict[str, Any]] = {
    Service: {
        "port": 1, "health": "/x", "ready": 1.0, "replicas": 2, "cpu": 0.5, "memory": 2**24, "env": {"A": "b"},
        "secrets": ("A",), "command": ("a",), "release": ("a",), "drain": 1.0, "stop": 1.0, "keep_warm": 1.0,
        "timeout": 5.0, "security": "strict", "web": False, "pids": 99, "init": False, "one": True, "ignore": ("/a",),
        "shm": 2**28, "working_dir": "/srv", "tmpfs": {"/run": 2**20}, "user": "1", "ulimits": {"core": "0"},
        "extra_hosts": {"a": "10.0.0.1"}, "devices": ("/dev/a",),
        "networks": ("theirs",), "binds": {"/b": "/srv/b"}, "labels": {"a": "b"}, "annotations": {"a": "b"},
        "requests": {"cpu": 0.5}, "kubernetes": {"service": {"type": "NodePort"}},
        "volumes": {"a": "/a"}, "liveness": "restart", "http": {"sticky": True},
        "processes": {"worker": Process(command=("a",))},
    },
    Where: {"docker": "ssh://h", "kubernetes": "c", "namespace": "n", "ingress": "i"},
    HttpCheck: {
        "get": "/x", "host": "h.example", "scheme": "https", "send": {"X-Key": "a"},
        "status": 201, "headers": {"A": "b"}, "contains": "c", "json_path": {"a": 1}, "within": 1.0,
        "retry": 1.0,
    },
    TcpCheck: {"tcp": 81, "within": 1.0, "retry": 1.0},
    RunCheck: {"run": ("b",), "within": 1.0},
    Rendered: {
        "service": Service(port=1), "hosts": ("h",), "smoke": (TcpCheck(tcp=1),), "engine": Where(docker="ssh://h"),
        "uses": {"db": Use(accessory="shop-db")},
    },
}  # fmt: skip
NEEDED: dict[type[Model], dict[str, Any]] = {
    HttpCheck: {"get": "/"}, TcpCheck: {"tcp": 80}, RunCheck: {"run": ("a",)}, Rendered: {"service": Service()},
}  # fmt: skip


def rendered(model: Model) -> Rendered:
    """A configuration with the model in its place."""
    if isinstance(model, Rendered):
        return model
    if isinstance(model, Service):
        return Rendered(service=model)
    if isinstance(model, Where):
        return Rendered(service=Service(), engine=model)
    return Rendered.model_construct(service=Service(), smoke=(model,))


@pytest.mark.parametrize("kind", [Service, Where, Rendered, *get_args(SmokeCheck)])
def test_every_key_changes_the_fingerprint(kind: type[Model]) -> None:
    """A new field fails this test until it has another value here, and passes it without being named elsewhere."""
    needed = NEEDED.get(kind, {})
    before = rendered(kind(**needed)).fingerprint()
    for name in kind.model_fields.keys() - {"registry"}:
        changed = rendered(kind(**{**needed, name: OTHER[kind][name]}))
        assert changed.fingerprint() != before, name


@pytest.mark.parametrize("kind", [Service, *get_args(SmokeCheck)])
def test_a_new_key_changes_the_fingerprint_only_if_it_is_set(kind: type[Model]) -> None:
    newer = create_model("Newer", __base__=kind, newest=(tuple[str, ...], ()))
    needed = NEEDED.get(kind, {})
    before = rendered(kind(**needed)).fingerprint()
    assert rendered(newer(**needed)).fingerprint() == before
    assert rendered(newer(**needed, newest=("a",))).fingerprint() != before


def test_the_registry_does_not_change_the_fingerprint() -> None:
    stored = Rendered(service=Service(), registry=Registry(repository="r.example/x"))
    assert stored.fingerprint() == PLAIN.fingerprint()


def test_the_order_of_checks_changes_the_fingerprint_and_that_of_variables_does_not() -> None:
    one = Rendered(service=Service(env={"A": "1", "B": "2"}))
    assert one.fingerprint() == Rendered(service=Service(env={"B": "2", "A": "1"})).fingerprint()
    checks = TcpCheck(tcp=1), TcpCheck(tcp=2)
    there, back = (Rendered(service=Service(), smoke=order) for order in (checks, checks[::-1]))
    assert there.fingerprint() != back.fingerprint()
