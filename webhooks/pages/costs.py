"""The page of what a month has cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flask import Blueprint, request
from flask.typing import ResponseReturnValue

from webhooks.context import WebContext
from webhooks.pages.render import page
from webhooks.security.sessions import logged_in

MONTHS = 12  # beside the one that is shown


@dataclass(frozen=True)
class Row:
    """``whole``: a pipeline's sum; ``cost``, ``projected``: money; ``part``, ``most``: what they are of the largest
    row, in per cent. ``name``: "" for what belongs to no pipeline."""

    name: str
    whole: bool
    cost: float
    projected: float
    part: float
    most: float


def add_routes(pages: Blueprint, web: WebContext) -> None:
    @pages.get("/cost")
    def cost() -> ResponseReturnValue:
        who, given = logged_in(web), request.args
        zone = given.get("zone", "UTC")
        found = web.service.cost("", month=given.get("month", ""), zone=zone)
        past = web.service.cost_history("", months=MONTHS, zone=zone)["months"]
        most = max((one["total"] for one in past), default=0.0) or 1.0
        bars = [{**one, "part": 100 * one["total"] / most} for one in reversed(past)]
        return page(
            "cost.html", who, cost=found, rows=rows(found["lines"]), months=bars, zone=given.get("zone")
        )


def rows(lines: list[dict[str, Any]]) -> list[Row]:
    """A row for each pipeline, with one for each environment and purpose below it; what belongs to no pipeline last."""
    sums, parts = dict[str, list[float]](), dict[str, dict[str, list[float]]]()
    for one in sorted(lines, key=lambda one: not one["pipeline"]):
        of = one["pipeline"]
        name = f"{one['environment']} · {one['purpose']}" if of else one["purpose"]
        for place in (sums.setdefault(of, [0.0, 0.0]), parts.setdefault(of, {}).setdefault(name, [0.0, 0.0])):
            place[0] += one["cost"]
            place[1] += one["projected"]
    most = max((projected for _, projected in sums.values()), default=0.0) or 1.0

    def row(name: str, whole: bool, cost: float, projected: float) -> Row:
        return Row(name, whole, cost, projected, 100 * min(cost, projected) / most, 100 * projected / most)

    found = list[Row]()
    for of, (cost, projected) in sums.items():
        found.append(row(of or "No pipeline", True, cost, projected))
        found += [row(name, False, *of_part) for name, of_part in parts[of].items()]
    return found


def money(amount: float) -> str:
    """``0.05``; something is never shown as nothing."""
    return "<0.01" if 0 < amount < 0.005 else f"{amount:.2f}"
