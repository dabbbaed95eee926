"""What a request carries: JSON fields, query parameters and parts of the path, checked."""

from __future__ import annotations

import re
from typing import Any

from flask import request

from pipeline.domain.audit_chain import WHY_LIMIT
from pipeline.errors import NotFound
from pipeline.lib.units import is_number
from webhooks.context import WebContext
from webhooks.error_responses import Refused
from webhooks.json_body import NotUsable, json_object
from webhooks.security.intake import JSON_LIMIT
from webhooks.security.limits import BodyRefused, received

MAX_ENTRIES = 1000  # of one list
MAX_REASON = WHY_LIMIT  # characters
JSON_VALUES = 100_000  # of one body; a pipelines.yaml is one, and it has commas


def limit() -> int:
    """``limit=``: how many entries of a list to return. Raises Refused (400)."""
    return number_between("limit", 50, MAX_ENTRIES)


def number_between(name: str, default: int, most: int) -> int:
    """The query parameter of that name, from 1 to ``most``. Raises Refused (400) for anything else."""
    text = request.args.get(name, str(default))
    if not (is_number(text) and 1 <= int(text) <= most):
        raise Refused(400, f"{name}={text[:20]} is not a number between 1 and {most}")
    return int(text)


def run_number(web: WebContext, pipeline: str, text: str) -> int:
    """The run number in a path; ``latest`` is allowed. Raises NotFound."""
    if text == "latest":
        return int(web.service.show(pipeline, None)["run"]["number"])
    if not is_number(text):
        raise NotFound(f"{text[:20]!r} is not a run number", advice="Use a number, such as 42, or latest.")
    return int(text)


def event_id(text: str) -> str:
    """The id of an event, as ``follow`` returned it: one or two numbers of 64 bits. Raises Refused (400)."""
    parts = text.split("-")
    known = len(parts) <= 2 and all(re.fullmatch(r"[0-9]{1,20}", part) for part in parts)
    if not known or any(int(part) >= 1 << 64 for part in parts):
        raise Refused(400, f"after={text[:40]!r} is not an event id", advice="Use 0 to get all events.")
    return text


def acting_reason(values: dict[str, Any]) -> dict[str, Any]:
    """The fields, if their ``reason`` is short enough to be shown and sent with everything that mentions it. Raises
    Refused (400)."""
    length = len(values.get("reason", ""))
    if length > MAX_REASON:
        raise Refused(
            400,
            f"the reason has {length} characters, and at most {MAX_REASON} are allowed",
            advice="Give a shorter one, with a link to the rest. Nothing was done.",
        )
    return values


def fields(kinds: dict[str, type], required: tuple[str, ...] = ()) -> dict[str, Any]:
    """The fields of the JSON body, each of its type; null counts as absent. Raises Refused (400, 408, 413)."""
    values = {name: value for name, value in _body().items() if value is not None}
    problems = [f"unknown field {name[:40]!r}" for name in values if name not in kinds]
    problems += [
        f"{name!r} must be {kind.__name__}"
        for name, kind in kinds.items()
        if name in values and type(values[name]) is not kind
    ]
    problems += [f"{name!r} is missing" for name in required if name not in values]
    if problems:
        raise Refused(400, "; ".join(problems), advice=f"Known fields: {', '.join(kinds) or 'none'}.")
    return values


def _body() -> dict[str, Any]:
    try:
        return json_object(received(request, JSON_LIMIT).read() or b"{}", JSON_VALUES)
    except BodyRefused as error:
        raise error.as_refused() from error
    except NotUsable as error:
        raise Refused(400, str(error)) from error
