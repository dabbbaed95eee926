"""``pushlive doctor`` and ``gc``: what is wrong, and what is no longer needed."""

from __future__ import annotations

import sys
from typing import Any

from pipeline.cli.command import JSON, argument, command
from pipeline.cli.context import DONE, FAILED, Context, Unreachable
from pipeline.cli.terminal import Paint, cleaned
from pipeline.lib.text import one_line


@command(
    "check every part and say how to fix what is wrong",
    argument("--fix", action="store_true", help="repair what differs from the records"),
    JSON,
)
def doctor(context: Context) -> int:
    """The service checks every part; if it cannot be reached, this command checks this machine."""
    repaired: list[str] = []
    try:
        answer = context.ask("POST" if context.args.fix else "GET", "/api/doctor")
        checks, repaired = answer["checks"], answer.get("mended", [])
    except Unreachable as error:
        context.terminal.complain(*(one_line(text) for text in (error.message, error.advice) if text))
        context.terminal.note("Checking this machine instead.", "")
        from pipeline.config import settings
        from pipeline.maintenance.doctor.examine import without_service
        from pipeline.runtime.bootstrap import inspection

        loaded = settings.load()
        checks = without_service(loaded, inspection(loaded))
    if context.json:
        context.print_json({"checks": checks, **({"mended": repaired} if context.args.fix else {})})
    else:
        if context.args.fix:
            context.terminal.say(*(cleaned(repaired) or ["Nothing to repair."]))
        context.terminal.data(*check_lines(cleaned(checks), context.terminal.paint))
    return DONE if all(check["ok"] for check in checks) else FAILED


def check_lines(checks: list[dict[str, Any]], paint: Paint) -> list[str]:
    """A line for each part, and below it what to do if something is wrong."""
    size = max((len(check["name"]) for check in checks), default=0)
    lines = []
    for check in checks:
        mark = paint("✓", "green") if check["ok"] else paint("✗", "red bold")
        if check["ok"] and check.get("advice"):  # nothing is wrong, and something could be better
            mark = paint("!", "yellow bold")
        lines.append(f"{mark} {paint(check['name'].ljust(size), 'bold')}  {check['text']}".rstrip())
        if check.get("advice"):
            lines.append(
                f"  {' ' * size}  {paint('→ ' + check['advice'], 'yellow' if check['ok'] else 'bold')}"
            )
    return lines


@command(
    "remove images and environments that are no longer needed",
    argument("--yes", action="store_true", help="also environments that still serve, without being asked"),
    JSON,
)
def gc(context: Context) -> int:
    """What still serves is left at first; then a person at a terminal is asked."""
    if context.args.yes:
        answer = context.ask("POST", "/api/gc")
        context.tell(answer, "Nothing to remove.")
        return FAILED if answer.get("left") else DONE
    answer = context.ask("POST", "/api/gc", {"serving": []})
    context.tell(answer, "Nothing to remove.")
    serving = answer.get("serving") or []
    if serving and not context.json and sys.stdin.isatty() and _agrees(context, cleaned(serving)):
        answer = context.ask("POST", "/api/gc", {"serving": serving})
        context.tell(answer)
    return FAILED if answer.get("left") else DONE


def _agrees(context: Context, serving: list[str]) -> bool:
    context.terminal.complain("Still serving: " + ", ".join(serving) + ".")
    return input("Stop and remove what serves there? [y/N] ").strip().lower() in ("y", "yes")
