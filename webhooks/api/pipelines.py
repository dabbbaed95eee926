"""What a person does with a pipeline and its environments."""

from __future__ import annotations

from flask import Blueprint, Response, request
from flask.typing import ResponseReturnValue

from webhooks.api.parameters import fields
from webhooks.api.replies import messages, run_accepted
from webhooks.context import WebContext
from webhooks.error_responses import Refused
from webhooks.security.auth import bearer

MAX_OUTPUT_LINES = 10_000


def add_routes(api: Blueprint, web: WebContext) -> None:
    service = web.service

    @api.post("/api/pipelines/<pipeline>/deploy")
    def deploy(pipeline: str) -> ResponseReturnValue:
        by = bearer(web, "developer")
        wanted = fields({"commit": str, "release": int, "config": str, "rebuild": bool})
        return run_accepted(service.deploy(pipeline, by, **wanted))

    @api.post("/api/pipelines/<pipeline>/revert")
    def revert(pipeline: str) -> ResponseReturnValue:
        by = bearer(web, "developer")
        wanted = fields({"environment": str, "to": int, "reason": str})
        return run_accepted(service.revert(pipeline, by, **wanted))

    @api.post("/api/pipelines/<pipeline>/promote")
    def promote(pipeline: str) -> ResponseReturnValue:
        by = bearer(web, "developer")
        wanted = fields({"run": int, "environment": str, "release": int})
        return run_accepted(service.promote(pipeline, by, **wanted))

    @api.post("/api/pipelines/<pipeline>/hold")
    def hold(pipeline: str) -> ResponseReturnValue:
        by = bearer(web, "developer")
        return messages(service.hold(pipeline, by, **fields({"environment": str, "reason": str})))

    @api.post("/api/pipelines/<pipeline>/resume")
    def resume(pipeline: str) -> ResponseReturnValue:
        by = bearer(web, "developer")
        return messages(service.resume(pipeline, by, **fields({"environment": str})))

    @api.post("/api/pipelines/<pipeline>/unquarantine")
    def unquarantine(pipeline: str) -> ResponseReturnValue:
        by = bearer(web, "maintainer")
        wanted = fields({"release": int, "environment": str}, required=("release",))
        return messages(service.unquarantine(pipeline, by, **wanted))

    @api.get("/api/pipelines/<pipeline>/output")
    def output(pipeline: str) -> ResponseReturnValue:
        bearer(web, "viewer")
        environment = request.args.get("environment", "")
        lines = service.output(pipeline, environment=environment, lines=_lines_wanted())
        return Response((f"{text}\n" for text in lines), mimetype="text/plain")


def _lines_wanted() -> int:
    text = request.args.get("lines", "200")
    if not (text.isdecimal() and len(text) < 10 and 0 < int(text) <= MAX_OUTPUT_LINES):
        raise Refused(400, f"lines={text[:20]} is not a number between 1 and {MAX_OUTPUT_LINES}")
    return int(text)
