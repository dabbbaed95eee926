"""The HTTP API: ``docs/api.md`` is its reference. Thin: each call is one act of the desk."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from flask import Blueprint, Response, request
from flask.typing import ResponseReturnValue

from pipeline.domain.run import Run
from pipeline.errors import NotFound, PushliveError
from pipeline.lib import codec
from pipeline.lib.secret import Secret
from pipeline.lib.units import parse_duration
from webhooks import telling
from webhooks.answers import Refused, held
from webhooks.security.auth import ROLES, bearer
from webhooks.security.limits import Incomplete, TooLarge, received
from webhooks.site import Site

BODY_LIMIT = 1 << 20  # bytes; the largest body is a pipelines.yaml
RUNS_AT_MOST = 1000
DEFAULT_LIFE = "365d"  # of a token: long enough not to surprise, and none is forgotten for ever
LONGEST_LIFE = 10 * 366 * 86400.0  # seconds


def blueprint(site: Site) -> Blueprint:
    api = Blueprint("api", __name__)
    _reading(api, site)
    _acting(api, site)
    _keeping(api, site)
    _secrets(api, site)
    return api


def number_of(site: Site, pipeline: str, text: str) -> int:
    """A run's number from a URL, where ``latest`` is allowed. Raises NotFound."""
    if text == "latest":
        return int(site.desk.show(pipeline, None)["run"]["number"])
    if not _digits(text):
        raise NotFound(f"{text[:20]!r} is not a run's number", advice="Write e.g. 42, or latest.")
    return int(text)


def _limit() -> int:
    """How many entries of a list were asked for. Raises Refused (400)."""
    limit = request.args.get("limit", 50, type=int)
    if not 1 <= limit <= RUNS_AT_MOST:
        raise Refused(400, f"limit={limit}: write a number between 1 and {RUNS_AT_MOST}")
    return limit


def _digits(text: str) -> bool:
    """True for a number of at most nine digits, as it stands in an address."""
    return text.isascii() and text.isdigit() and len(text) < 10


def _reading(api: Blueprint, site: Site) -> None:
    @api.get("/api/status")
    def status() -> ResponseReturnValue:
        bearer(site, "viewer")
        return site.desk.status(request.args.get("pipeline", ""))

    @api.get("/api/runs")
    def runs() -> ResponseReturnValue:
        bearer(site, "viewer")
        return {"runs": site.desk.runs(request.args.get("pipeline", ""), _limit())}

    @api.get("/api/runs/<pipeline>/<number>")
    def show(pipeline: str, number: str) -> ResponseReturnValue:
        bearer(site, "viewer")
        return site.desk.show(pipeline, None if number == "latest" else number_of(site, pipeline, number))

    @api.get("/api/runs/<pipeline>/<number>/events")
    def events(pipeline: str, number: str) -> ResponseReturnValue:
        bearer(site, "viewer")
        run = site.desk.run(pipeline, number_of(site, pipeline, number))
        stream = _events(site, run, after_of(request.args.get("after", "0")))
        return held(Response(stream, mimetype="application/x-ndjson"), site.streams, "runs are watched")

    @api.get("/api/runs/<pipeline>/<number>/log")
    def log(pipeline: str, number: str) -> ResponseReturnValue:
        bearer(site, "viewer")
        return log_of(site, pipeline, number)

    @api.get("/api/pipelines/<pipeline>/output")
    def output(pipeline: str) -> ResponseReturnValue:
        bearer(site, "viewer")
        lines = request.args.get("lines", "200")
        if not (lines.isdecimal() and len(lines) < 10 and 0 < int(lines) <= 10_000):
            raise Refused(400, f"lines={lines[:20]}: write a number between 1 and 10000")
        said = site.desk.output(pipeline, environment=request.args.get("environment", ""), lines=int(lines))
        return Response((f"{text}\n" for text in said), mimetype="text/plain")

    @api.get("/api/doctor")
    def doctor() -> ResponseReturnValue:
        bearer(site, "viewer")
        return {"checks": site.desk.doctor()}

    @api.post("/api/doctor")
    def fix() -> ResponseReturnValue:
        by = bearer(site, "maintainer")
        return {"mended": list(site.desk.fix(by)), "checks": site.desk.doctor()}

    @api.post("/api/plan")
    def plan() -> ResponseReturnValue:
        bearer(site, "viewer")
        return site.desk.plan(_fields(site, {"config": str}, required=("config",))["config"])


