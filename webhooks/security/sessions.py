"""Log-ins on the pages: a signed cookie that names a token, and a CSRF token bound to it.

A session has an end that no use moves, and it ends before if its token does, or by a log-out: the store knows then that
it has ended, so a copy of the cookie is worth nothing.
"""

from __future__ import annotations

import hmac
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from flask import request, session

from pipeline.domain.audit_chain import Actor
from webhooks.context import WebContext
from webhooks.error_responses import Refused
from webhooks.security.auth import address, authenticate, require

LOGIN_SECONDS = 12 * 3600.0


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
    session["id"] = secrets.token_urlsafe(24)
    session["until"] = time.time() + LOGIN_SECONDS
    session.permanent = True  # the browser may be closed in between


def logged_in(web: WebContext) -> Actor:
    """Who looks at the page. Raises LoginNeeded; revoked and expired tokens end their sessions at once."""
    found = _valid(web, dict(session))
    if not found:
        session.clear()
        raise LoginNeeded
    return Actor(str(found["name"]), str(found["role"]), address(web), "page")


def log_out(web: WebContext) -> None:
    """Ends the session here, for every copy of its cookie. Raises StoreUnavailable; then it has not ended."""
    web.service.end_session(str(session["id"]), max(1.0, float(session["until"]) - time.time()))
    session.clear()


def still_logged_in(web: WebContext) -> Callable[[], bool]:
    """A function that says whether the session of this request is valid, also after the request."""
    remembered = dict(session)
    return lambda: bool(_valid(web, remembered))


def _valid(web: WebContext, given: Mapping[str, Any]) -> dict[str, Any]:
    """The row of the session's token; empty if the session has ended."""
    name, identifier = str(given.get("name", "")), str(given.get("id", ""))
    if not name or not identifier or not time.time() < float(given.get("until", 0)):
        return {}
    found = _row(web, name)
    if not found or found.get("expired") or _mark(found) != given.get("mark"):
        return {}
    return {} if web.service.has_session_ended(identifier) else found


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
