"""Volumes: their files go out and come in as tar streams."""

from __future__ import annotations

from collections.abc import Generator

from flask import Blueprint, Response, request
from flask.typing import ResponseReturnValue

from webhooks.api.parameters import fields
from webhooks.api.replies import messages, told
from webhooks.context import WebContext
from webhooks.security.auth import bearer
from webhooks.security.limits import streamed

TAR = "application/x-tar"


def add_routes(api: Blueprint, web: WebContext) -> None:
    service = web.service

    @api.get("/api/volumes")
    def volumes() -> ResponseReturnValue:
        bearer(web, "viewer")
        sizes = "sizes" in request.args
        return service.volumes(request.args.get("pipeline", ""), sizes=sizes)

    @api.get("/api/volumes/<owner>/<environment>/<name>/files")
    def files(owner: str, environment: str, name: str) -> ResponseReturnValue:
        by = bearer(web, "maintainer")
        return Response(_begun(service.volume_files(owner, environment, name, by)), mimetype=TAR)

    @api.put("/api/volumes/<owner>/<environment>/<name>/files")
    def restore(owner: str, environment: str, name: str) -> ResponseReturnValue:
        by = bearer(web, "maintainer")
        stop, kept = "stop" in request.args, request.args.get("kept", "")
        if kept:
            return messages(service.backups.restore_volume(owner, environment, name, by, kept, stop=stop))
        return messages(service.restore_volume(owner, environment, name, by, streamed(request), stop=stop))

    @api.post("/api/volumes/<owner>/<environment>/<name>/move")
    def move(owner: str, environment: str, name: str) -> ResponseReturnValue:
        by = bearer(web, "maintainer")
        to = fields({"to": str}, required=("to",))["to"]
        return told(service.move_volume(owner, environment, name, by, to=to))

    @api.delete("/api/volumes/<owner>/<environment>/<name>")
    def remove(owner: str, environment: str, name: str) -> ResponseReturnValue:
        return messages(service.remove_volume(owner, environment, name, bearer(web, "maintainer")))


def _begun(pieces: Generator[bytes]) -> Generator[bytes]:
    """The same, with the first piece read: what fails before it is an error and not half an answer."""
    first = next(pieces, b"")

    def rest() -> Generator[bytes]:
        try:
            yield first
            yield from pieces
        finally:
            pieces.close()

    return rest()
