"""``pushlive report``: a month of a pipeline, or of all, as one page."""

from __future__ import annotations

import sys
from argparse import ArgumentTypeError
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from pipeline.cli.app.backups import whole_file
from pipeline.cli.command import JSON, Given, argument, command
from pipeline.cli.context import DONE, Context, UsageError, pipeline_name
from pipeline.cli.terminal import cleaned
from pipeline.errors import RequestError
from pipeline.lib.units import show_duration, show_size


def _month(text: str) -> str:
    return _known(text, "UTC")


def _zone(text: str) -> str:
    _known("2026-01", text)
    return text


def _known(month: str, zone: str) -> str:
    """For ``type=``: a wrong one is wrong usage, with what to write."""
    from pipeline.domain.measuring.monthly import calendar

    try:
        return calendar.month(month, zone).name
    except RequestError as error:
        raise ArgumentTypeError(str(error).rstrip(".")) from None


MONTH = argument(
    "--month", type=_month, default=None, metavar="YYYY-MM", help="such as 2026-11 (default: this one)"
)
ZONE = argument(
    "--zone", type=_zone, default="UTC", metavar="ZONE", help="such as Europe/Berlin (default: UTC)"
)


def asked_month(context: Context) -> str:
    """The pipeline, the month and the zone that were typed, as a query."""
    name = pipeline_name(context.args.pipeline)
    asked = {"pipeline": name, "month": context.args.month, "zone": context.args.zone}
    return urlencode({key: value for key, value in asked.items() if value})


@command(
    "write a month as one page: what was deployed, how fast, what failed, and what to do about it",
    argument("pipeline", nargs="?", default="", help="default: every pipeline"),
    MONTH,
    ZONE,
    argument(
        "-o",
        "--output",
        action=Given,
        default="",
        metavar="FILE",
        help="default: pushlive-2026-11.html; - for standard output",
    ),
    JSON,
)
def report(context: Context) -> int:
    if context.json and context.args.output:
        raise UsageError(
            "--json prints the data, and --output writes the page.", advice="Give one of the two."
        )
    name, query = pipeline_name(context.args.pipeline), asked_month(context)
    page = f"/api/report.html?{query}"
    if context.args.output == "-":
        for piece in context.client.pieces(page):
            sys.stdout.buffer.write(piece)
        sys.stdout.flush()
        return DONE
    answer = context.ask("GET", f"/api/report?{query}")
    if context.json:
        context.print_json(answer)
        return DONE
    of = f"-{name}" if name else ""
    target = Path(context.args.output or f"pushlive{of}-{answer['month']}.html")
    with whole_file(target) as file:
        for piece in context.client.pieces(page):
            file.write(piece)
    terminal = context.terminal
    terminal.data(
        *[line for one in cleaned(answer["pipelines"]) for line in _summary(one, answer["currency"])]
    )
    terminal.say(f"{answer['month']} ({answer['zone']}) is in {target} ({show_size(target.stat().st_size)})")
    return DONE


def _summary(one: dict[str, Any], currency: str) -> list[str]:
    """One line of figures, and what to do about them."""
    runs = "1 run" if one["runs"] == 1 else f"{one['runs']} runs"
    parts = [runs, f"{one['dora']['deployments']} deployments"]
    if whole := one["whole"]:
        parts.append(
            f"push → live median {show_duration(whole['p50'])}, 95 % within {show_duration(whole['p95'])}"
        )
    if cost := one["cost"]:
        parts.append(f"{cost['total']:.2f} {currency}")
    return [f"{one['pipeline']}  {' · '.join(parts)}", *(f"  → {text}" for text in one["advice"])]
