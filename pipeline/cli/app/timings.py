"""``pushlive timings``: how fast and how well a pipeline has been for some time."""

from __future__ import annotations

from typing import Any

from pipeline.cli.command import JSON, PIPELINE, argument, command, time_span
from pipeline.cli.context import DONE, Context, pipeline_name
from pipeline.cli.terminal import Cell, Paint, cleaned, table
from pipeline.lib.units import show_duration, show_rate, write_duration

DAY = 86400.0


@command(
    "show how long stages and steps take, and how often and how well a pipeline deploys",
    PIPELINE,
    argument(
        "--since", type=time_span, default=30 * DAY, metavar="DURATION", help="of so much time (default: 30d)"
    ),
    JSON,
)
def timings(context: Context) -> int:
    name = context.pipeline(pipeline_name(context.args.pipeline))
    answer = context.ask("GET", f"/api/pipelines/{name}/timings?seconds={int(context.args.since)}")
    if context.json:
        context.print_json(answer)
        return DONE
    terminal = context.terminal
    terminal.data(*timing_lines(cleaned(answer), terminal.paint, terminal.width))
    return DONE


def timing_lines(answer: dict[str, Any], paint: Paint, width: int) -> list[str]:
    time = write_duration(round(answer["seconds"]))
    title = f"{paint(answer['pipeline'], 'bold')}  {answer['runs']} runs in {time}"
    if not answer["runs"]:
        return [title]
    title += ": " + " · ".join(f"{count} {name}" for name, count in answer["outcomes"].items())
    lines = [title]
    if deploy := answer["deploy"]:
        share = 100 * answer["within"] / deploy["runs"]
        lines.append(
            f"  {answer['within']} of {deploy['runs']} within the budget of {show_duration(answer['budget'])}"
            f" ({share:.0f} %), from image ready to live"
        )
    rows = [_row("", "image ready → live", deploy, "bold")] if deploy else []
    rows += [_row(*_names(one), one, "dim" if one["step"] else "bold") for one in answer["steps"]]
    if rows:
        lines += table(
            ("  ", "", "median", "95 %", "runs"), rows, paint, width=width, flexible=1, right=(2, 3, 4)
        )
    for one in answer["slower"]:
        times = f"{show_duration(one['before'])} → {show_duration(one['after'])}"
        text = f"  ! {one['stage']}/{one['step']} has become slower: {times} (medians of the first and the second half)"
        lines.append(paint(text, "yellow"))
    for one in answer.get("growing") or ():
        text = f"  ↗ {_path(one)} grows by {show_duration(one['per_week'])} a week, now {show_duration(one['level'])}"
        lines.append(paint(text, "dim"))
    lines += [paint(f"  ! {one['text']}", "yellow bold") for one in answer.get("forecasts") or ()]
    return [*lines, *_dora(answer)]


def _names(one: dict[str, Any]) -> tuple[str, str]:
    return ("" if one["step"] else str(one["stage"])), str(one["step"])


def _path(one: dict[str, Any]) -> str:
    return f"{one['stage']}/{one['step']}" if one["step"] else str(one["stage"])


def _row(stage: str, step: str, spread: dict[str, Any], style: str) -> tuple[Cell, ...]:
    median, most = show_duration(spread["p50"]), show_duration(spread["p95"])
    return (f"  {stage}", style), (step, style), (median, style), (most, style), (str(spread["runs"]), "dim")


def _dora(answer: dict[str, Any]) -> list[str]:
    """Four figures by which teams are compared (DORA)."""
    count = answer["deployments"]
    lines = [f"  deployments          {count}, {show_rate(count, answer['seconds'])}"]
    if lead := answer["lead"]:
        lines.append(f"  from push to live    {_spread(lead)}")
    if count:
        lines.append(
            f"  reverted             {answer['reverted']} of {count} ({100 * answer['reverted'] / count:.0f} %)"
        )
    if restored := answer["restored"]:
        lines.append(f"  until the revert     {_spread(restored)}")
    return lines


def _spread(one: dict[str, Any]) -> str:
    return f"median {show_duration(one['p50'])}, 95 % within {show_duration(one['p95'])}"
