"""What a person does with a pipeline and its environments."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, request
from flask.typing import ResponseReturnValue

from pipeline.domain.run import State
from webhooks.api.parameters import acting_reason, fields, number_between
from webhooks.api.replies import messages, run_accepted, text, unchanged
from webhooks.context import WebContext
from webhooks.error_responses import Refused
from webhooks.security.auth import bearer

MAX_OUTPUT_LINES = 10_000
MONTH, MAX_SECONDS = 30 * 86400, 10 * 365 * 86400


def add_routes(api: Blueprint, web: WebContext) -> None:
    service = web.service

    @api.post("/api/pipelines/<pipeline>/deploy")
    def deploy(pipeline: str) -> ResponseReturnValue:
        by = bearer(web, "developer")
        wanted = fields({"commit": str, "release": int, "config": str, "rebuild": bool})
        _refuse_mixed(wanted)
        run = service.deploy(pipeline, by, **wanted)
        return unchanged(run) if run.state == State.ENDED else run_accepted(run)

    @api.post("/api/pipelines/<pipeline>/set")
    def set_values(pipeline: str) -> ResponseReturnValue:
        by = bearer(web, "developer")
        wanted = fields({"values": dict, "environment": str, "seen": str}, required=("values",))
        if not wanted["values"] or any(type(value) is not str for value in wanted["values"].values()):
            raise Refused(400, "'values' must be texts by key", advice='For example {"replicas": "3"}.')
        answer = service.set_values(pipeline, by, **wanted)
        return answer, 202 if answer.get("run") else 200

    @api.post("/api/pipelines/<pipeline>/revert")
    def revert(pipeline: str) -> ResponseReturnValue:
        by = bearer(web, "developer")
        kinds = {
            "environment": str, "to": int, "from": int, "run": int, "reason": str, "back": bool, "across": int,
        }  # fmt: skip
        wanted = acting_reason(fields(kinds))
        return run_accepted(service.revert(pipeline, by, shown=wanted.pop("from", None), **wanted))

    @api.post("/api/pipelines/<pipeline>/promote")
    def promote(pipeline: str) -> ResponseReturnValue:
        by = bearer(web, "developer")
        kinds = {"run": int, "environment": str, "release": int, "force": bool, "reason": str}
        wanted = acting_reason(fields(kinds))
        run = service.promote(pipeline, by, **wanted)
        return {"run": run.id, "waits": service.still_waits(run)}, 202

    @api.post("/api/pipelines/<pipeline>/withdraw")
    def withdraw(pipeline: str) -> ResponseReturnValue:
        by = bearer(web, "developer")
        kinds = {"run": int, "environment": str, "release": int, "reason": str}
        return messages(service.withdraw(pipeline, by, **acting_reason(fields(kinds))))

    @api.post("/api/pipelines/<pipeline>/hold")
    def hold(pipeline: str) -> ResponseReturnValue:
        by = bearer(web, "developer")
        wanted = acting_reason(fields({"environment": str, "reason": str, "held_by": str}))
        return messages(service.hold(pipeline, by, **wanted))

    @api.post("/api/pipelines/<pipeline>/resume")
    def resume(pipeline: str) -> ResponseReturnValue:
        by = bearer(web, "developer")
        return messages(service.resume(pipeline, by, **fields({"environment": str, "held_by": str})))

    @api.post("/api/pipelines/<pipeline>/maintenance/on")
    def begin_maintenance(pipeline: str) -> ResponseReturnValue:
        by = bearer(web, "developer")
        names = ("environment", "message", "until", "for", "zone")
        wanted = fields(dict.fromkeys(names, str), required=("environment", "message"))
        return messages(service.maintenance.turn_on(pipeline, by, lasting=wanted.pop("for", ""), **wanted))

    @api.post("/api/pipelines/<pipeline>/maintenance/off")
    def end_maintenance(pipeline: str) -> ResponseReturnValue:
        by = bearer(web, "developer")
        return messages(
            service.maintenance.turn_off(
                pipeline, by, **fields({"environment": str}, required=("environment",))
            )
        )

    @api.post("/api/pipelines/<pipeline>/unquarantine")
    def unquarantine(pipeline: str) -> ResponseReturnValue:
        by = bearer(web, "maintainer")
        kinds = {"release": int, "environment": str, "reason": str}
        wanted = acting_reason(fields(kinds, required=("release",)))
        return messages(service.unquarantine(pipeline, by, **wanted))

    @api.get("/api/pipelines/<pipeline>/output")
    def output(pipeline: str) -> ResponseReturnValue:
        bearer(web, "viewer")
        environment = request.args.get("environment", "")
        wanted = number_between("lines", 200, MAX_OUTPUT_LINES)
        lines = service.output(pipeline, environment=environment, lines=wanted)
        return text(lines)

    @api.get("/api/pipelines/<pipeline>/cron")
    def cron(pipeline: str) -> ResponseReturnValue:
        bearer(web, "viewer")
        return {"processes": service.cron(pipeline, environment=request.args.get("environment", ""))}

    @api.get("/api/pipelines/<pipeline>/parity")
    def parity(pipeline: str) -> ResponseReturnValue:
        bearer(web, "viewer")
        return service.parity(pipeline)

    @api.get("/api/pipelines/<pipeline>/timings")
    def timings(pipeline: str) -> ResponseReturnValue:
        bearer(web, "viewer")
        return service.timings(pipeline, seconds=number_between("seconds", MONTH, MAX_SECONDS))


def _refuse_mixed(wanted: dict[str, Any]) -> None:
    """Raises Refused (400) for fields of which one would be ignored, and for an empty one: a program that lost a value
    does not mean the default."""
    for name in ("commit", "config"):
        if wanted.get(name) == "":
            raise Refused(400, f"{name!r} is empty", advice="Leave the field out, or give its value.")
    for one, other in (
        ("commit", "release"),
        ("commit", "config"),
        ("rebuild", "release"),
        ("rebuild", "config"),
    ):
        if wanted.get(one) and other in wanted:
            raise Refused(400, f"{one!r} and {other!r} cannot be combined", advice="Leave out one of them.")
