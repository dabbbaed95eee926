"""``GET /metrics`` for Prometheus."""

from __future__ import annotations

import hmac

from flask import Blueprint, Response
from flask.typing import ResponseReturnValue
from prometheus_client import CONTENT_TYPE_LATEST

from webhooks.api.exposition import exposition
from webhooks.context import WebContext
from webhooks.security.auth import bearer, bearer_text
from webhooks.security.limits import turn


def add_routes(api: Blueprint, web: WebContext) -> None:
    @api.get("/metrics")
    def metrics() -> ResponseReturnValue:
        _authenticate(web)
        with turn(web.scrapes, "scrapes"):
            text = exposition(web.service.measurements())
        return Response(text, content_type=CONTENT_TYPE_LATEST)


def _authenticate(web: WebContext) -> None:
    """Accepts PUSHLIVE_METRICS_TOKEN, which needs no store, or a viewer's token. Raises Refused."""
    own, given = web.settings.metrics_token, bearer_text()
    if own and hmac.compare_digest(given.encode("utf-8", "replace"), own.reveal().encode()):
        return
    bearer(web, "viewer")
