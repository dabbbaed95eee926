"""The evidence of runs and releases: bundles, records, and the key that signs them."""

from __future__ import annotations

import re

from flask import Blueprint, Response, request
from flask.typing import ResponseReturnValue

from pipeline.domain.audit_chain import Actor
from webhooks.api.parameters import limit, run_number
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
        return bundle_response(web, pipeline, number, bearer(web, "viewer"))

    @api.get("/api/evidence")
    def evidence_of_acts() -> ResponseReturnValue:
        bearer(web, "maintainer")
        return web.service.evidence.listed("", limit())

    @api.get("/api/evidence/<pipeline>")
    def evidence_list(pipeline: str) -> ResponseReturnValue:
        bearer(web, "viewer")
        return web.service.evidence.listed(pipeline, limit())

    @api.get("/api/runs/<pipeline>/<number>/evidence")
    def evidence_record(pipeline: str, number: str) -> ResponseReturnValue:
        bearer(web, "viewer")
        return web.service.evidence.record_of(pipeline, run_number(web, pipeline, number))


def bundle_response(web: WebContext, pipeline: str, number: str, by: Actor) -> Response:
    """The archive of a release (``r17``; with ``env=`` in the query only its runs to that environment) or of a run, as
    a download. Raises NotFound, and Refused for ``env`` with a run."""
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
    name = "-".join(filter(None, (pipeline, number, environment)))  # all three are names that exist
    headers = {"Content-Length": str(size), "Content-Disposition": f'attachment; filename="{name}.tar.gz"'}
    return Response(pieces, mimetype="application/gzip", headers=headers)
