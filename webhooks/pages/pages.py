"""The pages: status, runs, one run; buttons with a confirming step. They work without JavaScript."""

from __future__ import annotations

from collections import deque
from datetime import timedelta
from io import BytesIO
from typing import Any

from flask import Blueprint, Response, redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue

from pipeline.lib.text import printable
from pipeline.lib.units import show_duration
from webhooks import sse
from webhooks.answers import Refused, held
from webhooks.api import after_of, log_of, number_of
from webhooks.pages import confirm, view
from webhooks.pages.confirm import Confirm
from webhooks.security.auth import may
from webhooks.security.limits import Incomplete, TooLarge, received
from webhooks.security.sessions import LOGIN_HOURS, LoginNeeded, acting, check_origin, log_in, person
from webhooks.site import Site

FORM_LIMIT = 16 << 10  # bytes
LOG_LINES = 2000  # on the page; the whole log is one click away


def blueprint(site: Site) -> Blueprint:
    pages = Blueprint("pages", __name__)
    pages.add_app_template_filter(view.age, "age")
    pages.add_app_template_filter(view.moment, "moment")
    pages.add_app_template_filter(show_duration, "duration")
    pages.add_app_template_filter(view.badge, "badge")
    pages.record(lambda state: setattr(state.app, "permanent_session_lifetime", timedelta(hours=LOGIN_HOURS)))
    _door(pages, site)
    _looking(pages, site)
    _pressing(pages, site)
    return pages


def problem(message: str, advice: str, status: int, retry_after: str = "") -> Response:
    """An error as a page."""
    response = Response(render_template("problem.html", message=message, advice=advice), status)
    if retry_after:
        response.headers["Retry-After"] = retry_after
    return response


def _door(pages: Blueprint, site: Site) -> None:
    @pages.app_errorhandler(LoginNeeded)
    def login_needed(_error: LoginNeeded) -> ResponseReturnValue:
        if request.accept_mimetypes.best == "text/event-stream":
            return "log in again\n", 401
        back = request.full_path.rstrip("?") if request.method == "GET" else "/"
        return redirect(url_for("pages.login", back=back) if back != "/" else url_for("pages.login"))

    @pages.get("/login")
    def login() -> ResponseReturnValue:
        return render_template("login.html", back=_inside(request.args.get("back", "")))

    @pages.post("/login")
    def enter() -> ResponseReturnValue:
        _small_form(site)
        check_origin(site)
        back = _inside(request.form.get("back", ""))
        try:
            log_in(site, request.form.get("token", ""))
        except Refused as error:
            answer = Response(render_template("login.html", wrong=error, back=back), error.status)
            if error.retry_after:
                answer.headers["Retry-After"] = str(error.retry_after)
            return answer
        return redirect(back)

    @pages.post("/logout")
    def leave() -> ResponseReturnValue:
        _small_form(site)
        acting(site, "viewer")
        session.clear()
        return redirect(url_for("pages.login"))


def _inside(back: str) -> str:
    """A path of our own, never another site's address."""
    # A browser drops tabs and newlines, and takes a backslash for a slash.
    safe = back.startswith("/") and back.isprintable() and not back.startswith(("//", "/\\"))
    return back if safe else "/"


def _looking(pages: Blueprint, site: Site) -> None:
    @pages.get("/")
    def status() -> ResponseReturnValue:
        who = person(site)
        return _page(site, "status.html", who, status=site.desk.status())

    @pages.get("/runs")
    @pages.get("/runs/<pipeline>")
    def runs(pipeline: str = "") -> ResponseReturnValue:
        who = person(site)
        return _page(site, "runs.html", who, pipeline=pipeline, runs=site.desk.runs(pipeline, 100))

    @pages.get("/runs/<pipeline>/<number>")
    def run(pipeline: str, number: str) -> ResponseReturnValue:
        who = person(site)
        shown = site.desk.show(pipeline, number_of(site, pipeline, number))
        return _page(site, "run.html", who, **_run_page(site, shown))

    @pages.get("/runs/<pipeline>/<number>/events")
    def events(pipeline: str, number: str) -> ResponseReturnValue:
        person(site)
        found = site.desk.run(pipeline, number_of(site, pipeline, number))
        after = after_of(request.headers.get("Last-Event-ID") or request.args.get("after", "0"))
        stream = sse.stream(site.desk, found, after)
        response = Response(stream, mimetype="text/event-stream", headers={"X-Accel-Buffering": "no"})
        return held(response, site.streams, "runs are watched")

    @pages.get("/runs/<pipeline>/<number>/log")
    def log(pipeline: str, number: str) -> ResponseReturnValue:
        person(site)
        return log_of(site, pipeline, number)


