"""Previews: environments of their own for branches and pull requests."""

from __future__ import annotations

from flask import Blueprint, request
from flask.typing import ResponseReturnValue

from webhooks.api.parameters import fields
from webhooks.api.replies import messages, run_accepted
from webhooks.context import WebContext
from webhooks.security.auth import bearer


def add_routes(api: Blueprint, web: WebContext) -> None:
    service = web.service

    @api.get("/api/previews")
    def previews() -> ResponseReturnValue:
        bearer(web, "viewer")
        return {"previews": service.previews(request.args.get("pipeline", ""))}

    @api.post("/api/previews")
    def add_preview() -> ResponseReturnValue:
        by = bearer(web, "developer")
        wanted = fields({"pipeline": str, "branch": str}, required=("pipeline", "branch"))
        return run_accepted(service.add_preview(wanted["pipeline"], wanted["branch"], by))

    @api.post("/api/previews/<name>/allow")
    def allow_preview(name: str) -> ResponseReturnValue:
        by = bearer(web, "developer")
        return run_accepted(service.allow_preview(name, by, **fields({"commit": str})))

    @api.delete("/api/previews/<name>")
    def remove_preview(name: str) -> ResponseReturnValue:
        return messages(service.remove_preview(name, bearer(web, "developer")))
