"""An environment's configuration as parts that change on their own: each key of the service, each variable, its hosts,
its checks."""

from __future__ import annotations

from collections.abc import Iterable

from pipeline.config.diff import Lines, differences
from pipeline.config.models import Rendered

Part = tuple[str, str]  # ("service", "memory"), ("env", "GREETING"), ("", "hosts")

_WHOLE = ("hosts", "smoke", "engine", "uses")


def parts(config: Rendered) -> dict[Part, object]:
    """What is not set has no entry."""
    service = config.service
    found: dict[Part, object] = {
        ("service", name): getattr(service, name) for name in type(service).model_fields if name != "env"
    }
    found |= {("env", name): value for name, value in service.env.items()}
    return found | {("", name): getattr(config, name) for name in _WHOLE}


def differing(one: Rendered, other: Rendered) -> set[Part]:
    before, after = parts(one), parts(other)
    return {part for part in before.keys() | after.keys() if before.get(part) != after.get(part)}


def lines(before: Rendered, after: Rendered, chosen: Iterable[Part]) -> Lines:
    """``differences`` in these parts alone."""
    env = dict(before.service.env)
    service: dict[str, object] = {}
    whole: dict[str, object] = {}
    for kind, name in chosen:
        if kind == "service":
            service[name] = getattr(after.service, name)
        elif kind == "":
            whole[name] = getattr(after, name)
        elif name in after.service.env:
            env[name] = after.service.env[name]
        else:
            env.pop(name, None)
    changed = before.service.model_copy(update={**service, "env": env})
    return differences(before, before.model_copy(update={**whole, "service": changed}))
