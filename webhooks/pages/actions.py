"""The buttons: each asks for a confirmation, then acts."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from flask import Blueprint, redirect, request, url_for
from flask.typing import ResponseReturnValue

from pipeline.domain.audit_chain import Actor
from webhooks.api.parameters import run_number
from webhooks.context import WebContext
from webhooks.pages.acts import environments, freezes, previews, runs
from webhooks.pages.acts.confirm import Confirm
from webhooks.pages.render import page, read_form
from webhooks.security.sessions import acting, logged_in

Asks = Callable[..., Confirm]  # the service, who asks, and the parts of the path


class Buttons(NamedTuple):
    """Buttons of one kind. ``needs``: the lowest role that may press them; ``asks``: what one of them will do, as
    things are now."""

    endpoint: str
    rule: str
    needs: str
    asks: Asks


ALL = (
    Buttons(
        "act_on_environment",
        "/environments/<pipeline>/<name>/<any('revert', 'hold', 'resume'):act>",
        "developer",
        environments.on_environment,
    ),
    Buttons(
        "quarantine",
        "/environments/<pipeline>/<name>/quarantine/<number>",
        "maintainer",
        environments.on_quarantine,
    ),
    Buttons(
        "freeze",
        "/environments/<pipeline>/<name>/<any('freeze', 'thaw'):change>",
        "maintainer",
        freezes.on_freeze,
    ),
    Buttons(
        "freeze_pipeline",
        "/pipelines/<pipeline>/<any('freeze', 'thaw'):change>",
        "maintainer",
        freezes.on_all,
    ),
    Buttons(
        "act_on_preview",
        "/previews/<name>/<any('allow', 'remove'):act>",
        "developer",
        previews.on_preview,
    ),
    Buttons("freeze_all", "/<any('freeze', 'thaw'):change>", "maintainer", freezes.on_all),
)
ON_RUN = "/runs/<pipeline>/<number>/<any('promote', 'withdraw', 'cancel', 'retry'):act>"


def add_routes(pages: Blueprint, web: WebContext) -> None:
    def on_run(who: Actor, pipeline: str, number: str, act: str) -> Confirm:
        run = web.service.show(pipeline, run_number(web, pipeline, number))["run"]
        return runs.on_run(web.service, who, run, act)

    def on(asks: Asks) -> Asks:
        return lambda who, **where: asks(web.service, who, **where)

    for one in ALL:
        _add(pages, web, one._replace(asks=on(one.asks)))
    _add(pages, web, Buttons("act_on_run", ON_RUN, "developer", on_run))


def _add(pages: Blueprint, web: WebContext, buttons: Buttons) -> None:
    """The page that asks, and the form that it sends to the same path."""

    def ask(**where: str) -> ResponseReturnValue:
        who = logged_in(web)
        back = _to(f"{where['pipeline']}#{where['number']}" if buttons.endpoint == "act_on_run" else "")
        return page("confirm.html", who, needs=buttons.needs, asked=buttons.asks(who, **where), back=back)

    def do(**where: str) -> ResponseReturnValue:
        read_form()
        who = acting(web, buttons.needs)
        return redirect(_to(buttons.asks(who, **where).confirmed(who, request.form)), 303)

    pages.add_url_rule(buttons.rule, buttons.endpoint, ask, methods=["GET"])
    pages.add_url_rule(buttons.rule, f"{buttons.endpoint}_confirmed", do, methods=["POST"])


def _to(run: str) -> str:
    """The page of that run (``hello#44``), or the status page if it is ""."""
    pipeline, _, number = run.partition("#")
    return url_for("pages.run", pipeline=pipeline, number=number) if number else url_for("pages.status")
