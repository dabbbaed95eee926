"""An environment's configuration as properties that can be compared: ``replicas``, ``env.DEBUG``, ``uses.db``.

They are named as the keys of ``pipelines.yaml``, so that people find them there. Values of variables are compared, and
never shown.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from pipeline.config.diff import value_text
from pipeline.config.introspection import Hint, key_of, keys_of
from pipeline.config.models import Rendered, Service
from pipeline.config.workload.accessory import Accessory
from pipeline.lib.text import brief
from pipeline.lib.units import show_size, write_duration

IMAGE, ENGINE, AT, VERSION, TLS, HOSTS, SMOKE = (
    "image", "engine", "engine.at", "engine.version", "tls", "hosts", "smoke",
)  # fmt: skip
INHERENT = frozenset({HOSTS, AT})
"""What cannot be the same in two environments: where they are and how people reach them."""
OUTSIDE = (IMAGE, VERSION, TLS, "accessories")
"""What the file alone does not say."""
CORE = ("replicas", "cpu", "memory", "port", "health", "ready", "drain", "stop", "timeout")
"""Keys of a service that are compared at their default as well. Others are once an environment has another value."""
SET = "set"  # the text of what is not shown

_BY_NAME = ("env", "secrets", "volumes", "processes")  # a property for each entry


@dataclass(frozen=True)
class Value:
    """``same``: equal for equal values, and never shown; ``text``: for people, without a variable's value;
    ``unset``: a key at its default, which is of interest only if another environment sets it; ``by_place``: nothing
    sets it, and its default is another one before the last environment, so that it is not held against others."""

    same: str = field(repr=False)
    text: str
    unset: bool = False
    by_place: bool = False


def plain(text: str) -> Value:
    """A value that is its own text."""
    return Value(text, text)


def properties(
    config: Rendered, accessories: Mapping[str, Accessory] | None = None, keeps_warm: bool = True
) -> dict[str, Value]:
    """``accessories``: the definitions of those that it uses, by their names; ``keeps_warm``: as
    ``Pipeline.keeps_warm``, as what is rendered has a `keep_warm` where it does not hold, too."""
    service = config.service
    found = dict(_fields(service, ""))
    if not keeps_warm:
        found["keep_warm"] = Value(_dump(0.0), write_duration(0), unset=True, by_place=True)
    found |= {f"env.{name}": Value(text, SET) for name, text in service.env.items()}
    found |= {f"secrets.{name}": plain(SET) for name in service.secrets}
    found |= {f"volumes.{name}": Value(_dump(one), one.path) for name, one in service.volumes.items()}
    found |= {f"processes.{name}": Value(_dump(one), str(one)) for name, one in service.processes.items()}
    found[SMOKE] = Value(_dump(config.smoke), _checks(config))
    found |= {f"uses.{name}": plain(str(use)) for name, use in config.uses.items()}
    known = accessories or {}
    for name in sorted({use.accessory for use in config.uses.values()} & known.keys()):
        found |= accessory_properties(name, known[name])
    found[HOSTS] = plain(", ".join(config.hosts) or "none")
    found[ENGINE] = plain(config.engine.kind.name)
    found[AT] = plain(config.engine.key)
    return found


def accessory_properties(name: str, one: Accessory) -> dict[str, Value]:
    return {
        f"accessories.{name}.image": plain(one.image),
        f"accessories.{name}.memory": Value(str(one.memory), show_size(one.memory)),
        f"accessories.{name}.cpu": plain(f"{one.cpu:g}"),
    }


def reason_for(differs: Mapping[str, str], name: str) -> str:
    """That of the property itself, or of all that begin with its first parts: ``env`` covers ``env.DEBUG``; "" if there
    is none."""
    parts = name.split(".")
    keys = (".".join(parts[:count]) for count in range(len(parts), 0, -1))
    return next((differs[key] for key in keys if key in differs), "")


def covered(key: str, names: Iterable[str]) -> list[str]:
    """The properties that a reason under that key is for."""
    return [name for name in names if name == key or name.startswith(f"{key}.")]


def ordered(names: Iterable[str]) -> list[str]:
    """As they are shown: what runs and where, then the keys of a service in the order of its documentation."""
    keys = [key_of(name, spec) for name, spec in Service.model_fields.items()]
    first = [IMAGE, *keys, "uses", "accessories", SMOKE, HOSTS, TLS, ENGINE]
    places = {key: place for place, key in enumerate(first)}
    return sorted(names, key=lambda name: (places.get(name.partition(".")[0], len(first)), name))


def _fields(model: BaseModel, at: str) -> Iterator[tuple[str, Value]]:
    for name, spec in type(model).model_fields.items():
        key = key_of(name, spec)
        if not at and key in _BY_NAME:
            continue
        hint: Hint = keys_of(type(model))[key]
        value = getattr(model, name)
        if hint.shape == "model" and not hint.short and value is not None:
            yield from _fields(value, f"{at}{key}.")
        else:
            unset = value == spec.get_default() and f"{at}{key}" not in CORE
            yield f"{at}{key}", Value(_dump(value), value_text(value, hint), unset)


def _dump(value: Any) -> str:
    return json.dumps(_plain(value), sort_keys=True)


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, tuple | list) else value


def _checks(config: Rendered) -> str:
    shown = [check.show() for check in config.smoke]
    return brief(", ".join(shown)) if shown else "none"
