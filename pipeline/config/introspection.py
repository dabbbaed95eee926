"""The types of the models' fields, analysed for reading YAML, for the JSON schema and for the documentation."""

from __future__ import annotations

import types
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from pipeline.config.fields import Empty, Words
from pipeline.lib.units import show_size, write_duration


@dataclass(frozen=True)
class Hint:
    """One type without its ``Annotated`` and its ``None``.

    shape: model · check (one of several models) · mapping · list · any (one of several plain types) · value
    """

    base: Any
    metadata: tuple[Any, ...] = ()
    optional: bool = False

    @property
    def annotated(self) -> Any:
        """The whole type, for pydantic."""
        return Annotated[self.base, *self.metadata] if self.metadata else self.base

    @cached_property
    def shape(self) -> str:
        origin = get_origin(self.base)
        if origin in (Union, types.UnionType):
            return "check" if all(hint.shape == "model" for hint in self.parts) else "any"
        if isinstance(self.base, type) and issubclass(self.base, BaseModel):
            return "model"
        return {dict: "mapping", tuple: "list"}.get(origin, "value") if origin else "value"

    @property
    def has_parts(self) -> bool:
        return self.shape in ("model", "mapping", "list")

    @cached_property
    def parts(self) -> tuple[Hint, ...]:
        """The types inside: of a union's members, a list's entries, a mapping's keys and values."""
        return tuple(hint_of(part) for part in get_args(self.base) if part is not Ellipsis)

    @property
    def kind(self) -> str:
        return next((m.kind for m in self.metadata if isinstance(m, Words)), "")

    @property
    def short(self) -> str:
        """What a model may be written as instead of its keys, in words; "" if nothing."""
        return str(getattr(self.base, "SHORT", "")) if self.shape == "model" else ""

    @property
    def choices(self) -> list[str]:
        """The only texts that a model may be written as; [] if it is not limited to some."""
        return list(getattr(self.base, "CHOICES", ())) if self.shape == "model" else []

    @property
    def has_text(self) -> bool:
        """True if the model may be written as a text, although it has a list as well."""
        return self.shape == "model" and bool(getattr(self.base, "TEXT", ""))

    @property
    def listed(self) -> str:
        """The field of a model that a list stands for; "" if none."""
        return str(getattr(self.base, "LISTED", "")) if self.shape == "model" else ""

    @property
    def empty(self) -> str | None:
        """The value of a key that is left empty."""
        return next((m.value for m in self.metadata if isinstance(m, Empty)), None)

    @cached_property
    def words(self) -> str:
        """What is allowed here, as a continuation of "write"."""
        named = next((m.text for m in self.metadata if isinstance(m, Words)), "")
        if self.shape == "mapping":
            return f"names with {self.parts[1].words} each"
        if self.shape == "list":
            inner = self.parts[0].words
            return "a list of texts" if inner == "text" else f"a list of {inner}"
        if self.short:
            return self.short
        if self.shape in ("model", "check"):
            return "checks" if self.shape == "check" else "keys"
        if get_origin(self.base) is Literal:
            return " or ".join(get_args(self.base))
        if self.shape == "any":
            return named or "text, a number, true, false or null"
        plain = {str: "text", int: "a whole number", bool: "true or false"}.get(self.base, "a number")
        return (named or plain) + self._range()

    def _range(self) -> str:
        show = {"duration": write_duration, "size": show_size}.get(self.kind, str)
        found = {name: getattr(m, name) for m in self.metadata for name in ("ge", "le") if hasattr(m, name)}
        if {"ge", "le"} <= set(found):
            comma = "," if self.kind else ""
            return f"{comma} from {show(found['ge'])} to {show(found['le'])}"
        return ", more than 0" if any(hasattr(m, "gt") for m in self.metadata) else ""


def hint_of(annotation: Any, metadata: tuple[Any, ...] = ()) -> Hint:
    """The annotation as a Hint; ``metadata`` is added to its own."""
    if get_origin(annotation) is Annotated:
        inner, *more = get_args(annotation)
        return hint_of(inner, (*more, *metadata))
    if get_origin(annotation) in (Union, types.UnionType):
        members = [part for part in get_args(annotation) if part is not type(None)]
        optional = len(members) < len(get_args(annotation))
        if len(members) == 1:
            inner_hint = hint_of(members[0], metadata)
            return Hint(inner_hint.base, inner_hint.metadata, optional)
        return Hint(Union[tuple(members)], metadata, optional)  # noqa: UP007 - made at run time
    return Hint(annotation, metadata)


def key_of(name: str, spec: FieldInfo) -> str:
    """The key in the file: a field's alias, or its name."""
    return spec.alias or name


def fields_of(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """The model's fields in the order of declaration, those of its bases last: a base of `Service` adds a group of
    keys to it."""
    own = {name: spec for name, spec in model.model_fields.items() if name in model.__annotations__}
    rest = (
        fields_of(base) for base in model.__bases__ if issubclass(base, BaseModel) and base is not BaseModel
    )
    return own | {name: spec for base in rest for name, spec in base.items() if name not in own}


@cache
def keys_of(model: type[BaseModel]) -> dict[str, Hint]:
    """Every key that is allowed in a model, with its type, in the order of ``fields_of``."""
    return {
        key_of(name, spec): hint_of(spec.annotation, tuple(spec.metadata))
        for name, spec in fields_of(model).items()
    }
