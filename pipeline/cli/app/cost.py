"""``pushlive cost``: what a month has cost so far, by pipeline, environment and purpose."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from pipeline.cli.app.report import MONTH, ZONE, asked_month
from pipeline.cli.command import JSON, argument, command
from pipeline.cli.context import DONE, Context
from pipeline.cli.terminal import Cell, cleaned, table
from pipeline.lib.units import show_time


@command(
    "show what a month has cost so far, by pipeline, environment and purpose",
    argument("pipeline", nargs="?", default="", help="default: every pipeline"),
    MONTH,
    ZONE,
    JSON,
)
def cost(context: Context) -> int:
    answer = context.ask("GET", f"/api/cost?{asked_month(context)}")
    if context.json:
        context.print_json(answer)
        return DONE
    found = cleaned(answer)
    terminal = context.terminal
    if not found["machines"]:
        terminal.say(
            "No machine has a price, so nothing has a cost. Give this one its price by the month in pipelines.yaml:",
            "  costs: {currency: EUR, machines: {here: 12.50}}",
        )
        return DONE
    rows = [(*key, f"{cost:.2f}") for key, cost in _sums(found["lines"]).items()]
    whole: tuple[Cell, ...] = ("", "", "in all", f"{found['total']:.2f}")
    head = ("pipeline", "environment", "for", found["currency"])
    terminal.data(*table(head, [*rows, whole], terminal.paint, right=(3,), indent=""))
    began = (
        f", measured since {show_time(found['began'])}" if found["began"] else ", and nothing is measured yet"
    )
    terminal.say(
        f"{found['month']} ({found['zone']}){began}. "
        f"The machines cost {found['monthly']:.2f} {found['currency']} a month."
    )
    terminal.note(*(f"{one}." for one in found["missing"]))
    return DONE


def _sums(lines: list[dict[str, Any]]) -> dict[tuple[str, str, str], float]:
    """By pipeline, environment and purpose; those of no pipeline last."""
    found = defaultdict[tuple[str, str, str], float](float)
    for one in sorted(lines, key=lambda one: not one["pipeline"]):
        found[one["pipeline"], one["environment"], one["purpose"]] += one["cost"]
    return found
