"""The pages for people: status, runs, one run, and buttons with a confirmation. They work without JavaScript."""

from __future__ import annotations

from flask import Blueprint

from pipeline.lib.units import show_duration, show_rate, show_time
from pipeline.runlog.failure_card import whose
from webhooks.context import WebContext
from webhooks.pages import actions, costs, login, reading, view


def blueprint(web: WebContext) -> Blueprint:
    pages = Blueprint("pages", __name__)
    pages.add_app_template_filter(view.age, "age")
    pages.add_app_template_filter(view.moment, "moment")
    pages.add_app_template_filter(show_duration, "duration")
    pages.add_app_template_filter(view.badge, "badge")
    pages.add_app_template_filter(view.coded, "coded")
    pages.add_app_template_filter(view.heading, "heading")
    for rule in (view.approved_by, view.promotable_by, view.promote_word):
        pages.add_app_template_filter(rule, rule.__name__)
    pages.add_app_template_filter(show_rate, "often")
    pages.add_app_template_filter(whose, "whose")
    pages.add_app_template_filter(costs.money, "money")
    pages.add_app_template_filter(show_time, "shown_time")
    for group in (login, reading, costs, actions):
        group.add_routes(pages, web)
    return pages
