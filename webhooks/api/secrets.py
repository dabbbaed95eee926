"""Secrets. Values go in and never come out."""

from __future__ import annotations

from flask import Blueprint, request
from flask.typing import ResponseReturnValue

from pipeline.lib.secret import Secret
from pipeline.lib.units import is_number
from webhooks.api.parameters import fields
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
        unknown = request.args.keys() - {"environment", "version"}  # without a version, every one is revoked
        if unknown:
            raise Refused(
                400, f"unknown parameter {min(unknown)[:40]!r}", advice="Known: environment, version."
            )
        text, environment = request.args.get("version"), request.args.get("environment", "")
        if text is not None and not is_number(text):
            raise Refused(400, f"version={text[:20]} is not a number", advice="Nothing was revoked.")
        version = None if text is None else int(text)
        return messages(
            web.service.remove_secret(pipeline, by, name, environment=environment, version=version)
        )
