"""The HTTP API; ``docs/api.md`` is its reference. Each route calls one method of the service."""

from __future__ import annotations

from flask import Blueprint

from webhooks.api import (
    accessories,
    audit,
    backups,
    evidence,
    freezes,
    metrics,
    operations,
    pipelines,
    previews,
    report,
    runs,
    secrets,
    sessions,
    sleeping,
    tokens,
    volumes,
)
from webhooks.context import WebContext


def blueprint(web: WebContext) -> Blueprint:
    api = Blueprint("api", __name__)
    for group in (
        operations,
        runs,
        pipelines,
        report,
        freezes,
        previews,
        sessions,
        sleeping,
        accessories,
        secrets,
        tokens,
        audit,
        metrics,
        volumes,
        backups,
        evidence,
    ):
        group.add_routes(api, web)
    return api
