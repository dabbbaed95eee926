"""Runs: list, show, follow, log, cancel, retry."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator

from flask import Blueprint, Response, request
from flask.typing import ResponseReturnValue

from pipeline.domain.run import Run
from pipeline.errors import PushliveError
from pipeline.lib import codec
from webhooks import event_lines
from webhooks.api.parameters import event_id, fields, limit, run_number
from webhooks.api.replies import run_accepted, text
from webhooks.context import WebContext
from webhooks.error_responses import failure
from webhooks.security.auth import bearer, still_valid
from webhooks.security.ongoing import while_allowed


def add_routes(api: Blueprint, web: WebContext) -> None:
    @api.get("/api/runs")
    def runs() -> ResponseReturnValue:
        bearer(web, "viewer")
        return {"runs": web.service.runs(request.args.get("pipeline", ""), limit())}

    @api.get("/api/runs/<pipeline>/<number>")
    def show(pipeline: str, number: str) -> ResponseReturnValue:
        bearer(web, "viewer")
        return web.service.show(pipeline, None if number == "latest" else run_number(web, pipeline, number))

    @api.get("/api/runs/<pipeline>/<number>/events")
    def events(pipeline: str, number: str) -> ResponseReturnValue:
        bearer(web, "viewer")
        run = web.service.run(pipeline, run_number(web, pipeline, number))
        stream = _events(web, run, event_id(request.args.get("after", "0")), still_valid(web))
        return Response(stream, mimetype="application/x-ndjson")

    @api.get("/api/runs/<pipeline>/<number>/log")
    def log(pipeline: str, number: str) -> ResponseReturnValue:
        bearer(web, "viewer")
        return log_response(web, pipeline, number)

    @api.post("/api/runs/<pipeline>/<number>/cancel")
    def cancel(pipeline: str, number: str) -> ResponseReturnValue:
        by = bearer(web, "developer")
        named = None if number == "latest" else run_number(web, pipeline, number)
        run = web.service.cancel(pipeline, named, by)
        when = run.cancelled_when(time.time())
        return {"run": run.id, "messages": [when] if when else []}, 202

    @api.post("/api/runs/<pipeline>/<number>/abandon")
    def abandon(pipeline: str, number: str) -> ResponseReturnValue:
        by = bearer(web, "developer")
        run = web.service.abandon(pipeline, run_number(web, pipeline, number), by)
        text = f"The {run.command} command is ended; its result is unknown, so {run.stage} is held."
        return {"run": run.id, "messages": [text]}, 202

    @api.post("/api/runs/<pipeline>/<number>/retry")
    def retry(pipeline: str, number: str) -> ResponseReturnValue:
        by = bearer(web, "developer")
        wanted = fields({"over": int})
        return run_accepted(web.service.retry(pipeline, run_number(web, pipeline, number), by, **wanted))


def log_response(web: WebContext, pipeline: str, number: str) -> Response:
    """The stored log as plain text, streamed."""
    run = web.service.run(pipeline, run_number(web, pipeline, number))
    lines = web.service.log(pipeline, run.number, request.args.get("stage", ""))
    return text(line.rstrip() for line in lines)


def _events(web: WebContext, run: Run, after: str, allowed: Callable[[], bool]) -> Iterator[str]:
    yield "\n"  # sends the headers at once
    try:
        for item in while_allowed(web.service.follow(run.pipeline, run.number, after), allowed):
            if item is None:
                yield "\n"
                continue
            event = {"id": item[0], "event": codec.plain(item[1]), "lines": event_lines.lines(item[1])}
            yield json.dumps(event, ensure_ascii=False) + "\n"
        now = web.service.run(run.pipeline, run.number)
        yield json.dumps({"end": {"state": now.state, "outcome": now.outcome, "gate": now.gate}}) + "\n"
    except PushliveError as error:  # the status line is already sent
        yield json.dumps(failure(error)) + "\n"
