"""The types that are written into the store and the data folder, and their fields: ``python -m tests.upgrade.shapes``
prints them as JSON, for a fixture."""

from __future__ import annotations

import json
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
from pipeline.store.outbox import Trouble
from pipeline.store.tokens import Token

STORED = (Run, Release, Environment, SecretRecord, Token, Event, Notice, Trouble, State)
Shapes = dict[str, dict[str, bool]]  # by type and field: whether it may be missing in a record


def shapes() -> Shapes:
    """Of the stored types and of all that is in them."""
    found: Shapes = {}
    waiting: list[Any] = list(STORED)
    while waiting:
        kind = waiting.pop()
        waiting += get_args(kind)
        if not isinstance(kind, type) or kind.__name__ in found:
            continue
        if issubclass(kind, BaseModel):
            found[kind.__name__] = {
                name: not field.is_required() for name, field in kind.model_fields.items()
            }
            waiting += [field.annotation for field in kind.model_fields.values()]
        elif is_dataclass(kind):
            found[kind.__name__] = {
                one.name: one.default is not MISSING or one.default_factory is not MISSING
                for one in fields(kind)
            }
            waiting += get_type_hints(kind).values()
    return found


if __name__ == "__main__":
    print(json.dumps(shapes(), indent=1, sort_keys=True))  # noqa: T201
