"""Who asks, and what they may do."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from flask import request

from pipeline.config.settings import Settings
from pipeline.domain.audit_chain import Actor
from pipeline.errors import TokenExpired
from webhooks.answers import Refused
from webhooks.ports import TokenPort
from webhooks.security import failures
from webhooks.site import Site

ROLES = ("viewer", "developer", "maintainer")  # each may do what the ones before it may

NO_TOKEN = "no token, or a wrong one"  # noqa: S105 - a sentence
GET_ONE = "Set PUSHLIVE_TOKEN; see `pushlive token`."


def may(token: TokenPort, role: str) -> bool:
    """An unknown role may nothing."""
    return token.role in ROLES and ROLES.index(token.role) >= ROLES.index(role)


def address(site: Site) -> str:
    """Where this request came from, as far as it can be believed."""
    forwarded = ",".join(request.headers.getlist("X-Forwarded-For"))
    return failures.sender(request.remote_addr or "", forwarded, site.settings.trusted_proxies)


def whose(site: Site, text: str, trace: str, advice: str = GET_ONE) -> TokenPort:
    """Whose token that is. Raises Refused: 401 for a wrong or expired one, 429 once that address has failed too often;
    a right one passes even then. No token at all is no failure: git and browsers ask first without one."""
    if not text:
        raise Refused(401, NO_TOKEN, advice=advice)
    try:
        token = site.desk.token(text)
    except TokenExpired as error:
        failed(site, trace)
        raise Refused(401, error.message, advice=error.advice) from error
    if token is None:
        failed(site, trace)
        raise Refused(401, NO_TOKEN, advice=advice)
    return token


def failed(site: Site, trace: str) -> None:
    """Counts a failure to prove who it is. Raises Refused (429) where there were too many: then nothing is written."""
    where = address(site)
    wait = site.failures.failed(where)
    if wait:
        raise Refused(
            429, f"too many wrong tokens or signatures from {where}", advice=f"Try again in {wait} s.", trace="",
            retry_after=wait,
        )  # fmt: skip
    site.desk.count(trace)


def bearer(site: Site, role: str) -> Actor:
    """Who holds the token in the Authorization header. Raises Refused: 401, 429, or 403 for too low a role."""
    scheme, _, text = request.headers.get("Authorization", "").partition(" ")
    token = whose(site, text.strip() if scheme.lower() == "bearer" else "", "api: no token")
    allowed(token, role)
    ours = request.headers.get("User-Agent", "").startswith("pushlive")  # as it says of itself
    return Actor(token.name, token.role, address(site), "cli" if ours else "api")


def allowed(token: TokenPort, role: str) -> None:
    """Raises Refused (403) when the token's role is too low."""
    if not may(token, role):
        raise Refused(
            403,
            f"the token {token.name!r} is a {token.role}'s; this needs a {role}'s",
            advice="Ask a maintainer for another token.",
        )


def check_host(settings: Settings, host: str) -> None:
    """Raises Refused (421) for a Host header that is not ours.

    A page elsewhere can point its own name at our address (DNS rebinding) and read what we answer; so names
    must be known. It cannot do that with an address, so a bare address passes.
    """
    name = _name(host)
    known = {"localhost", _name(settings.listen), (urlsplit(settings.url).hostname or "").lower()}
    known |= {_name(other) for other in settings.hosts}
    if name in known or _is_address(name):
        return
    raise Refused(
        421,
        "this name is not served here",
        advice="Add it to PUSHLIVE_HOSTS, or set PUSHLIVE_PUBLIC_URL, and restart the service.",
        trace="foreign host",
    )


def _name(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return (host.rpartition(":")[0] if host.count(":") == 1 else host).lower().rstrip(".")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
