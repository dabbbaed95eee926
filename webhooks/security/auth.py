"""Who sends a request, and what they may do."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from urllib.parse import urlsplit

from flask import request

from pipeline.config.settings import Settings
from pipeline.domain.audit_chain import Actor
from pipeline.domain.tracing import context
from pipeline.domain.tracing.context import TraceContext
from pipeline.errors import TokenExpired
from webhooks.context import WebContext
from webhooks.error_responses import Refused
from webhooks.ports import TokenPort
from webhooks.security import failures

ROLES = ("viewer", "developer", "maintainer")  # each may do what those before it may

NO_TOKEN = "the token is missing or wrong"  # noqa: S105 - a message
TOKENS_LOST = "the service has lost its records, and with them every token"
A_MAINTAINER_DECIDES = "A maintainer decides on its machine what to do: `pushlive status` shows it."
GET_A_TOKEN = "Set PUSHLIVE_TOKEN; a maintainer creates one with `pushlive token create NAME`."  # noqa: S105 - a message


def may(token: TokenPort, role: str) -> bool:
    """True if the token's role is ``role`` or higher. An unknown role may do nothing."""
    return token.role in ROLES and ROLES.index(token.role) >= ROLES.index(role)


def address(web: WebContext) -> str:
    """Where this request comes from. X-Forwarded-For counts only if a trusted proxy sent it."""
    forwarded = ",".join(request.headers.getlist("X-Forwarded-For"))
    return failures.sender(request.remote_addr or "", forwarded, web.settings.trusted_proxies)


def authenticate(web: WebContext, text: str, counter: str, advice: str = GET_A_TOKEN) -> TokenPort:
    """The token with that text. Raises Refused: 401 if it is wrong or expired, 429 after too many failures from this
    address. A valid token passes even then. A missing token is not a failure: git and browsers ask without one first.
    """
    if not text:
        raise Refused(401, NO_TOKEN, advice=advice)
    try:
        token = web.service.token(text)
    except TokenExpired as error:
        failed(web, counter)
        raise Refused(401, error.message, advice=error.advice) from error
    if token is None:
        failed(web, counter)
        if web.service.unknown_store():
            raise Refused(401, TOKENS_LOST, advice=A_MAINTAINER_DECIDES)
        raise Refused(401, NO_TOKEN, advice=advice)
    return token


def failed(web: WebContext, counter: str) -> None:
    """Counts a failed authentication. Raises Refused (429) after too many; then nothing is written."""
    where = address(web)
    wait = web.failures.failed(where)
    if wait:
        raise Refused(
            429, f"too many wrong tokens or signatures from {where}", advice=f"Try again in {wait} s.", counter="",
            retry_after=wait,
        )  # fmt: skip
    web.service.count(counter)


def bearer(web: WebContext, role: str) -> Actor:
    """Who owns the token in the Authorization header. Raises Refused: 401, 429, or 403 if the role is too low."""
    token = authenticate(web, bearer_text(), "api: no token")
    require(token, role)
    ours = request.headers.get("User-Agent", "").startswith("pushlive")  # a claim, recorded as such
    return Actor(token.name, token.role, address(web), "cli" if ours else "api", trace())


def trace() -> TraceContext:
    """What this request is a part of. Only once it is known who sent it."""
    headers = request.headers
    return context.read(headers.getlist("traceparent"), headers.getlist("tracestate"))


def still_valid(web: WebContext) -> Callable[[], bool]:
    """A function that says whether the token of this request is valid, also after the request."""
    text = bearer_text()

    def valid() -> bool:
        try:
            return web.service.token(text) is not None
        except TokenExpired:
            return False

    return valid


def bearer_text() -> str:
    """The token in the Authorization header; "" if there is none."""
    scheme, _, text = request.headers.get("Authorization", "").partition(" ")
    return text.strip() if scheme.lower() == "bearer" else ""


def require(token: TokenPort, role: str) -> None:
    """Raises Refused (403) if the token's role is lower than ``role``."""
    if not may(token, role):
        raise Refused(
            403,
            f"token {token.name!r} has the role {token.role}; this needs {role}",
            advice="Ask a maintainer for a token with that role.",
        )


def check_host(settings: Settings, host: str) -> None:
    """Raises Refused (421) for an unknown Host header.

    A page on another site can point its own name at our address (DNS rebinding) and read our answers, so names must
    be known. That is impossible with an address, so bare addresses pass.
    """
    name = _name(host)
    known = {"localhost", _name(settings.listen), (urlsplit(settings.url).hostname or "").lower()}
    known |= {_name(other) for other in settings.hosts}
    if name in known or _is_address(name):
        return
    raise Refused(
        421,
        "this host name is not served here",
        advice="Add it to PUSHLIVE_HOSTS, or set PUSHLIVE_PUBLIC_URL, and restart the service.",
        counter="foreign host",
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
