"""A month of pipelines, as data and as one page that needs nothing else; what it cost; how much more fits."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from flask import Blueprint, Response, render_template, request
from flask.typing import ResponseReturnValue

from webhooks.api.parameters import fields, number_between
from webhooks.context import WebContext
from webhooks.pages import pictures
from webhooks.security.auth import bearer

MONTHS = 120  # of a history at most
T = TypeVar("T")


def add_routes(api: Blueprint, web: WebContext) -> None:
    def of_month(ask: Callable[..., T]) -> T:
        given = request.args
        return ask(given.get("pipeline", ""), month=given.get("month", ""), zone=given.get("zone", "UTC"))

    @api.get("/api/cost")
    def cost() -> ResponseReturnValue:
        bearer(web, "viewer")
        return of_month(web.service.cost)

    @api.get("/api/cost/history")
    def cost_history() -> ResponseReturnValue:
        bearer(web, "viewer")
        given, months = request.args, number_between("months", 12, MONTHS)
        return web.service.cost_history(
            given.get("pipeline", ""), months=months, zone=given.get("zone", "UTC")
        )

    @api.post("/api/cost/suggest")
    def suggest() -> ResponseReturnValue:
        by = bearer(web, "developer")
        wanted = fields({"pipeline": str, "without_redundancy": bool, "seen": str})
        answer = web.service.suggest(by, **wanted)
        return answer, 202 if answer.get("runs") else 200

    @api.get("/api/cost.csv")
    def cost_rows() -> ResponseReturnValue:
        bearer(web, "viewer")
        lines = of_month(web.service.cost_rows)
        return Response("".join(lines), mimetype="text/csv", headers={"Content-Disposition": "attachment"})

    @api.get("/api/capacity")
    def capacity() -> ResponseReturnValue:
        bearer(web, "viewer")
        return web.service.capacity()

    @api.get("/api/report")
    def report() -> ResponseReturnValue:
        bearer(web, "viewer")
        return of_month(web.service.report)

    @api.get("/api/report.html")
    def report_page() -> ResponseReturnValue:
        bearer(web, "viewer")
        page = render_template("report.html", **pictures.of(of_month(web.service.report)))
        return Response(page, headers={"Content-Disposition": "attachment"})
