"""``pushlive cost``: what a month has cost so far, by pipeline, environment and purpose."""

from __future__ import annotations

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
    sums = _sums(found["lines"])
    rows: list[tuple[Cell, ...]] = [
        (*key, _money(so_far), _money(end)) for key, (so_far, end) in sums.items()
    ]
    rows.append(("", "", "in all", _money(found["total"]), _money(found["projected"])))
    head = ("pipeline", "environment", "for", found["currency"], "by the end")
    terminal.data(*table(head, rows, terminal.paint, right=(3, 4), indent=""))
    began = (
        f", measured since {show_time(found['began'])}" if found["began"] else ", and nothing is measured yet"
    )
    terminal.say(
        f"{found['month']} ({found['zone']}){began}. "
        f"The machines cost {found['monthly']:.2f} {found['currency']} a month."
    )
    terminal.note(*(f"{one}." for one in found["missing"]))
    return DONE


def _money(amount: float) -> str:
    return "<0.01" if 0 < amount < 0.005 else f"{amount:.2f}"


def _sums(lines: list[dict[str, Any]]) -> dict[tuple[str, str, str], tuple[float, float]]:
    """The cost so far and by the end of the month, by pipeline, environment and purpose; those of no pipeline last."""
    found = dict[tuple[str, str, str], tuple[float, float]]()
    for one in sorted(lines, key=lambda one: not one["pipeline"]):
        key = (one["pipeline"], one["environment"], one["purpose"])
        so_far, end = found.get(key, (0.0, 0.0))
        found[key] = (so_far + one["cost"], end + one["projected"])
    return found
