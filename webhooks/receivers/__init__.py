"""Webhook receivers: one small file for each provider.

A provider is a module-like object with three parts (the ``Receiver`` protocol):

* ``name``: the last part of its URL (``/hooks/<name>``) and the prefix of its settings
  (``<name>_secret``, ``<name>_secret_old``);
* ``verify(headers, body, secrets)``: whether the provider signed exactly these bytes with one of the secrets;
* ``parse(headers, payload)``: what the request means, as ``Pushed`` or ``Ignored``. Raises ``Malformed``.

To add one: write its file, and name it in ``RECEIVERS`` (and its two secrets in ``pipeline.config.settings``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from pipeline.config.settings import Secret
from pipeline.lib.text import summary


class Headers(Protocol):
    """Header names in any case."""

    def get(self, key: str, default: str, /) -> str: ...


class Malformed(Exception):
    """The payload is not what the provider documents; the message says which part."""


@dataclass(frozen=True)
class Pushed:
    """One update of one ref. ``urls``: every address the provider gave for the repository."""

    urls: tuple[str, ...]
    ref: str
    after: str
    before: str
    delivery: str
    deleted: bool = False
    forced: bool = False
    pusher: str = ""
    message: str = ""


@dataclass(frozen=True)
class Ignored:
    """Nothing to do, and why: a ping, or an event that is not a push."""

    reason: str


Parsed = Pushed | Ignored


class Receiver(Protocol):
    @property
    def name(self) -> str: ...

    def verify(self, headers: Headers, body: bytes, secrets: tuple[Secret, ...]) -> bool: ...

    def parse(self, headers: Headers, payload: dict[str, Any]) -> Parsed: ...


def part(payload: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The object under ``name``; empty where it is missing or null. Raises Malformed on another type."""
    value = payload.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Malformed(f"`{name}` is not an object")
    return value


def text(payload: Mapping[str, Any], name: str, *, required: bool = False) -> str:
    """The string under ``name``; "" where it is missing or null. Raises Malformed on another type."""
    value = payload.get(name)
    if value is None and not required:
        return ""
    if not isinstance(value, str):
        raise Malformed(f"`{name}` is not a text" if name in payload else f"`{name}` is missing")
    return value


def flag(payload: Mapping[str, Any], name: str) -> bool:
    """The boolean under ``name``, False where it is missing. Raises Malformed on another type."""
    value = payload.get(name) or False
    if not isinstance(value, bool):
        raise Malformed(f"`{name}` is not true or false")
    return value


def commit(payload: Mapping[str, Any], name: str) -> str:
    """The commit id (40 or 64 hex digits) under ``name``. Raises Malformed."""
    value = text(payload, name, required=True)
    if not re.fullmatch(r"[0-9a-f]{40}([0-9a-f]{24})?", value):
        raise Malformed(f"`{name}` is not a commit id")
    return value


def delivery(headers: Headers, *names: str) -> str:
    """The delivery's id from the first of the headers that is there. Raises Malformed."""
    for name in names:
        if re.fullmatch(r"[\x21-\x7e]{1,100}", value := headers.get(name, "")):
            return value
    raise Malformed(f"the header {names[0]} is missing")


def pushed(payload: Mapping[str, Any], delivery_id: str, pusher: str) -> Pushed:
    """What GitHub and Gitea have in common."""
    repository, head = part(payload, "repository"), part(payload, "head_commit")
    names = ("clone_url", "ssh_url", "html_url", "git_url")
    after = commit(payload, "after")
    return Pushed(
        urls=tuple(url for name in names if (url := text(repository, name))),
        ref=text(payload, "ref", required=True),
        after=after,
        before=commit(payload, "before"),
        delivery=delivery_id,
        deleted=flag(payload, "deleted") or not after.strip("0"),
        forced=flag(payload, "forced"),
        pusher=summary(pusher, 100),
        message=summary(text(head, "message").partition("\n")[0], 200),
    )
