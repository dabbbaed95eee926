"""The evidence of runs and releases: bundles, records, and the key that signs them."""

from __future__ import annotations

import re

from flask import Blueprint, Response, request
from flask.typing import ResponseReturnValue

from webhooks.api.parameters import run_number
from webhooks.context import WebContext
from webhooks.error_responses import Refused
from webhooks.security.auth import bearer

_RELEASE = re.compile(r"r([0-9]{1,9})")


def add_routes(api: Blueprint, web: WebContext) -> None:
    @api.get("/api/evidence/key")
    def evidence_key() -> ResponseReturnValue:
        bearer(web, "viewer")
        return web.service.evidence.key()

    @api.get("/api/evidence/<pipeline>/<number>")
    def evidence(pipeline: str, number: str) -> ResponseReturnValue:
        by = bearer(web, "viewer")
        environment, release = request.args.get("env", ""), _RELEASE.fullmatch(number)
        if release:
            size, pieces = web.service.evidence.bundle(
                pipeline, by, release=int(release[1]), environment=environment
            )
        elif environment:
            raise Refused(400, "env is for a release, such as r17; a run is exported whole")
        else:
            number = str(run_number(web, pipeline, number))
            size, pieces = web.service.evidence.bundle(pipeline, by, run=int(number))
        headers = {
            "Content-Length": str(size),
            "Content-Disposition": f'attachment; filename="{pipeline}-{number}.tar.gz"',
        }
        return Response(pieces, mimetype="application/gzip", headers=headers)

    @api.get("/api/runs/<pipeline>/<number>/evidence")
    def evidence_record(pipeline: str, number: str) -> ResponseReturnValue:
        bearer(web, "viewer")
        return web.service.evidence.record_of(pipeline, run_number(web, pipeline, number))
