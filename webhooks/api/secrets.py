"""Secrets. Values go in and never come out."""

from __future__ import annotations

from flask import Blueprint, request
from flask.typing import ResponseReturnValue

from pipeline.lib.secret import Secret
from webhooks.api.parameters import fields, is_number
from webhooks.api.replies import messages
from webhooks.context import WebContext
from webhooks.error_responses import Refused
from webhooks.security.auth import bearer


def add_routes(api: Blueprint, web: WebContext) -> None:
    @api.get("/api/pipelines/<pipeline>/secrets")
    def secrets(pipeline: str) -> ResponseReturnValue:
        bearer(web, "viewer")
        return {"secrets": web.service.secrets(pipeline)}

    @api.get("/api/pipelines/<pipeline>/secrets/<name>")
    def secret(pipeline: str, name: str) -> ResponseReturnValue:
        bearer(web, "viewer")
        return {"secrets": web.service.secret(pipeline, name, request.args.get("environment", ""))}

    @api.put("/api/pipelines/<pipeline>/secrets/<name>")
    def set_secret(pipeline: str, name: str) -> ResponseReturnValue:
        by = bearer(web, "maintainer")
        wanted = fields({"value": str, "environment": str}, required=("value",))
        value, environment = Secret(wanted["value"]), wanted.get("environment", "")
        return web.service.set_secret(pipeline, by, name, value, environment=environment), 201

    @api.delete("/api/pipelines/<pipeline>/secrets/<name>")
    def remove_secret(pipeline: str, name: str) -> ResponseReturnValue:
        by = bearer(web, "maintainer")
        text, environment = request.args.get("version", ""), request.args.get("environment", "")
        if text and not is_number(text):
            raise Refused(400, f"version={text[:20]} is not a number")
        version = int(text) if text else None
        return messages(
            web.service.remove_secret(pipeline, by, name, environment=environment, version=version)
        )
