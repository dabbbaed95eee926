"""What the server answers by itself, without a thread and without the application."""

from __future__ import annotations

import json

from webhooks.server.messages import Reply

RETRY_AFTER = 5  # seconds


def refusal(status: int, message: str, advice: str = "", *, retry: bool = False) -> Reply:
    """The API's form of an error; a line of JSON is readable for git and for people, too."""
    headers = {
        "Content-Type": "application/json",
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
    }
    body = json.dumps({"error": message, "advice": advice}).encode() + b"\n"
    headers["Content-Length"] = str(len(body))
    if retry:
        headers["Retry-After"] = str(RETRY_AFTER)
    return Reply(status, tuple(headers.items()), body)


MALFORMED = refusal(400, "the request is not valid HTTP/1.1")
TOO_LONG = refusal(431, "the request's line and headers are too long")
FAILED = refusal(500, "this request failed", "The service's log has the details.")


def busy(what: str) -> Reply:
    """``what``: the requests that are too many, such as ``pushes``."""
    return refusal(503, f"too many {what} at once", f"Try again in {RETRY_AFTER} s.", retry=True)
