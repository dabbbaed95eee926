"""``pushlive parity``: environments side by side, and what differs without a reason."""

from __future__ import annotations

from typing import Any

from pipeline.cli.command import JSON, PIPELINE, argument, command
from pipeline.cli.context import DONE, Context, pipeline_name
from pipeline.cli.terminal import Cell, Paint, cleaned, table

_STYLES = {"undeclared": "yellow bold", "declared": "", "inherent": "dim", "same": "dim"}


@command(
    "show what differs between the environments of a pipeline, by what is declared and what really runs",
    PIPELINE,
    argument(
        "--all",
        action="store_true",
        help="also the properties that are the same everywhere: the share is theirs, of all that could be the same",
    ),
    JSON,
)
def parity(context: Context) -> int:
    name = context.pipeline(pipeline_name(context.args.pipeline))
    answer = context.ask("GET", f"/api/pipelines/{name}/parity")
    if context.json:
        context.print_json(answer)
        return DONE
    terminal = context.terminal
    terminal.data(*parity_lines(cleaned(answer), terminal.paint, terminal.width, context.args.all))
    return DONE


def parity_lines(answer: dict[str, Any], paint: Paint, width: int, every: bool) -> list[str]:
    names = [one["environment"] for one in answer["environments"]]
    head = [f"{one['environment']}{_release(one)}" for one in answer["environments"]]
    chosen = [row for row in answer["rows"] if every or row["kind"] != "same"]
    lines = [
        f"{paint(answer['pipeline'], 'bold')}  {answer['same']} of {answer['of']} properties are the same in "
        f"{_all(len(names))} ({answer['percent']} %); {answer['declared']} differ with a reason, "
        f"{answer['undeclared']} without, {answer['inherent']} by nature"
    ]
    if chosen:
        lines += table(("property", *head, ""), [_row(one) for one in chosen], paint, width=width, flexible=1)
    lines += [paint(f"  {one}", "dim") for one in _reasons(chosen)]
    lines += [f"  {one}" for one in _later(chosen)]
    for one in answer["environments"]:
        lines += [paint(f"  ! {one['environment']}, by hand: {text}", "yellow") for text in one["by_hand"]]
        if one["problem"]:
            text = f"  ! {one['environment']} was not looked at: {one['problem']}"
            lines.append(paint(text, "yellow"))
    return [*lines, paint(f"  {answer['rule']}", "dim")]


def _all(count: int) -> str:
    return {1: "its environment", 2: "both environments"}.get(count, f"all {count} environments")


def _release(one: dict[str, Any]) -> str:
    return f" (r{one['release']})" if one["release"] is not None else " (nothing)"


def _row(row: dict[str, Any]) -> tuple[Cell, ...]:
    style = _STYLES[row["kind"]]
    cells = [
        (
            f"{cell['text']} *" if cell["made"] is not None else cell["text"],
            "yellow" if cell["made"] else style,
        )
        for cell in row["cells"]
    ]
    kind = "by hand" if row["by_hand"] else row["kind"]
    return (row["name"], style), *cells, (kind, style)


def _reasons(rows: list[dict[str, Any]]) -> list[str]:
    """Each once, with all that it is for."""
    found: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        if row["kind"] in ("declared", "undeclared"):
            for cell in row["cells"]:
                if cell["reason"]:
                    found.setdefault((cell["environment"], cell["reason"]), []).append(row["name"])
    return [f"{where}: {', '.join(names)}: {reason}" for (where, reason), names in found.items()]


def _later(rows: list[dict[str, Any]]) -> list[str]:
    return [
        f"{cell['environment']}: {row['name']} will be {cell['wanted']} with the next release"
        for row in rows
        for cell in row["cells"]
        if cell["wanted"] is not None
    ]
