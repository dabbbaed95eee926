"""``pushlive token``: create, list and revoke access tokens."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import quote

from pipeline.cli.command import JSON, argument, command, group
from pipeline.cli.context import DONE, Context
from pipeline.cli.terminal import Cell, age, cleaned, table
from pipeline.lib.text import one_line

SOON = 14 * 86400.0  # seconds: a token that expires sooner is shown in yellow


@command(
    "create a token and print it, once",
    argument("name", help="who or what it is for"),
    argument(
        "--role",
        default="developer",
        choices=("viewer", "developer", "maintainer"),
        help="what it may do (default: developer)",
    ),
    argument("--expires", default="365d", metavar="TIME", help="valid for: 12h, 90d, never (default: 365d)"),
    JSON,
)
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
    git = "git fetch" if said["role"] == "viewer" else "git push"  # a viewer may not push
    context.terminal.note(
        f"{said['name']} is a {said['role']}, {_validity(float(said.get('lasts') or 0))}. "
        f"The token is not shown again. It is the password for `{git}`; `pushlive` reads it from "
        "PUSHLIVE_TOKEN or ~/.config/pushlive/token."
    )
    return DONE


def _validity(seconds: float) -> str:
    """``seconds``: from now; 0: without an end."""
    when = time.strftime("%Y-%m-%d", time.localtime(time.time() + seconds))
    return f"until {when}" if seconds else "until it is revoked"


@command("list the tokens with their roles and expiry", JSON)
def _list(context: Context) -> int:
    answer = context.ask("GET", "/api/tokens")
    if context.json:
        context.print_json(answer)
        return DONE
    now = context.client.now()
    rows = [_row(item, now) for item in cleaned(answer["tokens"])]
    head = ("name", "role", "created", "expires", "last used")
    context.terminal.data(*table(head, rows, context.terminal.paint, indent=""))
    return DONE


def _row(item: dict[str, Any], now: float) -> tuple[Cell, ...]:
    """name, role, created, expires, last used"""
    created, expires, used = (float(item.get(key) or 0) for key in ("created", "expires", "used"))
    left = expires - now
    end: Cell = "never"
    if expires:
        end = (f"in {age(left)}", "yellow" if left < SOON else "") if left > 0 else ("expired", "red")
    return (
        (str(item["name"]), "bold"),
        str(item["role"]),
        (f"{age(now - created)} ago", "dim") if created else "",
        end,
        (f"{age(now - used)} ago", "dim") if used else ("never", "dim"),
    )


@command("revoke a token", argument("name"), JSON)
def _revoke(context: Context) -> int:
    name = context.args.name
    answer = context.ask("DELETE", f"/api/tokens/{quote(name, safe='')}")
    if context.json:
        context.print_json(answer)
    else:
        context.terminal.say(f"Revoked the token {one_line(name)}; requests with it are refused from now on.")
    return DONE


token = group("manage access tokens: create, list, revoke", create=_create, list=_list, revoke=_revoke)
