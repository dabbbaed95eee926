"""Templates and forms, as all pages use them."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from flask import Response, render_template, request, session

from pipeline.domain.audit_chain import Actor
from webhooks.context import WebContext
from webhooks.error_responses import Refused
from webhooks.security.auth import may
from webhooks.security.limits import Incomplete, TooLarge, received

FORM_LIMIT = 16 << 10  # bytes


def page(template: str, who: Actor, **values: Any) -> str:
    """The template for a person who is logged in; ``acts``: whether to show buttons."""
    acts = may(who, "developer")
    return render_template(template, who=who, csrf=session.get("csrf", ""), acts=acts, **values)


def error_page(message: str, advice: str, status: int, retry_after: str = "") -> Response:
    response = Response(render_template("problem.html", message=message, advice=advice), status)
    if retry_after:
        response.headers["Retry-After"] = retry_after
    return response


def read_form(web: WebContext) -> None:
    """Reads the form, bounded in size and time, before anything uses it. Raises Refused."""
    try:
        with received(request, FORM_LIMIT, web.deadlines) as body:
            raw = body.read()
    except (TooLarge, Incomplete) as error:
        raise Refused(413, "the form is too large, or did not arrive in time") from error
    request.environ["wsgi.input"] = BytesIO(raw)  # request.form parses it on first use
