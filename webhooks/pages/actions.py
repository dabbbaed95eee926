"""The buttons: each asks for a confirmation, then acts."""

from __future__ import annotations

from flask import Blueprint, redirect, request, url_for
from flask.typing import ResponseReturnValue

from webhooks.api.parameters import run_number
from webhooks.context import WebContext
from webhooks.pages import confirm
from webhooks.pages.render import page, read_form
from webhooks.security.sessions import acting, logged_in


def add_routes(pages: Blueprint, web: WebContext) -> None:
    service = web.service

    @pages.get("/environments/<pipeline>/<name>/<any('revert', 'hold', 'resume'):act>")
    def ask_environment(pipeline: str, name: str, act: str) -> ResponseReturnValue:
        who = logged_in(web)
        asked = confirm.on_environment(pipeline, confirm.environment_of(service, pipeline, name), act)
        return page("confirm.html", who, asked=asked, back=url_for("pages.status"))

    @pages.post("/environments/<pipeline>/<name>/<any('revert', 'hold', 'resume'):act>")
    def do_environment(pipeline: str, name: str, act: str) -> ResponseReturnValue:
        read_form()
        who = acting(web)
        return _to(confirm.perform_on_environment(service, pipeline, name, act, who, request.form))

    @pages.get("/environments/<pipeline>/<name>/<any('freeze', 'thaw'):change>")
    def ask_freeze(pipeline: str, name: str, change: str) -> ResponseReturnValue:
        who = logged_in(web)
        asked = confirm.on_freeze(pipeline, confirm.environment_of(service, pipeline, name), change)
        return page("confirm.html", who, needs="maintainer", asked=asked, back=url_for("pages.status"))

    @pages.post("/environments/<pipeline>/<name>/<any('freeze', 'thaw'):change>")
    def do_freeze(pipeline: str, name: str, change: str) -> ResponseReturnValue:
        read_form()
        who = acting(web, "maintainer")
        confirm.perform_on_freeze(service, pipeline, name, change, who, request.form)
        return _to("")

    @pages.get("/environments/<pipeline>/<name>/quarantine/<number>")
    def ask_quarantine(pipeline: str, name: str, number: str) -> ResponseReturnValue:
        who = logged_in(web)
        asked = confirm.on_quarantine(pipeline, confirm.environment_of(service, pipeline, name), number)
        return page("confirm.html", who, needs="maintainer", asked=asked, back=url_for("pages.status"))

    @pages.post("/environments/<pipeline>/<name>/quarantine/<number>")
    def do_quarantine(pipeline: str, name: str, number: str) -> ResponseReturnValue:
        read_form()
        who = acting(web, "maintainer")
        confirm.perform_on_quarantine(service, pipeline, name, number, who, request.form)
        return _to("")

    @pages.get("/runs/<pipeline>/<number>/<any('promote', 'cancel', 'retry'):act>")
    def ask_run(pipeline: str, number: str, act: str) -> ResponseReturnValue:
        who = logged_in(web)
        run = service.show(pipeline, run_number(web, pipeline, number))["run"]
        back = url_for("pages.run", pipeline=pipeline, number=number)
        return page("confirm.html", who, asked=confirm.on_run(run, act), back=back)

    @pages.post("/runs/<pipeline>/<number>/<any('promote', 'cancel', 'retry'):act>")
    def do_run(pipeline: str, number: str, act: str) -> ResponseReturnValue:
        read_form()
        who = acting(web)
        run = service.show(pipeline, run_number(web, pipeline, number))["run"]
        return _to(confirm.perform_on_run(service, run, act, who, request.form))


def _to(run: str) -> ResponseReturnValue:
    """Redirects to that run (``hello#44``), or to the status page if it is ""."""
    pipeline, _, number = run.partition("#")
    to = url_for("pages.run", pipeline=pipeline, number=number) if number else url_for("pages.status")
    return redirect(to, 303)
