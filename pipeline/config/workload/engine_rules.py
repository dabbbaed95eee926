"""What a service asks of an engine that this engine cannot give, and keys that exclude each other there."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pipeline.config.engines import EngineKind
from pipeline.config.models import Config, Pipeline, Service
from pipeline.config.workload.container import GATEWAY
from pipeline.config.workload.labels import is_label_value, is_qualified
from pipeline.config.yaml_nodes import Path, Problem, show_path

Line = Callable[..., int]  # the line of a key, or of the last one above it that is there
Found = Iterator[tuple[tuple[str, ...], str]]  # the keys below the service, and what is wrong there

_ONLY = "is not possible for {environment}, on {engine}: {why}; write it only under environments on {others}"


def problems(config: Config, line: Line) -> Iterator[Problem]:
    """Each with its line, once for each environment that has it."""
    for name, pipeline in config.pipelines.items():
        for environment in pipeline.environments:
            for keys, message in _environment(pipeline, environment):
                path = _place(name, pipeline, environment, keys)
                yield Problem(line(*path), show_path(path), message)


def _environment(pipeline: Pipeline, environment: str) -> Found:
    service, kind = pipeline.render(environment).service, pipeline.environment(environment).engine.kind
    written = pipeline.environment(environment).model_fields_set | pipeline.service.model_fields_set
    for key, why in kind.cannot.items():
        if key in written and not _is_taken_back(pipeline, environment, service, key):
            yield (key,), _refusal(kind, environment, why)
    if service.user and service.security == "strict" and _may_be_root(service.user):
        yield (
            ("user",),
            f"{service.user} may be root, which `security: strict` does not allow in {environment}; write a number "
            "that is not 0, such as 10001",
        )
    if service.autoscaled and not kind.scaled_by_others:
        yield (
            ("replicas",),
            f"auto is not possible for {environment}, on Docker: nothing there scales containers, and one machine has "
            "to have the memory for all of them; write a number, and `auto` only under environments on Kubernetes",
        )
    if service.one and service.web_replicas > 1:
        yield (
            ("replicas",),
            f"{service.replicas} in {environment}, and `one: true` is for what bears a single copy; remove "
            "one of the two",
        )
    for volume, one in service.volumes.items():
        for key, others in (("tmpfs", service.tmpfs), ("binds", service.binds)):
            if one.path in others:
                message = (
                    f"is the folder of the volume {volume} in {environment} as well; remove one of the two"
                )
                yield (key, one.path), message
    for path in service.binds.keys() & service.tmpfs.keys():
        yield ("binds", path), f"is a `tmpfs` in {environment} as well; remove one of the two"
    if not kind.proxied:
        yield from _on_a_cluster(environment, service)


def _is_taken_back(pipeline: Pipeline, environment: str, service: Service, key: str) -> bool:
    """True if the environment sets the key of `service` back to its default, or none of its entries is used there."""
    if key == "processes":
        return not (service.processes_in_use or service.cron_in_use)
    own = key in pipeline.environment(environment).model_fields_set
    return own and getattr(service, key) == type(service).model_fields[key].default


def _refusal(kind: EngineKind, environment: str, why: str) -> str:
    here, others = ("a cluster", "Docker") if not kind.proxied else ("Docker", "Kubernetes")
    return _ONLY.format(environment=environment, engine=here, why=why, others=others)


def _may_be_root(user: str) -> bool:
    number = user.partition(":")[0]
    return not number.isdecimal() or int(number) == 0


def _on_a_cluster(environment: str, service: Service) -> Found:
    for key, asked, limit in (
        ("cpu", service.requests.cpu, service.cpu),
        ("memory", service.requests.memory, service.memory),
    ):
        if asked and asked > limit:
            yield (
                ("requests", key),
                f"is more than the limit `{key}` of {environment}; lower it, or raise `{key}`",
            )
    if not all(part.isdecimal() for part in service.user.split(":") if part):
        yield (
            ("user",),
            f"{service.user} is a name, and Kubernetes takes only numbers for {environment}; write for example 1000 or "
            "1000:1000",
        )
    for name in service.kubernetes.volumes:
        if name not in service.volumes:
            yield (
                ("kubernetes", "volumes", name),
                f"is not a volume of {environment}; name one of those under `volumes`, or remove it",
            )
    for host, to in service.extra_hosts.items():
        if to == GATEWAY:
            yield (
                ("extra_hosts", host),
                f"{GATEWAY} is not possible for {environment}, on a cluster, whose pods run on any node; write an "
                "address",
            )
    for name, value in service.labels.items():
        if not is_qualified(name) or not is_label_value(value):
            yield (
                ("labels", name),
                f"is not a label that Kubernetes takes for {environment}: name and value have at most 63 letters, "
                "digits, `.`, `_` and `-`, the name after a prefix such as `example.com/`; write "
                "others, or an annotation",
            )


def _place(name: str, pipeline: Pipeline, environment: str, keys: tuple[str, ...]) -> Path:
    """Where it is written: under the environment, or under `service`."""
    own = keys[0] in pipeline.environment(environment).model_fields_set
    return ("pipelines", name, *(("environments", environment) if own else ("service",)), *keys)
