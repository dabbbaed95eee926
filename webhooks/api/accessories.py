"""Databases, caches and brokers of environments."""

from __future__ import annotations

from flask import Blueprint
from flask.typing import ResponseReturnValue

from webhooks.api.parameters import fields, number_between
from webhooks.api.replies import messages, text, told
from webhooks.context import WebContext
from webhooks.security.auth import bearer

MOST_LINES = 10_000


def add_routes(api: Blueprint, web: WebContext) -> None:
    @api.get("/api/accessories")
    def accessories() -> ResponseReturnValue:
        bearer(web, "viewer")
        return {"accessories": web.service.accessories.overview()}

    @api.get("/api/accessories/<name>/<environment>/output")
    def accessory_output(name: str, environment: str) -> ResponseReturnValue:
        bearer(web, "developer")
        lines = number_between("lines", 200, MOST_LINES)
        return text(web.service.accessories.last_output(name, environment=environment, lines=lines))

    @api.post("/api/accessories/<name>/<environment>/<any(start, stop, restart, apply):act>")
    def accessory(name: str, environment: str, act: str) -> ResponseReturnValue:
        by = bearer(web, "maintainer")
        given = fields({"as_it_is": bool}) if act == "start" else {}
        return messages(getattr(web.service.accessories, act)(name, by, environment=environment, **given))

    @api.post("/api/accessories/<name>/<environment>/move")
    def move_accessory(name: str, environment: str) -> ResponseReturnValue:
        by = bearer(web, "maintainer")
        given = fields({"to": str, "environment": str}, required=("to",))
        more = {"to": given["to"], "to_environment": given.get("environment", "")}
        return told(web.service.accessories.move(name, by, environment=environment, **more))

    @api.post("/api/accessories/<name>/<environment>/upgrade")
    def upgrade_accessory(name: str, environment: str) -> ResponseReturnValue:
        by = bearer(web, "maintainer")
        back = fields({"back": bool}).get("back", False)
        return told(web.service.accessories.upgrade(name, by, environment=environment, back=back))

    @api.delete("/api/accessories/<name>/<environment>")
    def remove_accessory(name: str, environment: str) -> ResponseReturnValue:
        by = bearer(web, "maintainer")
        return messages(web.service.accessories.remove(name, by, environment=environment))
