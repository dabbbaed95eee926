"""Commands in containers: started by one request, whose answer is their output as it comes; other requests bring their
input. Both pass through any proxy that passes an answer on as it is written."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

from flask import Blueprint, Response, request
from flask.typing import ResponseReturnValue

from pipeline.errors import PushliveError
from webhooks.api.parameters import fields, number_between
from webhooks.api.replies import UNBUFFERED, line, told
from webhooks.context import WebContext
from webhooks.error_responses import Refused, failure
from webhooks.ports import Command, Ended, SessionPort
from webhooks.security.auth import bearer, still_valid
from webhooks.security.ongoing import while_allowed

STREAMS = {1: "out", 2: "err"}
SIZE = 1000  # columns or rows
MONTH = 31 * 86_400  # seconds


def add_routes(api: Blueprint, web: WebContext) -> None:
    @api.post("/api/pipelines/<pipeline>/run")
    def run(pipeline: str) -> ResponseReturnValue:
        by = bearer(web, "developer")
        wanted = fields(_KINDS, required=("command",))
        environment = wanted.get("environment", "")
        session = web.service.tools.run_command(pipeline, by, _command(wanted), environment=environment)
        return _followed(session, still_valid(web))

    @api.post("/api/pipelines/<pipeline>/exec")
    def exec_(pipeline: str) -> ResponseReturnValue:
        by = bearer(web, "developer")
        wanted = fields(_KINDS | {"replica": int, "process": str}, required=("command",))
        more = {"environment": wanted.get("environment", ""), "replica": wanted.get("replica", 1)}
        more["process"] = wanted.get("process", "")
        return _followed(
            web.service.tools.exec_command(pipeline, by, _command(wanted), **more), still_valid(web)
        )

    @api.post("/api/accessories/<name>/<environment>/exec")
    def exec_accessory(name: str, environment: str) -> ResponseReturnValue:
        by = bearer(web, "developer")
        command = _command(fields(_COMMAND, required=("command",)))
        session = web.service.tools.exec_accessory(name, by, command, environment=environment)
        return _followed(session, still_valid(web))

    @api.post("/api/pipelines/<pipeline>/copy")
    def copy(pipeline: str) -> ResponseReturnValue:
        by = bearer(web, "developer")
        given = fields({"environment": str, "path": str, "process": str}, required=("path",))
        more = {key: given.get(key, "") for key in ("environment", "process")}
        return _followed(web.service.tools.copy(pipeline, by, given["path"], **more), still_valid(web))

    @api.post("/api/pipelines/<pipeline>/restart")
    def restart(pipeline: str) -> ResponseReturnValue:
        by = bearer(web, "developer")
        environment = fields({"environment": str}).get("environment", "")
        lines = web.service.tools.restart(pipeline, by, environment=environment)
        return told(lines)

    @api.get("/api/pipelines/<pipeline>/output/follow")
    def follow(pipeline: str) -> ResponseReturnValue:
        bearer(web, "viewer")
        asked = request.args
        lines = web.service.tools.follow_output(
            pipeline,
            environment=asked.get("environment", ""),
            process=asked.get("process", ""),
            lines=number_between("lines", 200, 10_000),
            seconds=number_between("since", MONTH, MONTH),
            follow=asked.get("follow", "yes") != "no",
        )
        allowed = still_valid(web)
        return Response(_texts(lines, allowed), mimetype="text/plain", headers=UNBUFFERED)

    @api.get("/api/pipelines/<pipeline>/access")
    def access(pipeline: str) -> ResponseReturnValue:
        bearer(web, "viewer")
        lines = web.service.tools.access_log(
            pipeline,
            environment=request.args.get("environment", ""),
            lines=number_between("lines", 200, 10_000),
            follow=request.args.get("follow", "yes") != "no",
        )
        answered = _texts(lines, still_valid(web))
        return Response(answered, mimetype="application/x-ndjson", headers=UNBUFFERED)

    @api.get("/api/pipelines/<pipeline>/usage")
    def usage(pipeline: str) -> ResponseReturnValue:
        bearer(web, "viewer")
        environment = request.args.get("environment", "")
        return {"containers": web.service.tools.usage(pipeline, environment=environment)}

    @api.post("/api/sessions/<session>/input")
    def send(session: str) -> ResponseReturnValue:
        by = bearer(web, "developer")
        given = fields({"data": str, "at": int, "end": bool, "columns": int, "rows": int})
        found = web.service.tools.session(session, by)
        if data := given.get("data", ""):
            found.write(_bytes(data), given.get("at"))
        if "columns" in given or "rows" in given:
            found.resize(_size(given, "columns", 80), _size(given, "rows", 24))
        if given.get("end"):
            found.end_input()
        return {}

    @api.delete("/api/sessions/<session>")
    def end(session: str) -> ResponseReturnValue:
        web.service.tools.session(session, bearer(web, "developer")).close()
        return {}


_COMMAND = {"command": list, "terminal": bool, "columns": int, "rows": int}
_KINDS = {"environment": str, **_COMMAND}


def _command(given: dict[str, Any]) -> Command:
    """Raises Refused (400)."""
    argv = given["command"]
    if not all(isinstance(word, str) for word in argv):
        raise Refused(400, "'command' must be a list of texts")
    return Command(
        tuple(argv), given.get("terminal", False), _size(given, "columns", 80), _size(given, "rows", 24)
    )


def _size(given: dict[str, Any], name: str, default: int) -> int:
    """Raises Refused (400)."""
    value: int = given.get(name, default)
    if not 1 <= value <= SIZE:
        raise Refused(400, f"{name} is not a number between 1 and {SIZE}")
    return value


def _bytes(data: str) -> bytes:
    """Raises Refused (400)."""
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        raise Refused(400, "'data' is not base64") from None


def _followed(session: SessionPort, allowed: Callable[[], bool]) -> Response:
    answer = Response(_lines(session, allowed), mimetype="application/x-ndjson", headers=UNBUFFERED)
    answer.call_on_close(session.close)  # also if the client went away before the first line
    return answer


def _lines(session: SessionPort, allowed: Callable[[], bool]) -> Iterator[str]:
    yield line({"session": session.record.id, "container": session.record.replica})
    try:
        with closing(session.events()) as events:
            for event in while_allowed(events, allowed):
                if event is None:
                    yield "\n"
                elif isinstance(event, Ended):
                    yield line({"end": {"code": event.code}})
                else:
                    kind, data = event
                    yield line({STREAMS[kind]: base64.b64encode(data).decode()})
    except PushliveError as error:  # the status line is already sent
        yield line(failure(error))


def _texts(lines: Iterator[tuple[str, ...]], allowed: Callable[[], bool]) -> Iterator[str]:
    """The lines as they come; an empty one while none comes."""
    yield "\n"  # sends the headers at once
    try:
        for some in while_allowed(lines, allowed):
            yield "\n".join(some) + "\n"
    except PushliveError as error:
        yield f"! {error}\n"
