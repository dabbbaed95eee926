"""The `parity` and `differs` keys of an environment: whether differences from the one before it keep a run out, and
the reasons of those that are meant."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field, StringConstraints

from pipeline.config.fields import Reason, Words

Parity = Literal["block", "warn", "off"]

BLOCK: Final = "block"
WARN: Final = "warn"
OFF: Final = "off"

PropertyName = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z][a-z0-9_]*(\.[A-Za-z0-9_-]+)*$", max_length=200),
    Words("the name of a property as `pushlive parity` prints it, such as replicas or env.DEBUG"),
]
Differs = Annotated[dict[PropertyName, Reason], Field(max_length=200)]
