"""A configuration, and every key that exists with another value than it has there."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from pipeline.config.checks import KINDS
from pipeline.config.introspection import Hint, keys_of
from pipeline.config.models import Config

IN_FORCE: dict[str, Any] = {
    "budget": {"deploy": "4m"},
    "notify": [{"url": "https://chat.example.com/all"}],
    "freeze": [{"env": {"names": ["live"]}, "days": {"names": ["mon"]}, "from": "08:00", "to": "09:00"}],
    "costs": {
        "machines": {
            "here": {"monthly": 10, "docker": "ssh://u@h"},
            "node": {"monthly": 8, "kubernetes": "prod"},
        }
    },
    "accessories": {
        "db": {"image": "postgres:15", "backup": {"run": ["dump"]}},
        "cache": {"image": "redis:7"},
    },
    "pipelines": {
        "hello": {
            "source": {"repository": "hello", "branch": "main"},
            "build": {"args": {"A": "1"}},
            "registry": {"repository": "r.example/hello", "username": "bob", "password": "REGISTRY"},
            "service": {
                "health": {"path": "/healthz"},
                "env": {"GREETING": "hello"},
                "secrets": ["GIVEN"],
                "release": {"command": ["./migrate.sh"]},
                "volumes": {"data": {"path": "/data"}},
                "kubernetes": {"volumes": {"data": {"size": "1GiB"}}},
                "processes": {"worker": {"command": ["./worker"], "ready": {"run": ["true"]}}},
            },
            "uses": {"db": {"accessory": "db"}},
            "smoke": [{"get": "/"}, {"tcp": 8080}, {"run": ["./smoke.sh"]}],
            "previews": {"branches": {"names": ["feature/*"]}, "from": "dev"},
            "environments": {
                "dev": {"smoke": [{"get": "/"}, {"tcp": 8080}, {"run": ["./smoke.sh"]}]},
                "far": {"engine": {"docker": "ssh://u@h"}},
                "kube": {
                    "engine": {"kubernetes": "ctx", "namespace": "n", "ingress": "i"},
                    "shift": {"steps": ["25%"], "route": "mine"},
                    "processes": {"worker": {"replicas": 0}},
                    "uses": {"db": {"address": "db.example.com:5432"}},
                },
                "live": {
                    "promote": {"manual": True},
                    "shift": {"steps": ["25%"]},
                    "host": "hello.example.com",
                    "metrics": {
                        "prometheus": "https://prometheus.example.com",
                        "requests": "a",
                        "errors": "b",
                        "latency": "c",
                    },
                    "uses": {"db": {"accessory": "db"}},
                    "health": {"path": "/healthz"},
                    "release": {"command": ["./migrate.sh"]},
                    "volumes": {"data": {"path": "/data"}},
                    "kubernetes": {"volumes": {"data": {"size": "1GiB"}}},
                    "processes": {"worker": {"command": ["./worker"], "ready": {"run": ["true"]}}},
                },
            },
        },
        "other": {"environments": {"live": None}},
    },
}
CHECKS = {"get.get": "/x", "get.host": "www.example.com", "get.scheme": "https", "get.send": {"X-Key": "a"},
          "get.status": 204, "get.headers": {"X-A": "b"}, "get.contains": "x", "get.json": {"a": 1},
          "get.within": "9s", "get.retry": "9s", "tcp.tcp": 81, "tcp.within": "9s", "tcp.retry": "9s",
          "run.run": ["true"], "run.within": "9s"}  # fmt: skip
SERVICE = {"web": False, "port": 81, "health.path": "/", "health.host": "www.example.com", "health.scheme": "https",
           "health.send": {"X-Key": "a"}, "ready": "9s", "replicas": 3, "cpu": 2, "memory": "1GiB", "env": {"X": "y"},
           "secrets": ["OTHERS"], "command": ["sh"], "release.command": ["true"], "release.timeout": "9m",
           "ignore": ["/x"], "liveness.restart": "9m", "http.body": "2MiB", "http.basic": {"bob": "OTHERS"},
           "http.allow": ["10.0.0.0/8"], "http.sticky": True,
           "http.strip_path": True,
           "http.connections": "keep", "http.redirects": {"/old": "https://evil.example/"},
           "release.back": ["true"], "release.reversible": False, "release.cancel": True, "release.entrypoint": False,
           "drain": "9s", "stop": "9s", "keep_warm": "9s", "timeout": "9s", "security": "strict",
           "pids": 99, "init": False, "one": True, "shm": "1GiB", "working_dir": "/srv", "tmpfs": {"/run": "1MiB"},
           "user": "1", "ulimits": {"core": "0"}, "extra_hosts": {"a": "10.0.0.1"}, "devices": ["/dev/a"],
           "networks": ["theirs"], "binds": {"/b": "/srv/b"},
           "labels": {"a": "b"}, "annotations": {"a": "b"},
           "requests.cpu": 0.5, "requests.memory": "64MiB", "kubernetes.node_selector": {"a": "b"},
           "kubernetes.tolerations": ["a"], "kubernetes.service_account": "a", "kubernetes.service.type": "NodePort",
           "kubernetes.service.annotations": {"a": "b"}, "kubernetes.ingress.annotations": {"a": "b"},
           "kubernetes.ingress.tls": "a", "kubernetes.volumes.*.size": "2GiB", "kubernetes.volumes.*.class": "a",
           "kubernetes.volumes.*.access": "ReadWriteMany",
           "volumes.*.path": "/other", "volumes.*.before_backup": ["a"], "volumes.*.after_backup": ["b"],
           "volumes.*.backup.every": "1d", "volumes.*.backup.keep": 3, "volumes.*.backup.to.command": ["cat"],
           "volumes.*.backup.to.url": "ssh://evil@example.com/x"}  # fmt: skip
ACCESSORY = {"image": "evil.example/db:1", "volume": "/data", "port": 5433, "health.run": ["true"], "health.tcp": 81,
             "ready": "9s", "env": {"X": "y"}, "secrets": {"OTHERS": "set"}, "command": ["sh"], "memory": "1GiB",
             "cpu": 2, "stop": "9s", "backup.run": ["true"], "backup.restore": ["true"], "backup.every": "1d",
             "backup.keep": 3, "backup.to.command": ["cat"],
             "backup.to.url": "ssh://evil@example.com/x", "kubernetes.volume.size": "2GiB",
             "kubernetes.volume.class": "a", "kubernetes.volume.access": "ReadWriteMany",
             "kubernetes.node_selector": {"a": "b"}, "kubernetes.tolerations": ["a"]}  # fmt: skip
SERVICE |= {
    f"processes.*.{key}": value
    for key, value in {
        "command": ["true"], "replicas": 2, "one": True, "stop": "9s", "settle": "9s", "ready.run": ["false"],
        "cron": "5 * * * *", "zone": "Asia/Tokyo", "timeout": "9m", "overlap": "queue", "missed": "run",
    }.items()
}  # fmt: skip
FREEZE = {"env.names": ["dev"], "days.names": ["tue"], "from": "07:00", "to": "10:00", "zone": "Asia/Tokyo",
          "reason": "x"}  # fmt: skip
HELLO: dict[str, Any] = {
    "source.repository": "other", "source.url": "https://evil.example/x", "source.branch": "mine",
    "build.context": "x", "build.dockerfile": "x", "build.args": {"A": "2"}, "build.target": "x",
    "build.platform": "linux/arm64", "build.timeout": "9m",
    "registry.repository": "evil.example/hello", "registry.username": "eve", "registry.password": "OTHERS",
    "budget.deploy": "9m", "budget.whole": "19m", "accept": {"smoke": "none"},
    "previews.branches.names": ["fix/*"], "previews.pull_requests": True, "previews.from": "live", "previews.max": 9,
    "previews.age": "9d", "previews.cost": 9.5, "previews.data": ["./seed.sh"], "previews.host": "*.p.example.com",
    "notify[].url": "https://evil.example/x", "notify[].when": ["live"],
    **{f"freeze[].{key}": value for key, value in FREEZE.items()},
    "environments.*.host": "www.example.com", "environments.*.hosts": ["www.example.com"],
    "environments.*.https": "redirect", "environments.*.redirect_hosts": ["www.hello.example.com"],
    "environments.*.hsts.max_age": "9d", "environments.*.hsts.subdomains": True, "environments.*.hsts.preload": True,
    "environments.*.shift.steps": ["5%"], "environments.*.shift.for": "9m", "environments.*.shift.requests": 9,
    "environments.*.shift.route": "other",
    "environments.*.bake.for": "0", "environments.*.bake.on_failure": "tell",
    "environments.*.sleep_after": "9m", "environments.*.judge": "act", "environments.*.metrics.prometheus": "https://evil.example",
    "environments.*.metrics.requests": "other", "environments.*.metrics.errors": "other",
    "environments.*.metrics.latency": "other",
    "environments.*.metrics.token": "OTHERS",
    "environments.*.parity": "warn", "environments.*.differs": {"replicas": "x"},
    "environments.*.promote.manual": False, "environments.*.promote.approvals": 2,
    "environments.*.promote.not_by_pusher": True, "environments.*.promote.expires": "9m",
    "environments.*.engine.docker": "ssh://evil@example.com", "environments.*.engine.kubernetes": "prod",
    "environments.*.engine.namespace": "kube-system", "environments.*.engine.ingress": "x",
    "uses.*.accessory": "cache", "uses.*.address": "db.example.com:5432",
    "environments.*.uses.*.accessory": "cache", "environments.*.uses.*.address": "db.example.com:5432",
    **{f"smoke[].{key}": value for key, value in CHECKS.items()},
    **{f"environments.*.smoke[].{key}": value for key, value in CHECKS.items()},
    **{f"service.{key}": value for key, value in SERVICE.items()},
    **{f"environments.*.{key}": value for key, value in SERVICE.items()},
}  # fmt: skip
CHANGES: dict[str, Any] = {
    "budget.deploy": "9m", "budget.whole": "19m",
    "notify[].url": "https://evil.example/x", "notify[].when": ["live"],
    **{f"freeze[].{key}": value for key, value in FREEZE.items()},
    "costs.cap": 99, "costs.pipelines": {"hello": 9}, "costs.give_way": ["dev"],
    "costs.currency": "USD", "costs.machines.*.monthly": 11, "costs.machines.*.docker": "ssh://evil@example.com",
    "costs.headroom": "40%",
    "costs.machines.*.kubernetes": "other", "costs.machines.*.type": "cx22", "costs.machines.*.nodes": {"pool": "a"},
    "costs.machines.*.storage": 0.5, "costs.machines.*.traffic": 0.5,
    **{f"accessories.*.{key}": value for key, value in ACCESSORY.items()},
    **{f"pipelines.*.{key}": value for key, value in HELLO.items()},
}  # fmt: skip
"""Every key of the file with another value than it has in IN_FORCE."""


def leaves(model: type[BaseModel], at: str = "") -> Iterator[tuple[str, type[BaseModel], str]]:
    """(path, model, key) of every key that has a value of its own, from the models."""
    for key, hint in keys_of(model).items():
        inside = list(inner(hint))
        if not inside:
            yield f"{at}{key}", model, key
        for below, part in inside:
            yield from leaves(part, f"{at}{key}{below}.")


def inner(hint: Hint) -> Iterator[tuple[str, type[BaseModel]]]:
    if hint.shape == "model":
        yield "", hint.base
    elif hint.shape == "check":
        yield from ((f".{kind}", model) for kind, model in KINDS.items())
    elif hint.shape in ("list", "mapping"):
        mark = "[]" if hint.shape == "list" else ".*"
        yield from ((mark + below, model) for below, model in inner(hint.parts[-1]))


def models(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """The model and all that are used in it."""
    yield model
    for hint in keys_of(model).values():
        for _, part in inner(hint):
            yield from models(part)


KEYS = {path: (model, key) for path, model, key in leaves(Config)}
MODELS = {model: tuple(keys_of(model)) for model in models(Config)}


def changed(path: str) -> dict[str, Any]:
    """IN_FORCE with another value at that key."""
    config = copy.deepcopy(IN_FORCE)
    hello = config["pipelines"]["hello"]
    if path.startswith("pipelines.*.notify"):
        hello["notify"] = copy.deepcopy(config["notify"])
    if path.startswith("pipelines.*.freeze"):
        hello["freeze"] = copy.deepcopy(config["freeze"])
    if path.endswith("source.url"):
        del hello["source"]["repository"]
    if path.endswith("uses.*.address"):
        uses = hello["environments"]["live"]["uses"] if "environments" in path else hello["uses"]
        del uses["db"]["accessory"]
    *parents, last = place_of(path)
    place: Any = config
    for parent in parents:
        if isinstance(place, dict) and place.get(parent) is None:
            place[parent] = {}
        place = place[int(parent)] if isinstance(place, list) else place[parent]
    place[last] = CHANGES[path]
    return config


def place_of(path: str) -> list[str]:
    """Where the key is in IN_FORCE: ``pipelines.*.smoke[].tcp.within`` → pipelines, hello, smoke, 1, within."""
    environment = "dev" if "smoke" in path else "live"
    if "engine" in path or path.endswith("shift.route"):
        environment = "far" if path.endswith("docker") else "kube"
    path = path.replace("pipelines.*", "pipelines.hello").replace(
        "environments.*", f"environments.{environment}"
    )
    path = path.replace(
        "machines.*", "machines.here" if path.endswith(("monthly", "docker", "traffic")) else "machines.node"
    )
    path = path.replace("volumes.*", "volumes.data")
    path = path.replace("accessories.*", "accessories.db").replace("uses.*", "uses.db")
    path = path.replace("processes.*", "processes.worker")
    for number, kind in enumerate(KINDS):
        path = path.replace(f"[].{kind}.", f".{number}.")
    return path.replace("[]", ".0").split(".")


def named(path: str) -> str:
    """How a refusal names the key: a list counts as a whole."""
    there = path if path.startswith(("pipelines.", "accessories.", "costs.")) else f"pipelines.*.{path}"
    return ".".join(part for part in place_of(there.partition("[]")[0]))
