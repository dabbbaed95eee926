"""Templates and forms, as all pages use them."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from flask import Response, render_template, request, session

from pipeline.domain.audit_chain import Actor
from webhooks.security.auth import may
from webhooks.security.intake import FORM_LIMIT
from webhooks.security.limits import BodyRefused, received


def page(template: str, who: Actor, *, needs: str = "developer", **values: Any) -> str:
    """The template for a person who is logged in; ``acts``: whether to show buttons, which need that role;
    ``maintains``: whether to show those that need a maintainer."""
    more = {"acts": may(who, needs), "maintains": may(who, "maintainer"), "needs": needs}
    return render_template(template, who=who, csrf=session.get("csrf", ""), **more, **values)


def error_page(message: str, advice: str, status: int, retry_after: str = "") -> Response:
    response = Response(render_template("problem.html", message=message, advice=advice), status)
    if retry_after:
        response.headers["Retry-After"] = retry_after
    return response


def read_form() -> None:
    """Reads the form, bounded in size, before anything uses it. Raises Refused."""
    try:
        raw = received(request, FORM_LIMIT).read()
    except BodyRefused as error:
        raise error.as_refused() from error
    request.environ["wsgi.input"] = BytesIO(raw)  # request.form parses it on first use
