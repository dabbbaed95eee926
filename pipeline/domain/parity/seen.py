"""What an engine says of a slot, as properties of ``pipeline.config.parity``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from pipeline.config.parity.properties import SET, Value, plain
from pipeline.lib.units import show_size


@dataclass(frozen=True)
class Seen:
    """``inside``: what the slot's containers really are, of those properties that the engine knows; a value of None: it
    has no such property. ``around``: what is the same for whatever runs there: the engine's version, TLS."""

    inside: dict[str, Value | None] = field(default_factory=dict)
    around: dict[str, Value] = field(default_factory=dict)


def merged(values: Iterable[Value]) -> Value:
    """Of several containers as one: each that differs is named."""
    every = list(values)
    texts = list(dict.fromkeys(one.text for one in every))
    kinds = sorted({one.same for one in every})
    if len(kinds) == 1:
        return every[0]
    return Value("\n".join(kinds), " and ".join(texts) if len(texts) > 1 else f"{texts[0]}, not all alike")


def memory(size: int) -> Value:
    """In bytes."""
    return Value(str(size), show_size(size))


def cores(number: float) -> Value:
    return Value(str(float(number)), f"{number:g}")


def count(number: int) -> Value:
    return plain(str(number))


def hidden(text: str) -> Value:
    """A variable's value."""
    return Value(text, SET)


def image(digest: str) -> Value:
    """``sha256:…`` alone or behind a name; people see its beginning."""
    name, _, number = digest.rpartition("@")
    short = number if len(number) < 30 else number[:19]
    return Value(number, short if number.startswith("sha256:") else f"{name or number}")
