"""The Flask application: its blueprints, its headers and its error responses."""

from __future__ import annotations

import logging
import os
import secrets
import time
from collections.abc import Callable
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

from flask import Flask, Response, jsonify, request
from flask.typing import ResponseReturnValue
from markupsafe import Markup
from werkzeug.exceptions import BadHost, BadRequest, HTTPException
from werkzeug.routing import BaseConverter

from pipeline.config.settings import Secret, Settings
from pipeline.errors import PushliveError, StoreUnavailable, StoreUnknown
from pipeline.lib.text import printable
from webhooks import api, pages
from webhooks.context import WebContext
from webhooks.error_responses import as_json, status_of
from webhooks.git import configuration, post_receive, server
from webhooks.pages.render import error_page
from webhooks.ports import ServicePort
from webhooks.receivers import endpoint
from webhooks.security.auth import check_host
from webhooks.security.failures import Failures
from webhooks.security.sessions import LOGIN_SECONDS

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
# Errors are JSON here; elsewhere they are pages.
FOR_MACHINES = ("/api/", "/hooks/", "/internal/", "/healthz", "/metrics")

VERSION = version("pushlive")

log = logging.getLogger("pushlive.web")


class AnyText(BaseConverter):
    """The rest of a path, whatever it is: a name may have slashes, at its ends as well."""

    regex = ".+"
    part_isolating = False


def create_app(
    service: ServicePort,
    settings: Settings,
    ensure_repository: Callable[[str], Path],
    clock: Callable[[], float] = time.monotonic,
) -> Flask:
    """The whole web side. ``ensure_repository(name)`` creates a bare repository unless it exists, and returns its path.
    ``clock``: seconds, for the limits on failed authentications."""
    app = Flask(__name__)
    app.secret_key = _cookie_key(settings.data / "web.key")
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.jinja_options = {"finalize": _without_controls, "trim_blocks": True, "lstrip_blocks": True}
    app.config.update(
        SESSION_COOKIE_NAME="pushlive",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Strict",
        SESSION_COOKIE_SECURE=settings.url.startswith("https:"),
        SESSION_REFRESH_EACH_REQUEST=False,  # a cookie has one end, see security/sessions.py
        PERMANENT_SESSION_LIFETIME=timedelta(seconds=LOGIN_SECONDS),
        PROVIDE_AUTOMATIC_OPTIONS=False,  # OPTIONS would answer without authentication
        SEND_FILE_MAX_AGE_DEFAULT=3600,
    )
    hooks = server.install_hooks((settings.data / "hooks").absolute())
    internal = Secret(secrets.token_urlsafe(32))
    web = WebContext(service, settings, ensure_repository, internal, hooks, failures=Failures(clock))
    app.extensions["pushlive"] = web
    app.url_map.converters["text"] = AnyText
    for part in (endpoint, server, post_receive, configuration, api, pages):
        app.register_blueprint(part.blueprint(web))
    _add_guards(app, web)
    _add_error_handlers(app)
    return app


def _without_controls(value: Any) -> Any:
    """Removes control characters from every text on a page; Jinja escapes markup."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return printable(value)
    return "" if value is None else value


def _cookie_key(path: Path) -> bytes:
    """The key that signs session cookies: created once, readable only by us."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_bytes()
    with os.fdopen(file, "wb") as opened:
        key = secrets.token_bytes(32)
        opened.write(key)
    return key


def _add_guards(app: Flask, web: WebContext) -> None:
    @app.before_request
    def readable_headers() -> None:
        # Of the headers that Werkzeug reads, this one raises where the others are taken as missing: for a byte
        # outside ASCII in Basic credentials.
        try:
            _ = request.authorization
        except ValueError as error:
            raise BadRequest from error

    @app.before_request
    def known_host() -> None:
        check_host(web.settings, request.headers.get("Host", ""))

    @app.after_request
    def headers(response: Response) -> Response:
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        if request.endpoint != "static":
            response.headers.setdefault("Cache-Control", "no-store")
        return response


def _add_error_handlers(app: Flask) -> None:
    @app.errorhandler(PushliveError)
    def refused(error: PushliveError) -> ResponseReturnValue:
        status = status_of(error)
        if status >= 500:
            log.warning("%s %s: %s", request.method, request.path, error)
        if status == 503 and request.path.startswith("/hooks/"):
            error = StoreUnavailable(_not_stored(error), advice="Deliver it again.")
        return _rendered(error.message, error.advice, as_json(error))

    @app.errorhandler(HTTPException)
    def http(error: HTTPException) -> ResponseReturnValue:
        advice = "docs/api.md lists all calls." if error.code in (404, 405) else ""
        # A command line that is newer than this service asks for what there is not: it says so by the version.
        more = {"version": VERSION} if advice and request.path.startswith("/api/") else {}
        answer = jsonify(error=(error.name or "error").lower(), advice=advice, **more)
        answer.status_code = error.code or 500
        for name, value in error.get_headers():
            if name in ("Allow", "Location", "Retry-After"):
                answer.headers[name] = value
        if error.code == 404:  # for people and git, who do not look for calls
            return _rendered("There is nothing at this address", "The status page is at /.", answer)
        return _rendered(error.name or "Error", "", answer)


def _not_stored(error: PushliveError) -> str:
    """What a webhook's sender is told: whether to wait for seconds or for a person, and no more."""
    person = ": the service has lost its records, and a maintainer has to decide what to do"
    return f"the push was not stored{person if isinstance(error, StoreUnknown) else ''}"


def _rendered(message: str, advice: str, answer: Response) -> ResponseReturnValue:
    """JSON for programs, a line of text for git, a page for people."""
    # A page links to its style sheet, and Flask builds no link for a Host header that is not a name.
    unlinkable = isinstance(request.routing_exception, BadHost)
    if unlinkable or request.path.startswith(FOR_MACHINES):
        return answer
    if request.path.startswith("/git/"):
        text = Response(
            f"{printable(message)}. {printable(advice)}\n".replace(".. ", ". "), mimetype="text/plain"
        )
        kept = {n: v for n, v in answer.headers.items() if n not in ("Content-Type", "Content-Length")}
        text.headers.update(kept)
        if answer.status_code == 401:
            text.headers["WWW-Authenticate"] = 'Basic realm="Pushlive", charset="UTF-8"'
        text.status_code = answer.status_code
        return text
    return error_page(message, advice, answer.status_code, answer.headers.get("Retry-After", ""))
