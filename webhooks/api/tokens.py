"""API tokens: list, create, revoke."""

from __future__ import annotations

from flask import Blueprint
from flask.typing import ResponseReturnValue

from pipeline.lib.units import parse_duration
from webhooks.api.parameters import fields
from webhooks.api.replies import messages
from webhooks.context import WebContext
from webhooks.error_responses import Refused
from webhooks.security.auth import ROLES, bearer

DEFAULT_LIFETIME = "365d"  # long enough not to surprise, and no token is valid forever by accident
MAX_LIFETIME = 10 * 366 * 86400.0  # seconds


def add_routes(api: Blueprint, web: WebContext) -> None:
    @api.get("/api/tokens")
    def tokens() -> ResponseReturnValue:
        bearer(web, "maintainer")
        return {"tokens": web.service.tokens()}

    @api.post("/api/tokens")
    def create_token() -> ResponseReturnValue:
        by = bearer(web, "maintainer")
        wanted = fields({"name": str, "role": str, "expires": str}, required=("name", "role"))
        lasts = _lifetime(wanted.pop("expires", DEFAULT_LIFETIME))
        if wanted["role"] not in ROLES:
            raise Refused(400, f"unknown role {wanted['role'][:40]!r}", advice=f"Roles: {', '.join(ROLES)}.")
        text = web.service.create_token(**wanted, by=by, lasts=lasts)
        return {**wanted, "token": text, "lasts": lasts}, 201

    @api.delete("/api/tokens/<text:name>", merge_slashes=False)
    def revoke_token(name: str) -> ResponseReturnValue:
        web.service.revoke_token(name, bearer(web, "maintainer"))
        return messages((f"token {name!r} is revoked",))


def _lifetime(text: str) -> float:
    """Seconds from ``90d``; 0 for ``never``. Raises Refused (400)."""
    if text == "never":
        return 0.0
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise Refused(400, f"expires: {error}", advice="Use a duration such as 90d, or never.") from error
    if not 1 <= seconds <= MAX_LIFETIME:
        raise Refused(
            400, f"expires={text[:40]!r} is not between 1 second and 10 years", advice="Or use never."
        )
    return seconds
