"""Backups of volumes and accessories: made, listed, read, and restored."""

from __future__ import annotations

from flask import Blueprint, request, send_file
from flask.typing import ResponseReturnValue

from webhooks.api.replies import messages
from webhooks.context import WebContext
from webhooks.security.auth import bearer
from webhooks.security.limits import streamed


def add_routes(api: Blueprint, web: WebContext) -> None:
    @api.get("/api/backups")
    def backups() -> ResponseReturnValue:
        bearer(web, "viewer")
        return {"backups": web.service.backups.overview(request.args.get("of", ""))}

    @api.post("/api/backups/<owner>/<environment>/<name>")
    def make_backup(owner: str, environment: str, name: str) -> ResponseReturnValue:
        by = bearer(web, "maintainer")
        return web.service.backups.make(owner, environment, name, by)

    @api.get("/api/backups/<owner>/<environment>/<name>/<file>")
    def backup_file(owner: str, environment: str, name: str, file: str) -> ResponseReturnValue:
        by = bearer(web, "maintainer")
        path = web.service.backups.path(owner, environment, name, file, by)
        return send_file(path.absolute(), mimetype="application/octet-stream", download_name=path.name)

    @api.put("/api/accessories/<name>/<environment>/data")
    def restore_accessory(name: str, environment: str) -> ResponseReturnValue:
        by = bearer(web, "maintainer")
        kept = request.args.get("kept", "")
        done = web.service.backups.restore_accessory(name, environment, by, streamed(request), kept)
        return messages(done)
