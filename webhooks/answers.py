"""Errors as answers: one place that knows which status an error has."""

from __future__ import annotations

import time
from threading import BoundedSemaphore

from flask import Response, jsonify

from pipeline.errors import ConfigError, NotFound, PushliveError, RequestError, TokenExpired, TryAgain

RETRY_AFTER = 5  # seconds
pushlive_clock = time.time


class Refused(PushliveError):
    """A request that is not let through. ``trace`` is what it is counted as ("": not at all); ``retry_after``:
    seconds."""

    def __init__(
        self, status: int, message: str, *, advice: str = "", trace: str = "refused", retry_after: int = 0
    ) -> None:
        super().__init__(message, advice=advice)
        self.status, self.trace, self.retry_after = status, trace, retry_after


def held(response: Response, turns: BoundedSemaphore, what: str) -> Response:
    """The streamed response, holding one of the turns until it is closed. Raises Refused (503) where none is
    free; nothing of the response was begun then."""
    if not turns.acquire(blocking=False):
        raise Refused(503, f"too many {what} at once", advice=f"Try again in {RETRY_AFTER} s.")
    response.call_on_close(turns.release)
    return response


def status_of(error: PushliveError) -> int:
    """401, 403, 413 … as the refusal says; 404, 400, 409, 503; 500 for what our side failed at."""
    if isinstance(error, Refused):
        return error.status
    for kind, status in (
        (TokenExpired, 401),
        (NotFound, 404),
        (ConfigError, 400),
        (RequestError, 409),
        (TryAgain, 503),
    ):
        if isinstance(error, kind):
            return status
    return 500


def as_json(error: PushliveError) -> Response:
    """``{"error": …, "advice": …}`` with its status."""
    response = jsonify(error=error.message, advice=error.advice)
    response.status_code = status_of(error)
    if response.status_code == 503:
        response.headers["Retry-After"] = str(RETRY_AFTER)
    if isinstance(error, Refused) and error.retry_after:
        response.headers["Retry-After"] = str(error.retry_after)
    if response.status_code in (408, 413):
        response.headers["Connection"] = "close"  # what is left of the body is not wanted
    if response.status_code == 401:
        response.headers["WWW-Authenticate"] = 'Bearer realm="Pushlive"'
    return response
