"""Pushes to the repository that has the configuration: judged before git takes them, in force afterwards."""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import unquote

from flask import Blueprint, Response, request
from flask.typing import ResponseReturnValue

from pipeline.config.place.repository import ConfigRepository, hosted
from pipeline.domain.audit_chain import Actor
from pipeline.errors import NotFound
from pipeline.lib.push_notes import Update, updates
from pipeline.lib.text import summary
from webhooks.context import WebContext
from webhooks.security.intake import REFS_LIMIT
from webhooks.security.limits import BodyRefused, received

SHOWN = 20  # lines of what changes
PROBLEMS = 50  # lines
WHO = ("Pusher", "Role", "Address")  # headers of the hook, quoted
REFUSED = "This configuration is refused, and nothing was pushed:"


def blueprint(web: WebContext) -> Blueprint:
    internal = Blueprint("configuration", __name__)

    @internal.post("/internal/pre-receive")
    def pre_receive() -> ResponseReturnValue:
        given = request.headers.get("X-Pushlive-Internal", "").encode("utf-8", "replace")
        place = web.settings.config
        known = hmac.compare_digest(given, web.internal.reveal().encode())
        if not known or not isinstance(place, ConfigRepository):
            raise NotFound("not found")
        try:
            refs = received(request, REFS_LIMIT).read().decode("utf-8", "replace").split("\n")
        except BodyRefused as error:
            raise error.as_refused() from error
        name, role, address = (unquote(request.headers.get(f"X-Pushlive-{one}", "")) for one in WHO)
        quarantine = request.headers.get("X-Pushlive-Quarantine", "")
        found = web.service.judge_configuration(updates(refs), quarantine, Actor(name, role, address, "git"))
        if not found:
            return Response("", mimetype="text/plain")
        lines = [REFUSED, *(f"  {summary(one, 300)}" for one in found[:PROBLEMS])]
        if len(found) > PROBLEMS:
            lines.append(f"  … and {len(found) - PROBLEMS} more")
        return Response("".join(f"{one}\n" for one in lines), status=422, mimetype="text/plain")

    return internal


def is_here(web: WebContext, repository: str) -> bool:
    """Whether that repository of the built-in server has the configuration."""
    return bool(repository) and hosted(web.settings.config) == repository


def environment(web: WebContext, repository: str) -> dict[str, str]:
    """What the hook has to know; nothing for any other repository."""
    return {"PUSHLIVE_CONFIGURATION": str(web.settings.config)} if is_here(web, repository) else {}


def brings(web: WebContext, moved: Iterable[Update]) -> bool:
    """Whether one of these is a push of the configuration's branch."""
    place = web.settings.config
    return isinstance(place, ConfigRepository) and any(one.ref == place.ref for one in moved)


def why_not(web: WebContext, update: Update) -> str:
    """About another ref of its repository."""
    place = web.settings.config
    branch = place.branch if isinstance(place, ConfigRepository) else ""
    return f"{summary(update.ref, 200)} is stored; the configuration is on the branch {branch}."


def told(answer: dict[str, Any]) -> Iterator[str]:
    """Lines for the pusher about what ``take_configuration`` did."""
    if answer["problem"]:
        yield "This configuration is not in force; the last good one is:"
        yield from (f"  {one}" for one in answer["problem"].split("\n")[:PROBLEMS])
        return
    origin = answer["origin"]
    commit = f" of {origin['commit'][:7]}" if origin else ""
    if not answer["changed"]:
        yield "The configuration is in force already: its text has not changed."
        return
    yield f"The configuration{commit} is in force."
    lines = [*_changes(answer["plan"])]
    yield from lines[:SHOWN]
    if len(lines) > SHOWN:
        yield f"  … and {len(lines) - SHOWN} more lines: `pushlive plan` shows them all"


def _changes(plan: dict[str, Any]) -> Iterator[str]:
    for pipeline, environments in plan["pipelines"].items():
        for environment, changes in environments.items():
            for change in changes:
                yield f"  {pipeline}/{environment}: {change}"
            if back := plan.get("reverts", {}).get(pipeline, {}).get(environment):
                yield f"  {pipeline}/{environment}: revert: {back}"
    for text in plan["warnings"]:
        yield f"  ! {text}"
