"""Environments that sleep."""

from __future__ import annotations

from flask import Blueprint
from flask.typing import ResponseReturnValue

from webhooks.api.parameters import fields
from webhooks.api.replies import messages
from webhooks.context import WebContext
from webhooks.security.auth import bearer


def add_routes(api: Blueprint, web: WebContext) -> None:
    @api.post("/api/pipelines/<pipeline>/sleep")
    def sleep(pipeline: str) -> ResponseReturnValue:
        by = bearer(web, "developer")
        given = fields({"environment": str}, required=("environment",))
        return messages(web.service.sleeping.put_to_sleep(pipeline, by, environment=given["environment"]))

    @api.post("/api/pipelines/<pipeline>/wake")
    def wake(pipeline: str) -> ResponseReturnValue:
        by = bearer(web, "developer")
        given = fields({"environment": str}, required=("environment",))
        return messages(web.service.sleeping.wake(pipeline, by, environment=given["environment"]))
