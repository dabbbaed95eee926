"""When no run enters environments: freezes by hand."""

from __future__ import annotations

from flask import Blueprint
from flask.typing import ResponseReturnValue

from webhooks.api.parameters import acting_reason, fields
from webhooks.api.replies import messages
from webhooks.context import WebContext
from webhooks.security.auth import bearer


def add_routes(api: Blueprint, web: WebContext) -> None:
    service = web.service

    @api.post("/api/freeze")
    def freeze() -> ResponseReturnValue:
        by = bearer(web, "maintainer")
        names = ("pipeline", "environment", "reason", "until", "for", "zone")
        wanted = acting_reason(fields(dict.fromkeys(names, str), required=("reason",)))
        return messages(service.freeze(by, lasting=wanted.pop("for", ""), **wanted))

    @api.post("/api/thaw")
    def thaw() -> ResponseReturnValue:
        by = bearer(web, "maintainer")
        names = ("pipeline", "environment", "reason")
        return messages(
            service.thaw(by, **acting_reason(fields(dict.fromkeys(names, str), required=("reason",))))
        )
