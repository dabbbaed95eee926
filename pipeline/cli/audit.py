"""``pushlive audit``: who did what, and whether the record of it is whole."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from pipeline.cli.context import DONE, FAILED, Context, UsageError, pipeline_name
from pipeline.cli.terminal import Cell, cleaned, table
from pipeline.lib.text import one_line


def audit(context: Context) -> int:
    if context.args.verify:
        return _verify(context)
    if context.args.head:
        raise UsageError("--head belongs to --verify.", advice="Write `pushlive audit --verify --head HASH`.")
    name = pipeline_name(context.args.pipeline)
    answer = context.newest("/api/audit", name)
    if context.json:
        context.print_json(answer)
        return DONE
    rows = [row(entry) for entry in reversed(cleaned(answer["entries"]))]
    if not rows:
        context.terminal.say("Nothing was done yet.")
        return DONE
    head = ("", "time", "who", "act", "on", "release", "from", "why")
    terminal = context.terminal
    terminal.data(*table(head, rows, terminal.paint, width=terminal.width, flexible=7, right=(0,), indent=""))
    return DONE


def row(entry: dict[str, Any]) -> tuple[Cell, ...]:
    """number, time, who, act, on, release, from, why"""
    said = {key: str(value) for key, value in entry.items()}
    place = "/".join(part for part in (said.get("pipeline"), said.get("environment")) if part)
    role = f" ({said['role']})" if said.get("role") else ""
    origin = " ".join(part for part in (said.get("way"), said.get("address")) if part)
    why = " · ".join(part for part in (said.get("why"), said.get("detail")) if part)
    return (
        (said.get("number", "?"), "dim"),
        said.get("time", "")[:19].replace("T", " "),
        said.get("who", "") + role,
        (said.get("act", ""), "bold"),
        f"{said['run']} {said.get('environment', '')}".rstrip() if said.get("run") else place,
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
        terminal.note("The log was altered from outside: docs/operations.md (Audit) says what to do.")
        return FAILED
    terminal.data(f"{terminal.paint('✓', 'green')} {count} entries, each follows from the one before it.")
    if count:
        terminal.data(f"newest: {int(answer['number'])} {one_line(str(answer['hash']))}")
        terminal.note(
            "Note it elsewhere; `pushlive audit --verify --head HASH` then says whether it is still there."
        )
    return DONE
