"""A month of pipelines, as data and as one page that needs nothing else."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, render_template, request
from flask.typing import ResponseReturnValue

from webhooks.context import WebContext
from webhooks.pages import pictures
from webhooks.security.auth import bearer


def add_routes(api: Blueprint, web: WebContext) -> None:
    def wanted() -> dict[str, Any]:
        given = request.args
        return web.service.report(
            given.get("pipeline", ""), month=given.get("month", ""), zone=given.get("zone", "UTC")
        )

    @api.get("/api/report")
    def report() -> ResponseReturnValue:
        bearer(web, "viewer")
        return wanted()

    @api.get("/api/report.html")
    def report_page() -> ResponseReturnValue:
        bearer(web, "viewer")
        page = render_template("report.html", **pictures.of(wanted()))
        return Response(page, headers={"Content-Disposition": "attachment"})