def after_of(text: str) -> str:
    """The id of an event, as it was given with it. Raises Refused (400)."""
    if not re.fullmatch(r"[0-9]{1,20}(-[0-9]{1,20})?", text):
        raise Refused(
            400, f"after={text[:40]!r} is not the id of an event", advice="Write 0 for all of them."
        )
    return text


def log_of(site: Site, pipeline: str, number: str) -> Response:
    """The kept log as plain text, streamed."""
    run = site.desk.run(pipeline, number_of(site, pipeline, number))
    kept = site.desk.log(pipeline, run.number, request.args.get("stage", ""))
    return Response((f"{text.rstrip()}\n" for text in kept), mimetype="text/plain")


def _events(site: Site, run: Run, after: str) -> Iterator[str]:
    yield "\n"  # sends the head at once, before anything happens
    try:
        for item in site.desk.follow(run.pipeline, run.number, after):
            if item is None:
                yield "\n"
                continue
            event = {"id": item[0], "event": codec.plain(item[1]), "lines": telling.lines(item[1])}
            yield json.dumps(event, ensure_ascii=False) + "\n"
        now = site.desk.run(run.pipeline, run.number)
        yield json.dumps({"end": {"state": now.state, "outcome": now.outcome, "gate": now.gate}}) + "\n"
    except PushliveError as error:  # the status has been sent already
        yield json.dumps({"error": error.message, "advice": error.advice}) + "\n"


def _acting(api: Blueprint, site: Site) -> None:
    desk = site.desk

    @api.post("/api/pipelines/<pipeline>/deploy")
    def deploy(pipeline: str) -> ResponseReturnValue:
        by = bearer(site, "developer")
        wanted = _fields(site, {"commit": str, "release": int, "config": str, "rebuild": bool})
        return _run(desk.deploy(pipeline, by, **wanted))

    @api.post("/api/pipelines/<pipeline>/revert")
    def revert(pipeline: str) -> ResponseReturnValue:
        by = bearer(site, "developer")
        return _run(
            desk.revert(pipeline, by, **_fields(site, {"environment": str, "to": int, "reason": str}))
        )

    @api.post("/api/pipelines/<pipeline>/promote")
    def promote(pipeline: str) -> ResponseReturnValue:
        by = bearer(site, "developer")
        return _run(
            desk.promote(pipeline, by, **_fields(site, {"run": int, "environment": str, "release": int}))
        )

    @api.post("/api/pipelines/<pipeline>/hold")
    def hold(pipeline: str) -> ResponseReturnValue:
        by = bearer(site, "developer")
        return _said(desk.hold(pipeline, by, **_fields(site, {"environment": str, "reason": str})))

    @api.post("/api/pipelines/<pipeline>/resume")
    def resume(pipeline: str) -> ResponseReturnValue:
        by = bearer(site, "developer")
        return _said(desk.resume(pipeline, by, **_fields(site, {"environment": str})))

    @api.post("/api/pipelines/<pipeline>/unquarantine")
    def unquarantine(pipeline: str) -> ResponseReturnValue:
        by = bearer(site, "maintainer")
        wanted = _fields(site, {"release": int, "environment": str}, required=("release",))
        return _said(desk.unquarantine(pipeline, by, **wanted))

    @api.post("/api/runs/<pipeline>/<number>/cancel")
    def cancel(pipeline: str, number: str) -> ResponseReturnValue:
        by = bearer(site, "developer")
        return _run(desk.cancel(pipeline, number_of(site, pipeline, number), by))

    @api.post("/api/runs/<pipeline>/<number>/retry")
    def retry(pipeline: str, number: str) -> ResponseReturnValue:
        by = bearer(site, "developer")
        return _run(desk.retry(pipeline, number_of(site, pipeline, number), by))


