"""Who may change which key of ``pipelines.yaml``, and by which way in.

| way in | who | may change |
| --- | --- | --- |
| the file itself, or a repository that it is copied from | who can write it is a maintainer | every key |
| ``deploy --config`` with a maintainer's token | a maintainer | every key |
| ``deploy --config`` with a developer's token | a developer | what ``OWNERS`` gives to a developer |

A developer decides what the application is given, since a push decides what the application is. Everything else belongs
to a maintainer: where it runs and is stored, which secrets it gets, what it has to pass before it gets traffic, how it
is replaced, and who is told.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any

from pydantic import BaseModel

from pipeline.config.checks import HealthCheck, HttpCheck, RunCheck, TcpCheck
from pipeline.config.cost.prices import Costs, Machine
from pipeline.config.engines import Registry, Where
from pipeline.config.fields import Model
from pipeline.config.http.keys import Http
from pipeline.config.https.keys import Hsts
from pipeline.config.introspection import key_of
from pipeline.config.judging.metrics import Metrics
from pipeline.config.models import (
    Budget,
    Build,
    Config,
    Environment,
    Notify,
    Pipeline,
    Service,
    Source,
)
from pipeline.config.previews.keys import Branches, Previews
from pipeline.config.promotion.approvals import Promote
from pipeline.config.promotion.freezes import Days, Environments, Window
from pipeline.config.promotion.shift import Shift
from pipeline.config.workload.accessory import Accessory, AccessoryHealth, Use
from pipeline.config.workload.backup import AccessoryBackup, Backup, Destination
from pipeline.config.workload.bake import Bake
from pipeline.config.workload.kubernetes import (
    AccessoryOptions,
    ClaimOptions,
    IngressOptions,
    KubernetesOptions,
    Requests,
    ServiceOptions,
)
from pipeline.config.workload.liveness import Liveness
from pipeline.config.workload.processes import Process, ProcessReady
from pipeline.config.workload.release import ReleaseCommand
from pipeline.config.workload.volumes import Volume


class Owner(StrEnum):
    MAINTAINER = "maintainer"
    DEVELOPER = "developer"


_M, _D = Owner.MAINTAINER, Owner.DEVELOPER

_SERVICE = {
    "port": _D,
    "health": _M,  # a check
    "liveness": _M,
    "ready": _D,
    "replicas": _D,
    "cpu": _D,
    "memory": _D,
    "pids": _D,
    "init": _D,
    "env": _D,
    "secrets": _M,
    "command": _D,
    "release": _D,
    "one": _M,  # every deploy then takes it out of service for a while
    "volumes": _M,  # without one, what is written ends with the release
    "ignore": _D,
    "web": _D,
    "processes": _D,  # which there are; their keys have owners of their own
    "drain": _M,  # these three: how long the keeper may be kept busy, and whether a revert is instant
    "stop": _M,
    "keep_warm": _M,
    "timeout": _M,  # how long a visitor may keep a connection of the proxy, which serves others as well
    "http": _M,  # the proxy serves others as well
    "security": _M,
    "shm": _D,
    "tmpfs": _D,
    "working_dir": _D,
    "user": _M,
    "ulimits": _D,
    "extra_hosts": _M,  # where its connections go
    "devices": _M,
    "binds": _M,
    "networks": _M,  # whom it reaches, and who reaches it
    "labels": _M,  # others on the engine act by them: who may connect, what is restarted
    "annotations": _M,
    "requests": _D,
    "kubernetes": _M,
}

OWNERS: Mapping[type[BaseModel], Mapping[str, Owner]] = {
    Config: {"budget": _M, "notify": _M, "freeze": _M, "costs": _M, "accessories": _M, "pipelines": _M},
    Costs: {"currency": _M, "machines": _M, "cap": _M, "pipelines": _M, "give_way": _M, "headroom": _M},
    Machine: {"monthly": _M, "docker": _M, "kubernetes": _M, "type": _M, "nodes": _M, "storage": _M, "traffic": _M},
    Accessory: {
        "image": _M, "volume": _M, "port": _M, "health": _M, "ready": _M, "env": _M, "secrets": _M, "command": _M,
        "memory": _M, "cpu": _M, "stop": _M, "backup": _M, "kubernetes": _M,
    },
    AccessoryOptions: {"volume": _M, "node_selector": _M, "tolerations": _M},
    AccessoryBackup: {"run": _M, "restore": _M, "every": _M, "keep": _M, "to": _M},
    Backup: {"every": _M, "keep": _M, "to": _M},
    Destination: {"command": _M, "url": _M},
    AccessoryHealth: {"run": _M, "tcp": _M},
    Use: {"accessory": _M, "address": _M},
    Pipeline: {
        "source": _M,
        "build": _M,
        "registry": _M,
        "service": _M,  # here and in `environments`: the keys inside have owners of their own
        "uses": _M,  # whose secrets its variables may have
        "smoke": _M,
        "environments": _M,
        "budget": _M,
        "notify": _M,
        "freeze": _M,
        "previews": _M,
        "accept": _M,
    },
    Previews: {
        "branches": _M, "pull_requests": _M, "from": _M, "max": _M, "age": _M, "cost": _M, "data": _M, "host": _M,
    },
    Branches: {"names": _M},
    Window: {"env": _M, "days": _M, "from": _M, "to": _M, "zone": _M, "reason": _M},
    Environments: {"names": _M},
    Days: {"names": _M},
    Budget: {"deploy": _M, "whole": _M},
    Notify: {"url": _M, "when": _M},
    Source: {"repository": _M, "url": _M, "branch": _M},
    Build: {"context": _M, "dockerfile": _M, "args": _M, "target": _M, "platform": _M, "timeout": _M},
    Registry: {"repository": _M, "username": _M, "password": _M},
    Service: _SERVICE,
    Requests: {"cpu": _D, "memory": _D},
    KubernetesOptions: {
        "node_selector": _M, "tolerations": _M, "service_account": _M, "service": _M, "ingress": _M,
        "volumes": _M,
    },
    ServiceOptions: {"type": _M, "annotations": _M},
    IngressOptions: {"annotations": _M, "tls": _M},
    ClaimOptions: {"size": _M, "class": _M, "access": _M},
    Liveness: {"restart": _M},
    Http: {"body": _M, "basic": _M, "allow": _M, "sticky": _M, "strip_path": _M, "connections": _M, "redirects": _M},
    ReleaseCommand: {
        "command": _D,
        "timeout": _M,  # how long it may keep other runs out of the environment
        "back": _D,
        "reversible": _D,
        "cancel": _D,
        "entrypoint": _D,
    },
    Volume: {"path": _M, "before_backup": _M, "after_backup": _M, "backup": _M},
    Process: {
        "command": _D, "replicas": _D, "one": _D, "stop": _M, "cron": _D, "zone": _D, "overlap": _D, "missed": _D,
        "timeout": _M,
        "settle": _M, "ready": _M,  # checks
    },
    ProcessReady: {"run": _M},
    HealthCheck: {"path": _M, "host": _M, "scheme": _M, "send": _M},
    HttpCheck: {
        "get": _M, "host": _M, "scheme": _M, "send": _M, "status": _M, "headers": _M, "contains": _M, "json": _M,
        "within": _M, "retry": _M,
    },
    TcpCheck: {"tcp": _M, "within": _M, "retry": _M},
    RunCheck: {"run": _M, "within": _M},
    Environment: {
        **_SERVICE, "shift": _M,
        "host": _M, "hosts": _M, "https": _M, "hsts": _M, "redirect_hosts": _M,
        "promote": _M, "bake": _M, "judge": _M, "metrics": _M, "smoke": _M,
        "parity": _M, "differs": _M,  # what keeps a release out, and what lets it in
        "uses": _M, "engine": _M, "sleep_after": _M,
    },
    Metrics: {"prometheus": _M, "requests": _M, "errors": _M, "latency": _M, "token": _M},
    Shift: {"steps": _M, "for": _M, "requests": _M, "route": _M},
    Bake: {"for": _M, "on_failure": _M},
    Hsts: {"max_age": _M, "subdomains": _M, "preload": _M},
    Promote: {"manual": _M, "approvals": _M, "not_by_pusher": _M, "expires": _M},
    Where: {"docker": _M, "kubernetes": _M, "namespace": _M, "ingress": _M},
}  # fmt: skip
"""The owner of every key, by the model it is in. A test fails for a key that is missing here; until then only a
maintainer may change it."""

DEVELOPERS = tuple(key for key, owner in _SERVICE.items() if owner == Owner.DEVELOPER)
"""The keys of ``service`` that a developer may change."""


def owner(model: type[BaseModel], key: str) -> Owner:
    return OWNERS.get(model, {}).get(key, Owner.MAINTAINER)


def maintainers(old: Config, new: Config, pipeline: str) -> tuple[str, ...]:
    """What only a maintainer may change and what differs for that pipeline, which both have:
    ``pipelines.hello.environments.live.smoke``. Compared is what would be in force: writing out a default, or moving a
    key from ``service`` to every environment, is no difference. Other pipelines do not count: a run of this one reads
    nothing of theirs."""
    before, after = old.pipelines[pipeline], new.pipelines[pipeline]
    found = _differences(_in_force(old, pipeline), _in_force(new, pipeline), "")
    changed = (_as_written(path, before, after) for path, who in found if who != Owner.DEVELOPER)
    own = (f"pipelines.{pipeline}.{path}" for path in changed)
    costs = (path for path, _ in _differences(old.costs, new.costs, "costs."))
    return tuple(dict.fromkeys([*own, *_accessories(old, new, pipeline), *costs]))


def _accessories(old: Config, new: Config, name: str) -> Iterator[str]:
    """What differs in accessories that the pipeline uses."""
    pipelines = (old.pipelines[name], new.pipelines[name])
    used = {
        use.accessory
        for one in pipelines
        for environment in one.environments
        for use in one.render(environment).uses.values()
    }
    for accessory in sorted(used & {*old.accessories, *new.accessories}):
        before, after = old.accessories.get(accessory), new.accessories.get(accessory)
        if before is None or after is None:
            yield f"accessories.{accessory}"
        else:
            yield from (path for path, _ in _differences(before, after, f"accessories.{accessory}."))


def _in_force(config: Config, name: str) -> Pipeline:
    """The pipeline with everything that applies to it written under it, and under each of its environments."""
    pipeline = config.pipelines[name]
    source = pipeline.source.model_copy(update={"repository": config.repository_of(name)})
    whole = {
        "source": source,
        "service": Service(),
        "smoke": (),
        "uses": {},
        "environments": {each: _environment(pipeline, each) for each in pipeline.environments},
        "budget": config.budget_of(name),
        "notify": config.notify_of(name),
        "freeze": config.freeze_of(name),
    }
    return pipeline.model_copy(update=whole)


def _environment(pipeline: Pipeline, name: str) -> Environment:
    rendered = pipeline.render(name)
    service = {key: getattr(rendered.service, key) for key in Service.model_fields}
    service["secrets"] = tuple(sorted(rendered.service.secrets))
    service["keep_warm"] = rendered.service.keep_warm if pipeline.keeps_warm(name) else 0.0
    return pipeline.environment(name).model_copy(
        update={**service, "bake": pipeline.bake_of(name), "smoke": rendered.smoke, "uses": rendered.uses}
    )


def _differences(old: Model, new: Model, at: str) -> Iterator[tuple[str, Owner]]:
    for name, spec in type(new).model_fields.items():
        before, after, key = getattr(old, name), getattr(new, name), key_of(name, spec)
        if _are_models(before) and _are_models(after):
            if list(before) != list(after):  # other names, or another order
                yield f"{at}{key}", owner(type(new), key)
            for each in before.keys() & after.keys():
                yield from _differences(before[each], after[each], f"{at}{key}.{each}.")
        elif isinstance(before, Model) and isinstance(after, Model):
            yield from _differences(before, after, f"{at}{key}.")
        elif before != after:
            yield f"{at}{key}", owner(type(new), key)


def _are_models(value: Any) -> bool:
    return isinstance(value, dict) and any(isinstance(one, Model) for one in value.values())


def _as_written(path: str, before: Pipeline, after: Pipeline) -> str:
    """``environments.live.health`` as ``service.health``, if that is where it was changed."""
    first, _, rest = path.partition(".")
    key = rest.partition(".")[2]
    if first != "environments" or not key:
        return path
    if key == "smoke" and before.smoke != after.smoke:
        return key
    if key.partition(".")[0] == "uses" and before.uses != after.uses:
        return key
    top = key.partition(".")[0]
    if top in Service.model_fields and getattr(before.service, top) != getattr(after.service, top):
        return f"service.{key}"
    return path
