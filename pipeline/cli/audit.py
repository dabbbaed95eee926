"""``pushlive audit``: who did what, and whether the log of it is intact."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from pipeline.cli.command import JSON, Given, argument, command, whole_number
from pipeline.cli.context import DONE, FAILED, Context, UsageError, pipeline_name
from pipeline.cli.terminal import Cell, cleaned, table
from pipeline.lib.text import one_line


@command(
    "show who did what, from where and why; --verify checks the log itself",
    argument("pipeline", nargs="?", default="", help="only this pipeline (default: everything)"),
    argument("--limit", type=whole_number, default=50, metavar="N", help="how many entries (default: 50)"),
    argument("--verify", action="store_true", help="check the whole chain; the exit code is the result"),
    argument(
        "--head",
        action=Given,
        default="",
        metavar="HASH",
        help="with --verify: this hash must be in the chain",
    ),
    JSON,
)
def audit(context: Context) -> int:
    if context.args.verify:
        return _verify(context)
    if context.args.head:
        raise UsageError("--head needs --verify.", advice="Write `pushlive audit --verify --head HASH`.")
    name = pipeline_name(context.args.pipeline)
    answer = context.newest("/api/audit", name)
    if context.json:
        context.print_json(answer)
        return DONE
    rows = [row(entry) for entry in reversed(cleaned(answer["entries"]))]
    if not rows:
        if name:
            context.insist_on_pipeline(name)
        context.terminal.say(f"The audit log has no entry of {name}." if name else "The audit log is empty.")
        return DONE
    head = ("", "time", "who", "act", "on", "release", "from", "why")
    terminal = context.terminal
    terminal.data(*table(head, rows, terminal.paint, width=terminal.width, flexible=7, right=(0,), indent=""))
    return DONE


def row(entry: dict[str, Any]) -> tuple[Cell, ...]:
    """number, time, who, act, on, release, from, why"""
    said = {key: str(value) for key, value in entry.items()}
    target = "/".join(part for part in (said.get("pipeline"), said.get("environment")) if part)
    role = f" ({said['role']})" if said.get("role") else ""
    origin = " ".join(part for part in (said.get("way"), said.get("address")) if part)
    came_of_it = said.get("after") if said.get("act", "").endswith(" ended") else ""
    why = " · ".join(part for part in (said.get("why"), said.get("detail"), came_of_it) if part)
    return (
        (said.get("number", "?"), "dim"),
        said.get("time", "")[:19].replace("T", " "),
        said.get("who", "") + role,
        (said.get("act", ""), "bold"),
        f"{said['run']} {said.get('environment', '')}".rstrip() if said.get("run") else target,
        said.get("release", ""),
        (origin, "dim"),
        why,
    )


def _verify(context: Context) -> int:
    head = quote(context.args.head.strip(), safe="")
    answer = context.ask("GET", "/api/audit/verify" + (f"?head={head}" if head else ""))
    if context.json:
        context.print_json(answer)
        return DONE if answer["ok"] else FAILED
    terminal, count = context.terminal, int(answer["entries"])
    for problem in answer["problems"]:
        terminal.data(terminal.paint("✗", "red bold") + " " + one_line(str(problem)))
    if not answer["ok"]:
        terminal.note("The log was changed outside Pushlive; docs/operations.md (Audit) says what to do.")
        return FAILED
    terminal.data(f"{terminal.paint('✓', 'green')} {count} entries; the chain is intact.")
    if count:
        terminal.data(f"newest: {int(answer['number'])} {one_line(str(answer['hash']))}")
        terminal.note(
            "Keep this hash elsewhere; `pushlive audit --verify --head HASH` checks that it is still in the log."
        )
    return DONE
