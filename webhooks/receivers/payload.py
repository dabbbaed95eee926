"""Reads a provider's JSON, one field at a time. Each function raises Malformed on an unexpected type."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pipeline.lib.skipping import by_message
from pipeline.lib.text import summary
from webhooks.receivers.contract import Headers, Malformed, Pushed


def part(payload: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The object in ``name``; empty if it is missing or null."""
    value = payload.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Malformed(f"`{name}` is not an object")
    return value


def text(payload: Mapping[str, Any], name: str, *, required: bool = False) -> str:
    """The string in ``name``, with U+FFFD for half a character; "" if it is missing or null and not required."""
    value = payload.get(name)
    if value is None and not required:
        return ""
    if not isinstance(value, str):
        raise Malformed(f"`{name}` is not a string" if name in payload else f"`{name}` is missing")
    return value.encode("utf-8", "surrogatepass").decode("utf-8", "replace")


def flag(payload: Mapping[str, Any], name: str) -> bool:
    """The boolean in ``name``; False if it is missing."""
    value = payload.get(name) or False
    if not isinstance(value, bool):
        raise Malformed(f"`{name}` is not true or false")
    return value


def commit(payload: Mapping[str, Any], name: str) -> str:
    """The commit id (40 or 64 hex digits) in ``name``."""
    value = text(payload, name, required=True)
    if not re.fullmatch(r"[0-9a-f]{40}([0-9a-f]{24})?", value):
        raise Malformed(f"`{name}` is not a commit id")
    return value


def delivery(headers: Headers, *names: str) -> str:
    """The delivery id from the first of these headers that has one."""
    for name in names:
        if re.fullmatch(r"[\x21-\x7e]{1,100}", value := headers.get(name, "")):
            return value
    raise Malformed(f"the header {names[0]} is missing")


def pushed(payload: Mapping[str, Any], delivery_id: str, pusher: str) -> Pushed:
    """The fields that GitHub and Gitea have in common."""
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
        skip=by_message(text(head, "message")),
    )
