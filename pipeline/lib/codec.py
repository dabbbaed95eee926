"""Model ⇄ JSON. One cached pydantic adapter for each type: reading checks the shape, nothing is unpickled."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import TypeAdapter

T = TypeVar("T")


_ADAPTERS: dict[Any, TypeAdapter[Any]] = {}


def _adapter(kind: Any) -> TypeAdapter[Any]:
    if kind not in _ADAPTERS:
        _ADAPTERS[kind] = TypeAdapter(kind)
    return _ADAPTERS[kind]


def dump(value: Any) -> str:
    """The value as one line of JSON."""
    return _adapter(type(value)).dump_json(value).decode()


def dump_as(kind: Any, value: Any) -> str:
    """The same for a value whose type does not say all, such as a tuple's entries."""
    return _adapter(kind).dump_json(value).decode()


def plain(value: Any) -> Any:
    """The value as dicts, lists, strings and numbers."""
    return _adapter(type(value)).dump_python(value, mode="json")


def load(kind: type[T], text: str | bytes) -> T:
    """The value of ``kind`` that ``dump`` wrote. Raises pydantic.ValidationError on anything else."""
    value: T = _adapter(kind).validate_json(text)
    return value
