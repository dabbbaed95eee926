"""The audit log: read and verify."""

from __future__ import annotations

from flask import Blueprint, request
from flask.typing import ResponseReturnValue

from webhooks.api.parameters import limit
from webhooks.context import WebContext
from webhooks.security.auth import bearer


def add_routes(api: Blueprint, web: WebContext) -> None:
    @api.get("/api/audit")
    def audit() -> ResponseReturnValue:
        bearer(web, "maintainer")
        return {"entries": web.service.audit_log(request.args.get("pipeline", ""), limit())}

    @api.get("/api/audit/verify")
    def verify() -> ResponseReturnValue:
        bearer(web, "maintainer")
        report = web.service.verify_audit(request.args.get("head", ""))
        newest = {"number": report.newest.number, "hash": report.newest.hash}
        return {"ok": not report.problems, "entries": report.entries, **newest, "problems": report.problems}
