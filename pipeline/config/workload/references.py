"""References such as ``${db.POSTGRES_PASSWORD|url}`` in the values of ``env``.

Only names under ``uses`` are read; every other ``$`` stays as it is. A reference is kept as it was written wherever a
configuration is stored or shown, and filled in where a container is created.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import quote

from pipeline.config.workload.accessory import Accessory, Use

HOST, PORT = "HOST", "PORT"
_REFERENCE = re.compile(r"\$\{(?P<use>[A-Za-z0-9-]+)\.(?P<name>[A-Za-z0-9_]+)(\|(?P<form>[A-Za-z0-9_]*))?\}")
_FORMS: Mapping[str, Callable[[str], str]] = {"": str, "url": lambda text: quote(text, safe="")}


@dataclass(frozen=True)
class Reference:
    """``text``: as it was written; ``use``: the name under ``uses``; ``form``: "" or what follows ``|``."""

    text: str
    use: str
    name: str
    form: str = ""


def references(text: str, uses: Iterable[str]) -> Iterator[Reference]:
    """Those in the text, in order."""
    known = set(uses)
    for match in _REFERENCE.finditer(text):
        if match["use"] in known:
            yield Reference(match[0], match["use"], match["name"], match["form"] or "")


def unread(text: str, uses: Iterable[str]) -> Iterator[str]:
    """What looks like a reference and is none, since its name is not under ``uses``."""
    known = set(uses)
    yield from (match[0] for match in _REFERENCE.finditer(text) if match["use"] not in known)


def referring(env: Mapping[str, str], uses: Iterable[str]) -> tuple[str, ...]:
    """The variables that have a reference in their value."""
    known = tuple(uses)
    return tuple(name for name, text in env.items() if any(True for _ in references(text, known)))


def fill(text: str, uses: Iterable[str], value: Callable[[Reference], str]) -> str:
    """The text with every reference replaced by its value."""
    known = set(uses)

    def filled(match: re.Match[str]) -> str:
        if match["use"] not in known:
            return match[0]
        one = Reference(match[0], match["use"], match["name"], match["form"] or "")
        return _FORMS[one.form](value(one))

    return _REFERENCE.sub(filled, text)


def problem(one: Reference, use: Use, accessory: Accessory | None) -> str:
    """What is wrong with a reference, "" if nothing is. ``accessory``: the one that is meant; None for an address."""
    if one.form not in _FORMS:
        known = " and ".join(f"`|{name}`" for name in _FORMS if name)
        return f"{one.text} ends with `|{one.form}`; only {known} is known, which encodes the value for a URL"
    if accessory is None or one.name in accessory.env or one.name in accessory.secrets:
        return ""
    if one.name == HOST or (one.name == PORT and accessory.port):
        return ""
    if one.name == PORT:
        return f"{one.text}: {use.accessory} has no `port`; write it under accessories.{use.accessory}"
    known = ", ".join([HOST, *([PORT] if accessory.port else []), *accessory.env, *accessory.secrets])
    return f"{one.text}: {use.accessory} has no {one.name} under `env` or `secrets`; it has {known}"
