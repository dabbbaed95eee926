"""Who asks, and what they may do."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from flask import request

from pipeline.settings import Settings
from webhooks.answers import Refused
from webhooks.desk import TokenPort
from webhooks.site import Site

ROLES = ("viewer", "developer", "maintainer")  # each may do what the ones before it may


def may(token: TokenPort, role: str) -> bool:
    """An unknown role may nothing."""
    return token.role in ROLES and ROLES.index(token.role) >= ROLES.index(role)


def bearer(site: Site, role: str) -> TokenPort:
    """The token in the Authorization header. Raises Refused: 401, or 403 for too low a role."""
    scheme, _, text = request.headers.get("Authorization", "").partition(" ")
    token = site.desk.token(text.strip()) if scheme.lower() == "bearer" and text.strip() else None
    if token is None:
        site.desk.count("api: no token")
        raise Refused(401, "no token, or a wrong one", advice="Set PUSHLIVE_TOKEN; see `pushlive token`.")
    allowed(token, role)
    return token


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
