"""``pushlive doctor``, ``gc`` and ``token``."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import quote

from pipeline.cli.client import Unreachable
from pipeline.cli.context import DONE, FAILED, Context
from pipeline.cli.terminal import Cell, Paint, age, cleaned, table
from pipeline.lib.text import one_line

SOON = 14 * 86400.0  # seconds: an end so near is shown in another colour


def doctor(context: Context) -> int:
    """Every part looked at by the service; where that is not there, by this command itself."""
    mended: list[str] = []
    try:
        answer = context.ask("POST" if context.args.fix else "GET", "/api/doctor")
        checks, mended = answer["checks"], answer.get("mended", [])
    except Unreachable as error:
        context.terminal.complain(*(one_line(text) for text in (error.message, error.advice) if text))
        context.terminal.note("Looking at this machine instead.", "")
        from pipeline.config import settings
        from pipeline.maintenance.doctor import without_service
        from pipeline.runtime.bootstrap import inspection

        checks = without_service(settings.load(), inspection())
    if context.json:
        context.print_json({"checks": checks, **({"mended": mended} if context.args.fix else {})})
    else:
        if context.args.fix:
            context.terminal.say(*(cleaned(mended) or ["There was nothing to mend."]))
        context.terminal.data(*check_lines(cleaned(checks), context.terminal.paint))
    return DONE if all(check["ok"] for check in checks) else FAILED


def check_lines(checks: list[dict[str, Any]], paint: Paint) -> list[str]:
    """One line for each part, and below it what to do where something is wrong."""
    size = max((len(check["name"]) for check in checks), default=0)
    lines = []
    for check in checks:
        mark = paint("✓", "green") if check["ok"] else paint("✗", "red bold")
        lines.append(f"{mark} {paint(check['name'].ljust(size), 'bold')}  {check['text']}".rstrip())
        if check.get("advice"):
            lines.append(
                f"  {' ' * size}  {paint('→ ' + check['advice'], 'yellow' if check['ok'] else 'bold')}"
            )
    return lines


def gc(context: Context) -> int:
    return context.tell(context.ask("POST", "/api/gc"), "Nothing to remove.")


def token(context: Context) -> int:
    return {"create": _create, "list": _list, "revoke": _revoke}[context.args.act](context)


def _create(context: Context) -> int:
    args = context.args
    wanted = {"name": args.name, "role": args.role, "expires": args.expires}
    answer = context.ask("POST", "/api/tokens", wanted)
    if context.json:
        context.print_json(answer)
        return DONE
    # The token alone on standard output: TOKEN=$(pushlive token create ci)
    context.terminal.data(one_line(str(answer["token"])))
    said = cleaned(answer)
    context.terminal.note(
        f"{said['name']} is a {said['role']}, {_ends(float(said.get('lasts') or 0))}. It is shown this once. It is the "
        "password for `git push`; this command reads it from PUSHLIVE_TOKEN or ~/.config/pushlive/token."
    )
    return DONE


def _ends(seconds: float) -> str:
    """``seconds`` from now; 0: never."""
    when = time.strftime("%Y-%m-%d", time.localtime(time.time() + seconds))
    return f"until {when}" if seconds else "for as long as it is not revoked"


def _list(context: Context) -> int:
    answer = context.ask("GET", "/api/tokens")
    if context.json:
        context.print_json(answer)
        return DONE
    now = context.client.now()
    rows = [_row(item, now) for item in cleaned(answer["tokens"])]
    head = ("name", "role", "made", "ends", "used")
    context.terminal.data(*table(head, rows, context.terminal.paint, indent=""))
    return DONE


def _row(item: dict[str, Any], now: float) -> tuple[Cell, ...]:
    """name, role, made, ends, used: times in seconds since the epoch, 0 for never"""
    made, ends, used = (float(item.get(key) or 0) for key in ("created", "expires", "used"))
    left = ends - now
    end: Cell = "never"
    if ends:
        end = (f"in {age(left)}", "yellow" if left < SOON else "") if left > 0 else ("expired", "red")
    return (
        (str(item["name"]), "bold"),
        str(item["role"]),
        (f"{age(now - made)} ago", "dim") if made else "",
        end,
        (f"{age(now - used)} ago", "dim") if used else ("never", "dim"),
    )


def _revoke(context: Context) -> int:
    name = context.args.name
    answer = context.ask("DELETE", f"/api/tokens/{quote(name, safe='')}")
    if context.json:
        context.print_json(answer)
    else:
        context.terminal.say(
            f"The token {one_line(name)} is revoked; whatever used it is refused from now on."
        )
    return DONE
