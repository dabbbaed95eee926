"""Who is logged in on the pages: a signed cookie that names a token, and a CSRF token bound to it."""

from __future__ import annotations

import hmac
import secrets
from typing import Any
from urllib.parse import urlsplit

from flask import request, session

from pipeline.domain.audit_chain import Actor
from webhooks.answers import Refused
from webhooks.security.auth import address, allowed, whose
from webhooks.site import Site

LOGIN_HOURS = 12


class LoginNeeded(Exception):
    """The page asks for a login and comes back."""


def log_in(site: Site, text: str) -> None:
    """Remembers whose token that is, never the token itself. Raises Refused: 401 for a wrong or expired one, 429 after
    too many."""
    text = text.strip()
    where = address(site)
    try:
        token = whose(site, text, "page: wrong token", "It may have been revoked.")
    except Refused as error:
        if text and error.status == 401 and site.failures.worth_telling():
            site.desk.record(Actor("", "", where, "page"), "log-in failed")
        raise
    site.desk.record(Actor(token.name, token.role, where, "page"), "log-in")
    session.clear()
    session["name"] = token.name
    session["mark"] = _mark(_row(site, token.name))
    session["csrf"] = secrets.token_urlsafe(24)
    session.permanent = True  # ends after LOGIN_HOURS, also when the browser stays open


def person(site: Site) -> Actor:
    """Who looks at the page. Raises LoginNeeded; a token that is revoked or has expired ends its sessions at once."""
    name = str(session.get("name", ""))
    found = _row(site, name) if name else {}
    if not found or found.get("expired") or _mark(found) != session.get("mark"):
        session.clear()
        raise LoginNeeded
    return Actor(name, str(found["role"]), address(site), "page")


def _row(site: Site, name: str) -> dict[str, Any]:
    return next((token for token in site.desk.tokens() if token["name"] == name), {})


def _mark(row: dict[str, Any]) -> str:
    """Tells a token from a later one of the same name."""
    return str(row.get("created", ""))


def acting(site: Site, role: str = "developer") -> Actor:
    """Who pressed a button. Raises Refused (403) for a forged request or too low a role."""
    who = person(site)
    check_origin(site)
    given = request.form.get("csrf", "").encode()
    if not hmac.compare_digest(given, str(session.get("csrf", "")).encode()) or not given:
        site.desk.count("page: forged")
        raise Refused(403, "this button was not pressed on our page", advice="Reload the page and try again.")
    allowed(who, role)
    return who


def check_origin(site: Site) -> None:
    """Raises Refused (403) when the browser says that another site sent this form."""
    origin = request.headers.get("Origin", "")
    ours = (request.host, urlsplit(site.settings.url).netloc)  # a proxy in front may change the Host
    if origin and urlsplit(origin).netloc not in ours:
        raise Refused(403, "this form was sent from another site", advice="Open the page itself.")
