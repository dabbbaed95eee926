"""``pushlive cron``: the last runs of processes with a schedule."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from pipeline.cli.command import ENV, JSON, PIPELINE, command
from pipeline.cli.context import DONE, Context, pipeline_name
from pipeline.cli.terminal import Cell, Paint, cleaned, table
from pipeline.lib.units import show_duration, show_time

SHOWN = 5  # lines of output of a run that failed
_STYLES = {"ok": "green", "skipped": "yellow", "replaced": "yellow"}


@command("show the last runs of processes with a schedule", PIPELINE, ENV, JSON)
def cron(context: Context) -> int:
    name = context.pipeline(pipeline_name(context.args.pipeline))
    answer = context.ask("GET", f"/api/pipelines/{name}/cron?environment={quote(context.args.env)}")
    if context.json:
        context.print_json(answer)
        return DONE
    terminal = context.terminal
    for one in cleaned(answer)["processes"]:
        terminal.data(*process_lines(one, terminal.paint, terminal.width))
    if not answer["processes"]:
        where = f" in {context.args.env}" if context.args.env else ""
        terminal.data(f"{name} has no process with a schedule{where}; `cron` in pipelines.yaml sets one.")
    return DONE


def process_lines(one: dict[str, Any], paint: Paint, width: int) -> list[str]:
    title = f"{one['environment']} {paint(one['process'], 'bold')}"
    if one["cron"]:
        title += f"  {one['cron']} {one['zone']}"
    title += f" · next {show_time(one['next'])}" if one["next"] else " · not scheduled any more"
    lines = [title]
    if running := one["running"]:
        lines.append(f"  at work since {show_time(running['started'] or running['at'])}")
    if one["waiting"]:
        lines.append(f"  the run of {show_time(one['waiting'])} waits for it")
    rows = [_row(run) for run in one["runs"]]
    shown = table(("  due", "", "exit", "took", "release", ""), rows, paint, width=width, flexible=5)
    newest = len(shown) - len(rows) + 1  # its output belongs below its own line
    output = one["runs"][0]["output"] if one["runs"] and one["runs"][0]["outcome"] not in _STYLES else []
    said = [paint(f"    {line}", "dim") for line in output[-SHOWN:]]
    return [*lines, *shown[:newest], *said, *shown[newest:]]


def _row(run: dict[str, Any]) -> tuple[Cell, ...]:
    outcome, code = run["outcome"], run["exit_code"]
    seconds = run["ended"] - run["started"] if run["started"] else None
    times = f"{run['count']} times · " if run["count"] > 1 else ""
    return (
        f"  {show_time(run['at'])}",
        (outcome, _STYLES.get(outcome, "red")),
        "" if code is None else str(code),
        show_duration(seconds) if seconds is not None else "",
        f"r{run['release']}" if run["release"] else "",
        times + (run["said"] or next(iter(run["output"][-1:]), "")),
    )
