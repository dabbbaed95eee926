"""What a request carries: JSON fields, query parameters and parts of the path, checked."""

from __future__ import annotations

import json
import re
from typing import Any

from flask import request

from pipeline.errors import NotFound
from webhooks.context import WebContext
from webhooks.error_responses import Refused
from webhooks.security.intake import JSON_LIMIT
from webhooks.security.limits import BodyRefused, received

MAX_ENTRIES = 1000  # of one list


def limit() -> int:
    """``limit=``: how many entries of a list to return. Raises Refused (400)."""
    wanted = request.args.get("limit", 50, type=int)
    if not 1 <= wanted <= MAX_ENTRIES:
        raise Refused(400, f"limit={wanted} is not a number between 1 and {MAX_ENTRIES}")
    return wanted


def is_number(text: str) -> bool:
    """True for one to nine ASCII digits."""
    return text.isascii() and text.isdigit() and len(text) < 10


def run_number(web: WebContext, pipeline: str, text: str) -> int:
    """The run number in a path; ``latest`` is allowed. Raises NotFound."""
    if text == "latest":
        return int(web.service.show(pipeline, None)["run"]["number"])
    if not is_number(text):
        raise NotFound(f"{text[:20]!r} is not a run number", advice="Use a number, such as 42, or latest.")
    return int(text)


def event_id(text: str) -> str:
    """The id of an event, as ``follow`` returned it. Raises Refused (400)."""
    if not re.fullmatch(r"[0-9]{1,20}(-[0-9]{1,20})?", text):
        raise Refused(400, f"after={text[:40]!r} is not an event id", advice="Use 0 to get all events.")
    return text


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
        value = json.loads(received(request, JSON_LIMIT).read() or b"{}")
    except BodyRefused as error:
        raise error.as_refused() from error
    except (ValueError, RecursionError) as error:
        raise Refused(400, "the body is not JSON") from error
    if not isinstance(value, dict):
        raise Refused(400, "the body is not a JSON object")
    return value