def _run_page(site: Site, shown: dict[str, Any]) -> dict[str, Any]:
    run = shown["run"]
    ended = run["state"] == "ended"
    kept = deque(site.desk.log(run["pipeline"], run["number"]), LOG_LINES) if ended else ()
    return {
        "run": run,
        "release": shown.get("release"),
        "stages": view.stages(run),
        "meters": view.meters(shown["timing"]),
        "timing": shown["timing"],
        "ended": ended,
        "log": [printable(text.rstrip("\n")) for text in kept],
    }


def _pressing(pages: Blueprint, site: Site) -> None:
    @pages.get("/environments/<pipeline>/<name>/<any('revert', 'hold', 'resume'):act>")
    def ask_environment(pipeline: str, name: str, act: str) -> ResponseReturnValue:
        who = person(site)
        found = confirm.environment_of(site.desk, pipeline, name)
        return _ask(site, who, confirm.on_environment(pipeline, found, act), url_for("pages.status"))

    @pages.post("/environments/<pipeline>/<name>/<any('revert', 'hold', 'resume'):act>")
    def do_environment(pipeline: str, name: str, act: str) -> ResponseReturnValue:
        _small_form(site)
        who = acting(site)
        run = confirm.perform_on_environment(site.desk, pipeline, name, act, who, request.form)
        return _go(run)

    @pages.get("/runs/<pipeline>/<number>/<any('promote', 'cancel', 'retry'):act>")
    def ask_run(pipeline: str, number: str, act: str) -> ResponseReturnValue:
        who = person(site)
        run = site.desk.show(pipeline, number_of(site, pipeline, number))["run"]
        back = url_for("pages.run", pipeline=pipeline, number=number)
        return _ask(site, who, confirm.on_run(run, act), back)

    @pages.post("/runs/<pipeline>/<number>/<any('promote', 'cancel', 'retry'):act>")
    def do_run(pipeline: str, number: str, act: str) -> ResponseReturnValue:
        _small_form(site)
        who = acting(site)
        run = site.desk.show(pipeline, number_of(site, pipeline, number))["run"]
        return _go(confirm.perform_on_run(site.desk, run, act, who, request.form))


def _ask(site: Site, who: Any, asked: Confirm, back: str) -> ResponseReturnValue:
    return _page(site, "confirm.html", who, asked=asked, back=back)


def _go(run: str) -> ResponseReturnValue:
    """To the run that was made (``hello#44``), or to the status page."""
    pipeline, _, number = run.partition("#")
    to = url_for("pages.run", pipeline=pipeline, number=number) if number else url_for("pages.status")
    return redirect(to, 303)


def _page(site: Site, template: str, who: Any, **values: Any) -> str:
    acts = may(who, "developer")
    return render_template(template, who=who, csrf=session.get("csrf", ""), acts=acts, site=site, **values)


def _small_form(site: Site) -> None:
    """Reads the form now, bounded in size and time, before anything looks at it. Raises Refused."""
    try:
        with received(request, FORM_LIMIT, site.deadlines) as body:
            raw = body.read()
    except (TooLarge, Incomplete) as error:
        raise Refused(413, "this form is too large, or did not come in time") from error
    request.environ["wsgi.input"] = BytesIO(raw)  # for request.form, which is made of it on first use
