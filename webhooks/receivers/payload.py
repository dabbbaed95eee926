"""Reads a provider's JSON, one field at a time. Each function raises Malformed on an unexpected type."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from pipeline.deploy.previews.requests import PullRequest
from pipeline.lib.skipping import by_message
from pipeline.lib.text import summary
from webhooks.receivers.contract import Headers, Ignored, Malformed, Pushed, Requested


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


def number(payload: Mapping[str, Any], name: str) -> int:
    """The positive whole number in ``name``."""
    value = payload.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 1 << 31:
        raise Malformed(f"`{name}` is not a number")
    return value


OPENED = ("opened", "reopened", "synchronize", "synchronized")  # GitHub, and Gitea
CLOSED = "closed"


def requested(payload: Mapping[str, Any], delivery_id: str) -> Requested | Ignored:
    """A pull request: the fields that GitHub and Gitea have in common."""
    action = text(payload, "action", required=True)
    if action not in (*OPENED, CLOSED):
        return Ignored(f"a pull request was {action[:40]}; there is nothing to deploy")
    request, repository = part(payload, "pull_request"), part(payload, "repository")
    head, base = part(request, "head"), part(request, "base")
    own, theirs, addresses = text(repository, "full_name"), part(head, "repo"), _urls(repository)
    same = bool(own) and own == text(theirs, "full_name")
    url = "" if same else text(theirs, "clone_url")
    if not same and not _beside(url, addresses) and action != CLOSED:
        return Ignored("the repository of the pull request is not known, or on another server")
    how = "merged" if flag(request, "merged") else "closed"
    who = part(payload, "sender")
    asked = PullRequest(
        repository=next(iter(addresses), ""),
        url=url,
        base=text(base, "ref"),
        number=number(payload, "number"),
        branch=text(head, "ref", required=True),
        commit=commit(head, "sha"),
        delivery=delivery_id,
        closed=how if action == CLOSED else "",
        pusher=summary(text(who, "login") or text(who, "username"), 100),
        message=summary(text(request, "title").partition("\n")[0], 200),
    )
    return Requested(addresses, asked)


def _beside(url: str, others: tuple[str, ...]) -> bool:
    """Whether it is on the server of one of the others: nothing is fetched from wherever a payload says."""
    wanted = urlsplit(url)
    known = {(one.scheme, one.netloc) for one in map(urlsplit, others)}
    return wanted.scheme in ("http", "https") and (wanted.scheme, wanted.netloc) in known


def _urls(repository: Mapping[str, Any]) -> tuple[str, ...]:
    names = ("clone_url", "ssh_url", "html_url", "git_url")
    return tuple(url for name in names if (url := text(repository, name)))


def pushed(payload: Mapping[str, Any], delivery_id: str, pusher: str) -> Pushed:
    """The fields that GitHub and Gitea have in common."""
    repository, head = part(payload, "repository"), part(payload, "head_commit")
    after = commit(payload, "after")
    return Pushed(
        urls=_urls(repository),
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
