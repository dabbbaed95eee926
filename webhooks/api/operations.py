"""The service as a whole: health, status, plan, checks, clean-up."""

from __future__ import annotations

from flask import Blueprint, request
from flask.typing import ResponseReturnValue

from webhooks.api.parameters import fields
from webhooks.api.replies import messages
from webhooks.context import WebContext
from webhooks.error_responses import Refused
from webhooks.security.auth import bearer

# Without names: this answer needs no token.
UNKNOWN_STORE = (
    "The service has no records of what runs; what serves keeps serving. `pushlive status` says what was found. "
    "`pushlive adopt` takes it up, `pushlive restore FILE` returns to a backup."
)


def add_routes(api: Blueprint, web: WebContext) -> None:
    @api.get("/healthz")
    def healthz() -> ResponseReturnValue:
        if not web.service.healthy():
            return {"ok": False}, 503
        if (
            web.service.unknown_store()
        ):  # with ``?started`` for what starts this process: people still need its answers
            return {"ok": False, "unknown_store": UNKNOWN_STORE}, 200 if "started" in request.args else 503
        return {"ok": True}

    @api.get("/api/status")
    def status() -> ResponseReturnValue:
        bearer(web, "viewer")
        return web.service.status(request.args.get("pipeline", ""))

    @api.post("/api/plan")
    def plan() -> ResponseReturnValue:
        bearer(web, "viewer")
        return web.service.plan(fields({"config": str}, required=("config",))["config"])

    @api.get("/api/doctor")
    def doctor() -> ResponseReturnValue:
        bearer(web, "viewer")
        return {"checks": web.service.doctor()}

    @api.post("/api/doctor")
    def fix() -> ResponseReturnValue:
        by = bearer(web, "maintainer")
        return {"mended": list(web.service.fix(by)), "checks": web.service.doctor()}

    @api.post("/api/gc")
    def gc() -> ResponseReturnValue:
        by = bearer(web, "maintainer")
        named = fields({"serving": list}).get("serving")
        if named is not None and not all(isinstance(one, str) for one in named):
            raise Refused(
                400, "'serving' is not a list of environments", advice='For example ["hello/live"].'
            )
        said = web.service.gc(by, None if named is None else frozenset(named))
        left = [one.text for one in said if one.left]
        serving = [one.serving for one in said if one.serving]
        return {"messages": [one.text for one in said], "left": left, "serving": serving}

    @api.post("/api/adopt")
    def adopt() -> ResponseReturnValue:
        return messages(web.service.adopt(bearer(web, "maintainer")))
