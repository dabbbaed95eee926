"""Errors as HTTP responses: the one place that maps an error to a status."""

from __future__ import annotations

from typing import Any

from flask import Response, jsonify

from pipeline.errors import (
    Busy,
    ConfigError,
    Forbidden,
    NotFound,
    PushliveError,
    RequestError,
    TokenExpired,
    TryAgain,
)

RETRY_AFTER = 5  # seconds

_STATUS: tuple[tuple[type[PushliveError], int], ...] = (
    (TokenExpired, 401),
    (Forbidden, 403),
    (NotFound, 404),
    (ConfigError, 400),
    (RequestError, 409),
    (Busy, 409),
    (TryAgain, 503),
)


class Refused(PushliveError):
    """A request that is rejected with ``status``. ``counter``: the name under which it is counted ("": it is not
    counted). ``retry_after``: seconds."""

    def __init__(
        self, status: int, message: str, *, advice: str = "", counter: str = "refused", retry_after: int = 0
    ) -> None:
        super().__init__(message, advice=advice)
        self.status, self.counter, self.retry_after = status, counter, retry_after


def status_of(error: PushliveError) -> int:
    """The status of a Refused; 401, 403, 404, 400, 409 or 503 by kind; 500 for a failure on our side."""
    if isinstance(error, Refused):
        return error.status
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 500)


def failure(error: PushliveError) -> dict[str, Any]:
    """The same within an answer whose status line is already sent: ``status`` is the one that it would have had."""
    return {"error": error.message, "advice": error.advice, "status": status_of(error)}


def as_json(error: PushliveError) -> Response:
    """``{"error": …, "advice": …}`` with its status."""
    response = jsonify(error=error.message, advice=error.advice)
    response.status_code = status_of(error)
    if response.status_code == 503:
        response.headers["Retry-After"] = str(RETRY_AFTER)
    if isinstance(error, Refused) and error.retry_after:
        response.headers["Retry-After"] = str(error.retry_after)
    if response.status_code in (408, 413):
        response.headers["Connection"] = "close"  # the rest of the body is not read
    if response.status_code == 401:
        response.headers["WWW-Authenticate"] = 'Bearer realm="Pushlive"'
    return response
