"""Log-ins on the pages: a signed cookie that names a token, and a CSRF token bound to it."""

from __future__ import annotations

import hmac
import secrets
from typing import Any
from urllib.parse import urlsplit

from flask import request, session

from pipeline.domain.audit_chain import Actor
from webhooks.context import WebContext
from webhooks.error_responses import Refused
from webhooks.security.auth import address, authenticate, require

LOGIN_HOURS = 12


class LoginNeeded(Exception):
    """The browser is sent to the log-in page and then back."""


def log_in(web: WebContext, text: str) -> None:
    """Stores the token's name in the session, never the token itself. Raises Refused: 401 if it is wrong or expired,
    429 after too many failures."""
    text = text.strip()
    where = address(web)
    try:
        token = authenticate(web, text, "page: wrong token", "It may have been revoked.")
    except Refused as error:
        if text and error.status == 401 and web.failures.should_record_login():
            web.service.record(Actor("", "", where, "page"), "log-in failed")
        raise
    web.service.record(Actor(token.name, token.role, where, "page"), "log-in")
    session.clear()
    session["name"] = token.name
    session["mark"] = _mark(_row(web, token.name))
    session["csrf"] = secrets.token_urlsafe(24)
    session.permanent = True  # expires after LOGIN_HOURS even if the browser stays open


def logged_in(web: WebContext) -> Actor:
    """Who looks at the page. Raises LoginNeeded; revoked and expired tokens end their sessions at once."""
    name = str(session.get("name", ""))
    found = _row(web, name) if name else {}
    if not found or found.get("expired") or _mark(found) != session.get("mark"):
        session.clear()
        raise LoginNeeded
    return Actor(name, str(found["role"]), address(web), "page")


def _row(web: WebContext, name: str) -> dict[str, Any]:
    return next((token for token in web.service.tokens() if token["name"] == name), {})


def _mark(row: dict[str, Any]) -> str:
    """Distinguishes a token from a later one with the same name."""
    return str(row.get("created", ""))


def acting(web: WebContext, role: str = "developer") -> Actor:
    """Who pressed a button. Raises Refused (403) for a forged request or too low a role."""
    who = logged_in(web)
    check_origin(web)
    given = request.form.get("csrf", "").encode()
    if not hmac.compare_digest(given, str(session.get("csrf", "")).encode()) or not given:
        web.service.count("page: forged")
        raise Refused(
            403, "this request did not come from a Pushlive page", advice="Reload the page and try again."
        )
    require(who, role)
    return who


def check_origin(web: WebContext) -> None:
    """Raises Refused (403) if the browser says that another site sent this form."""
    origin = request.headers.get("Origin", "")
    ours = (request.host, urlsplit(web.settings.url).netloc)  # a reverse proxy may change the Host
    if origin and urlsplit(origin).netloc not in ours:
        raise Refused(403, "another site sent this form", advice="Open the Pushlive page and use its button.")
