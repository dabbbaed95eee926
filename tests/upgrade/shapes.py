"""What is written into the store and the data folder, field by field: ``python -m tests.upgrade.shapes`` prints it as
JSON, for a fixture. Names of classes do not matter, names of fields do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, get_args, get_type_hints

from pydantic import BaseModel

from pipeline.adapters.haproxy.config import State
from pipeline.domain.environment import Environment
from pipeline.domain.events import Event
from pipeline.domain.release import Release
from pipeline.domain.run import Run
from pipeline.domain.secret_versions import SecretRecord
from pipeline.notify.messages import Notice
from pipeline.store.outbox import Outage
from pipeline.store.tokens import Token

STORED = {
    "run": Run,
    "release": Release,
    "environment": Environment,
    "secret": SecretRecord,
    "token": Token,
    "event": Event,
    "message": Notice,
    "outage": Outage,
    "proxy": State,
}


def shapes() -> dict[str, bool]:
    """For each field, such as ``run.steps.detail``, whether it may be missing in a record."""
    return {path: may_miss for name, kind in STORED.items() for path, may_miss in _fields(kind, name)}


def _fields(kind: Any, path: str) -> Iterator[tuple[str, bool]]:
    own = list(_of(kind))
    for name, annotation, may_miss in own:
        yield f"{path}.{name}", may_miss
        inside = list(_records(annotation))
        for one in inside:
            # Of several kinds of record (checks) each is known by what it always has.
            always = ",".join(n for n, _, may in _of(one) if not may) if len(inside) > 1 else ""
            yield from _fields(one, f"{path}.{name}" + (f"({always})" if always else ""))


def _of(kind: Any) -> Iterator[tuple[str, Any, bool]]:
    """Name, type and whether it may be missing, of each field."""
    if issubclass(kind, BaseModel):
        for name, field in kind.model_fields.items():
            yield name, field.annotation, not field.is_required()
    else:
        hints = get_type_hints(kind)
        for one in fields(kind):
            yield one.name, hints[one.name], not (one.default is MISSING and one.default_factory is MISSING)


def _records(annotation: Any) -> Iterator[type]:
    """The classes with fields of their own in a type such as ``tuple[A | B, ...]``."""
    if isinstance(annotation, type) and (is_dataclass(annotation) or issubclass(annotation, BaseModel)):
        yield annotation
    for one in get_args(annotation):
        yield from _records(one)


if __name__ == "__main__":
    print(json.dumps(shapes(), indent=1, sort_keys=True))  # noqa: T201