def _keeping(api: Blueprint, site: Site) -> None:
    @api.get("/healthz")
    def healthz() -> ResponseReturnValue:
        healthy = site.desk.healthy()
        return {"ok": healthy}, 200 if healthy else 503

    @api.post("/api/gc")
    def gc() -> ResponseReturnValue:
        return _said(site.desk.gc(bearer(site, "maintainer")))

    @api.get("/api/audit")
    def audit() -> ResponseReturnValue:
        bearer(site, "maintainer")
        return {"entries": site.desk.audit_log(request.args.get("pipeline", ""), _limit())}

    @api.get("/api/audit/verify")
    def verify() -> ResponseReturnValue:
        bearer(site, "maintainer")
        report = site.desk.verify_audit(request.args.get("head", ""))
        newest = {"number": report.newest.number, "hash": report.newest.hash}
        return {"ok": not report.problems, "entries": report.entries, **newest, "problems": report.problems}

    @api.get("/api/tokens")
    def tokens() -> ResponseReturnValue:
        bearer(site, "maintainer")
        return {"tokens": site.desk.tokens()}

    @api.post("/api/tokens")
    def create_token() -> ResponseReturnValue:
        by = bearer(site, "maintainer")
        wanted = _fields(site, {"name": str, "role": str, "expires": str}, required=("name", "role"))
        lasts = _lasts(wanted.pop("expires", DEFAULT_LIFE))
        if wanted["role"] not in ROLES:
            raise Refused(400, f"no such role: {wanted['role'][:40]!r}", advice=f"Roles: {', '.join(ROLES)}.")
        return {**wanted, "token": site.desk.create_token(**wanted, by=by, lasts=lasts), "lasts": lasts}, 201

    @api.delete("/api/tokens/<name>")
    def revoke_token(name: str) -> ResponseReturnValue:
        site.desk.revoke_token(name, bearer(site, "maintainer"))
        return _said((f"the token {name!r} is revoked",))


def _secrets(api: Blueprint, site: Site) -> None:
    """Values go in and never come out."""

    @api.get("/api/pipelines/<pipeline>/secrets")
    def secrets(pipeline: str) -> ResponseReturnValue:
        bearer(site, "viewer")
        return {"secrets": site.desk.secrets(pipeline)}

    @api.get("/api/pipelines/<pipeline>/secrets/<name>")
    def secret(pipeline: str, name: str) -> ResponseReturnValue:
        bearer(site, "viewer")
        return {"secrets": site.desk.secret(pipeline, name, request.args.get("environment", ""))}

    @api.put("/api/pipelines/<pipeline>/secrets/<name>")
    def set_secret(pipeline: str, name: str) -> ResponseReturnValue:
        by = bearer(site, "maintainer")
        wanted = _fields(site, {"value": str, "environment": str}, required=("value",))
        value, environment = Secret(wanted["value"]), wanted.get("environment", "")
        return site.desk.set_secret(pipeline, by, name, value, environment=environment), 201

    @api.delete("/api/pipelines/<pipeline>/secrets/<name>")
    def remove_secret(pipeline: str, name: str) -> ResponseReturnValue:
        by = bearer(site, "maintainer")
        version = request.args.get("version", "")
        if version and not _digits(version):
            raise Refused(400, "version= must be a number")
        environment = request.args.get("environment", "")
        number = int(version) if version else None
        return _said(site.desk.remove_secret(pipeline, by, name, environment=environment, version=number))


def _lasts(text: str) -> float:
    """Seconds from ``90d``; 0 for ``never``. Raises Refused (400)."""
    if text == "never":
        return 0.0
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise Refused(400, f"expires: {error}", advice="Write e.g. 90d, or never.") from error
    if not 1 <= seconds <= LONGEST_LIFE:
        raise Refused(400, f"expires={text[:40]!r}: from a second to ten years", advice="Or write never.")
    return seconds


def _run(run: Run) -> ResponseReturnValue:
    return {"run": run.id}, 202


def _said(messages: tuple[str, ...]) -> ResponseReturnValue:
    return {"messages": list(messages)}


def _fields(site: Site, kinds: dict[str, type], required: tuple[str, ...] = ()) -> dict[str, Any]:
    """The JSON body's fields, each of its kind; null is as good as absent. Raises Refused (400, 413, 408)."""
    values = {name: value for name, value in _object(site).items() if value is not None}
    wrong = [f"unknown field {name[:40]!r}" for name in values if name not in kinds]
    wrong += [
        f"{name!r} must be {kind.__name__}"
        for name, kind in kinds.items()
        if name in values and type(values[name]) is not kind
    ]
    wrong += [f"{name!r} is missing" for name in required if name not in values]
    if wrong:
        raise Refused(400, "; ".join(wrong), advice=f"Known fields: {', '.join(kinds) or 'none'}.")
    return values


def _object(site: Site) -> dict[str, Any]:
    try:
        with received(request, BODY_LIMIT, site.deadlines) as body:
            raw = body.read()
        value = json.loads(raw or b"{}")
    except TooLarge as error:
        raise Refused(413, f"the body is larger than {BODY_LIMIT} bytes") from error
    except Incomplete as error:
        raise Refused(408, "the body did not come in time, or broke off") from error
    except (ValueError, RecursionError) as error:
        raise Refused(400, "the body is not JSON") from error
    if not isinstance(value, dict):
        raise Refused(400, "the JSON is not an object")
    return value
