"""Who is logged in on the pages: a signed cookie that names a token, and a CSRF token bound to it."""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from flask import request, session

from webhooks.answers import Refused
from webhooks.auth import allowed
from webhooks.site import Site

LOGIN_HOURS = 12


@dataclass(frozen=True)
class Person:
    name: str
    role: str


class LoginNeeded(Exception):
    """The page asks for a login and comes back."""


def log_in(site: Site, text: str) -> bool:
    """Remembers whose token that is, never the token itself. False for a wrong one."""
    token = site.desk.token(text.strip()) if text.strip() else None
    if token is None:
        site.desk.count("page: wrong token")
        return False
    session.clear()
    session["name"] = token.name
    session["mark"] = _mark(_row(site, token.name))
    session["csrf"] = secrets.token_urlsafe(24)
    session.permanent = True  # ends after LOGIN_HOURS, also when the browser stays open
    return True


def person(site: Site) -> Person:
    """Who looks at the page. Raises LoginNeeded; a revoked token ends its sessions at once."""
    name = str(session.get("name", ""))
    found = _row(site, name) if name else {}
    if not found or _mark(found) != session.get("mark"):
        session.clear()
        raise LoginNeeded
    return Person(name, str(found["role"]))


def _row(site: Site, name: str) -> dict[str, Any]:
    return next((token for token in site.desk.tokens() if token["name"] == name), {})


def _mark(row: dict[str, Any]) -> str:
    """Tells a token from a later one of the same name."""
    return str(row.get("created", ""))


def acting(site: Site, role: str = "developer") -> Person:
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
