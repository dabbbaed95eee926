"""The pages that only show: status, runs, one run with its log, timings, environments side by side, capacity."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any

from flask import Blueprint, Response, request
from flask.typing import ResponseReturnValue

from pipeline.domain.capacity.rows import data_folder
from pipeline.errors import NotFound
from pipeline.lib.text import printable
from webhooks import sse
from webhooks.api.evidence import bundle_response
from webhooks.api.parameters import event_id, number_between, run_number
from webhooks.api.runs import log_response
from webhooks.context import WebContext
from webhooks.pages import view
from webhooks.pages.render import page
from webhooks.security.auth import may
from webhooks.security.sessions import logged_in, still_logged_in

RUNS_SHOWN = 100
DAY, DAYS, MAX_DAYS = 86400.0, (7, 30, 90), 3650
LOG_LINES, LOG_CHARACTERS = 2000, 500_000  # on the page, which links to the whole log


def add_routes(pages: Blueprint, web: WebContext) -> None:
    @pages.get("/")
    def status() -> ResponseReturnValue:
        who = logged_in(web)
        return page("status.html", who, status=web.service.status())

    @pages.get("/runs")
    @pages.get("/runs/<pipeline>")
    def runs(pipeline: str = "") -> ResponseReturnValue:
        who = logged_in(web)
        found = web.service.runs(pipeline, RUNS_SHOWN)
        frozen = may(who, "maintainer") and _frozen(web, pipeline)  # for their button
        return page("runs.html", who, pipeline=pipeline, runs=found, frozen=frozen)

    @pages.get("/timings/<pipeline>")
    def timings(pipeline: str) -> ResponseReturnValue:
        who = logged_in(web)
        days = number_between("days", DAYS[1], MAX_DAYS)
        found = web.service.timings(pipeline, seconds=days * DAY)
        return page("timings.html", who, timings=found, lanes=view.lanes(found), days=days, spans=DAYS)

    @pages.get("/parity/<pipeline>")
    def parity(pipeline: str) -> ResponseReturnValue:
        who = logged_in(web)
        every = request.args.get("all") == "1"
        return page("parity.html", who, parity=web.service.parity(pipeline), every=every)

    @pages.get("/capacity")
    def capacity() -> ResponseReturnValue:
        who = logged_in(web)
        found = web.service.capacity()
        folder = data_folder(found["data"])
        return page("capacity.html", who, capacity=found, machines=view.machines(found), folder=folder)

    @pages.get("/runs/<pipeline>/<number>")
    def run(pipeline: str, number: str) -> ResponseReturnValue:
        who = logged_in(web)
        shown = web.service.show(pipeline, run_number(web, pipeline, number))
        return page("run.html", who, **_run_values(web, shown))

    @pages.get("/runs/<pipeline>/<number>/events")
    def events(pipeline: str, number: str) -> ResponseReturnValue:
        logged_in(web)
        found = web.service.run(pipeline, run_number(web, pipeline, number))
        after = event_id(request.headers.get("Last-Event-ID") or request.args.get("after", "0"))
        stream = sse.stream(web.service, found, after, still_logged_in(web))
        return Response(stream, mimetype="text/event-stream", headers={"X-Accel-Buffering": "no"})

    @pages.get("/runs/<pipeline>/<number>/log")
    def log(pipeline: str, number: str) -> ResponseReturnValue:
        logged_in(web)
        return log_response(web, pipeline, number)

    @pages.get("/evidence/<pipeline>/<number>")
    def evidence(pipeline: str, number: str) -> ResponseReturnValue:
        return bundle_response(web, pipeline, number, logged_in(web))


def _frozen(web: WebContext, pipeline: str) -> bool:
    """Whether something freezes an environment of that pipeline; False for one of which nothing runs any more."""
    if not pipeline:
        return False
    try:
        found = web.service.status(pipeline)["pipelines"]
    except NotFound:
        return False
    return any(env.get("freeze") for one in found for env in one["environments"])


def _run_values(web: WebContext, shown: dict[str, Any]) -> dict[str, Any]:
    run = shown["run"]
    ended = run["state"] == "ended"
    lines = _last(web.service.log(run["pipeline"], run["number"])) if ended else ()
    return {
        "run": run,
        "release": shown.get("release"),
        "configuration": shown.get("configuration"),
        "stages": view.stages(run),
        "meters": view.meters(shown["timing"]),
        "timing": shown["timing"],
        "ended": ended,
        "log": [printable(text.rstrip("\n")) for text in lines],
    }


def _last(lines: Iterable[str]) -> deque[str]:
    """What the page shows of a log, in memory that is bounded whatever its lines are."""
    kept, size = deque[str](), 0
    for line in lines:
        kept.append(line[-LOG_CHARACTERS:])
        size += len(kept[-1])
        while len(kept) > LOG_LINES or size > LOG_CHARACTERS:
            size -= len(kept.popleft())
    return kept
