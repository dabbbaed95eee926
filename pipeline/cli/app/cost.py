"""``pushlive cost``: what a month has cost so far, by pipeline, environment and purpose."""

from __future__ import annotations

import sys
from argparse import ArgumentTypeError
from typing import Any

from pipeline.cli.app.report import MONTH, ZONE, asked_month
from pipeline.cli.app.suggest import suggest
from pipeline.cli.command import JSON, argument, command, whole_number
from pipeline.cli.context import DONE, Context, UsageError
from pipeline.cli.terminal import Cell, cleaned, table
from pipeline.lib.units import show_time

MONTHS = 120  # of a history at most
ORDER = (
    "serving",
    "redundancy",
    "warm",
    "asleep",
    "deploying",
    "command",
    "system",
    "build",
    "storage",
    "traffic",
    "idle",
    "not measured",
)


def _months(text: str) -> int:
    found = whole_number(text)
    if not 1 <= found <= MONTHS:
        raise ArgumentTypeError(f"{text!r} is not a number of months from 1 to {MONTHS}")
    return found


@command(
    "show what a month has cost so far, by pipeline, environment and purpose",
    argument("pipeline", nargs="?", default="", help="default: every pipeline"),
    MONTH,
    ZONE,
    argument(
        "--history",
        type=_months,
        nargs="?",
        const=12,
        default=0,
        metavar="MONTHS",
        help="a row for each of the last months (12)",
    ),
    argument("--csv", action="store_true", help="each account and day, in the columns of FOCUS 1.2"),
    argument("--suggest", action="store_true", help="what could be smaller, as a diff of pipelines.yaml"),
    argument("--apply", action="store_true", help="write that into pipelines.yaml, and deploy it"),
    argument(
        "--without-redundancy", action="store_true", help="suggest less than the loss of one needs, too"
    ),
    argument("--yes", action="store_true", help="apply without being asked"),
    JSON,
)
def cost(context: Context) -> int:
    _refuse_both(context)
    if context.args.suggest or context.args.apply:
        return suggest(context)
    if context.args.csv:
        for piece in context.client.pieces(f"/api/cost.csv?{asked_month(context)}"):
            sys.stdout.buffer.write(piece)
        sys.stdout.flush()
        return DONE
    if context.args.history:
        return _history(context)
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
            *_of_replicas(found),
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
    terminal.say(*(terminal.paint(*_cap(one)) for one in found.get("caps") or ()))
    terminal.say(*_of_replicas(found))
    terminal.note(*(f"{one}." for one in found["missing"]))
    return DONE


def _refuse_both(context: Context) -> None:
    args = context.args
    asked = args.suggest or args.apply
    if asked and (args.csv or args.history or args.month):
        raise UsageError(
            "--suggest is about the last week, and goes with none of --csv, --history and --month.",
            advice="Ask for each by itself.",
        )
    if (args.yes and not args.apply) or (args.without_redundancy and not asked):
        raise UsageError("--yes is for --apply, and --without-redundancy for --suggest.", advice="Add it.")
    if args.history and args.month:
        raise UsageError("--history is of many months, and --month of one.", advice="Give one of the two.")
    if args.csv and (args.history or context.json):
        other = "--history" if args.history else "--json"
        raise UsageError(f"--csv and {other} are two ways to print it.", advice="Give one of the two.")


def _history(context: Context) -> int:
    """A row for each month, a column for each purpose that any of them has."""
    query = f"months={context.args.history}&{asked_month(context)}"
    answer = context.ask("GET", f"/api/cost/history?{query}")
    if context.json:
        context.print_json(answer)
        return DONE
    found, terminal = cleaned(answer), context.terminal
    months = found["months"]
    if not any(one["purposes"] for one in months):
        terminal.say("Nothing has a cost yet. `pushlive cost` says what is missing.")
        return DONE
    known = {key for one in months for key in one["purposes"]}
    purposes = [key for key in ORDER if key in known] + sorted(known - {*ORDER})
    rows: list[tuple[Cell, ...]] = [
        (one["month"], *(_money(one["purposes"].get(key, 0.0)) for key in purposes), _money(one["total"]))
        for one in months
    ]
    head = ("month", *purposes, found["currency"])
    right = tuple(range(1, len(head)))
    terminal.data(*table(head, rows, terminal.paint, right=right, indent=""))
    terminal.say(f"{found['zone']}, measured since {show_time(found['began'])}.")
    return DONE


def _cap(one: dict[str, Any]) -> tuple[str, str]:
    text = str(one["text"])
    return f"{text[0].upper()}{text[1:]}.", {"over": "red", "near": "yellow"}.get(one["level"], "")


def _of_replicas(found: dict[str, Any]) -> list[str]:
    """What those are for of which there are more than needed, or too few."""
    return [one["text"] for one in found["replicas"] if one["text"]]


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
