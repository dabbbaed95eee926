"""``pushlive accessory``: the databases, caches and brokers of environments."""

from __future__ import annotations

import re
from typing import Any

from pipeline.cli.app import session
from pipeline.cli.app.backups import NAMED, OF_ACCESSORIES
from pipeline.cli.app.run import words
from pipeline.cli.app.volume import YES, insist
from pipeline.cli.command import JSON, argument, command, group, whole_number
from pipeline.cli.context import DONE, Context, UsageError
from pipeline.cli.terminal import cleaned, table
from pipeline.errors import NotFound

_STYLES = {"ready": "green", "stopped": "yellow", "missing": "dim"}


def _path(context: Context, act: str = "") -> str:
    words = (context.args.name, context.args.environment)
    for word in words:
        if not re.fullmatch(r"[a-z][a-z0-9-]*", word):
            raise UsageError(
                f"{word!r} is not the name of an accessory or an environment.",
                advice="`pushlive accessory status` lists them.",
            )
    return f"/api/accessories/{words[0]}/{words[1]}/{act}"


@command(
    "show every accessory: whether it is ready, who uses it, what `apply` would change",
    argument("name", nargs="?", default="", metavar="NAME", help="only this one"),
    JSON,
)
def _status(context: Context) -> int:
    answer, wanted = context.ask("GET", "/api/accessories"), context.args.name
    rows = [one for one in answer["accessories"] if wanted in ("", one["name"])]
    if wanted and not rows:
        names = ", ".join(sorted({str(one["name"]) for one in cleaned(answer["accessories"])}))
        raise NotFound(
            f"there is no accessory {wanted!r}; there is {names or 'none'}.",
            advice="`pushlive accessory status` shows them all.",
        )
    if context.json:
        context.print_json({**answer, "accessories": rows})
        return DONE
    found = cleaned(rows)
    if not found:
        context.terminal.say("No pipeline uses an accessory.")
        return DONE
    paint = context.terminal.paint
    head = ("accessory", "environment", "state", "image", "used by")
    context.terminal.data(*table(head, [_row(one) for one in found], paint, indent=""))
    for one in found:
        name = f"{one['name']}/{one['environment']}"
        if one["why"]:
            context.terminal.data(paint(f"  {name}: {one['why']}", "yellow"))
        if one.get("unfinished"):
            context.terminal.data(paint(f"  {name}: {one['unfinished']}", "red"))
        for line in one["changes"]:
            context.terminal.data(paint(f"  {name}: {line}", "yellow"))
        if one.get("left"):
            context.terminal.data(paint(f"  {name}: {one['left']}", "yellow"))
            remove = f"`pushlive accessory rm {one['name']} {one['environment']}`"
            used = "once no release in a slot there uses it: " if one["used_by"] else ""
            context.terminal.data(f"  → {used}{remove}")
        elif one["changes"]:
            by = one.get("command") or f"pushlive accessory apply {one['name']} {one['environment']}"
            context.terminal.data(f"  → `{by}`")
    return DONE


def _row(one: dict[str, Any]) -> list[Any]:
    state = str(one["state"])
    return [
        (str(one["name"]), "bold"),
        str(one["environment"]),
        (state, _STYLES.get(state, "red")),
        str(one["image"]),
        ", ".join(one["used_by"]) or "nothing yet",
    ]


@command(
    "start one and wait until it is ready; makes it if there is none",
    *NAMED,
    argument(
        "--as-it-is",
        action="store_true",
        help="also with the data that a restore left when it was broken off",
    ),
    JSON,
)
def _start(context: Context) -> int:
    path = _path(context, "start")
    body = {"as_it_is": True} if context.args.as_it_is else None
    return context.tell(context.ask("POST", path, body))


@command("stop one until it is started again; its data stay", *NAMED, JSON)
def _stop(context: Context) -> int:
    return context.tell(context.ask("POST", _path(context, "stop")))


@command("restart one and wait until it is ready", *NAMED, JSON)
def _restart(context: Context) -> int:
    return context.tell(context.ask("POST", _path(context, "restart")))


@command("make one as pipelines.yaml says now, with the data that it has", *NAMED, JSON)
def _apply(context: Context) -> int:
    return context.tell(context.ask("POST", _path(context, "apply")))


@command("remove one that nothing uses any more; its data and its secrets stay", *NAMED, JSON)
def _remove(context: Context) -> int:
    return context.tell(context.ask("DELETE", _path(context).rstrip("/")))


@command(
    "make one as pipelines.yaml says now, after a copy of its data",
    *NAMED,
    argument("--back", action="store_true", help="make it as it was before, with the data of before"),
    YES,
)
def _upgrade(context: Context) -> int:
    args, path = context.args, _path(context, "upgrade")
    name = f"{args.name}/{args.environment}"
    if args.back:
        insist(
            context,
            name,
            f"This makes {name} as it was before its upgrade. What was written to it since then is lost.",
            "take it back",
            f"pushlive accessory upgrade {args.name} {args.environment} --back --yes {name}",
        )
    return session.tell(context, path, {"back": args.back})


@command(
    "give one another name, with its data and its secrets",
    *NAMED,
    argument("new", metavar="NEW", help="its name in pipelines.yaml now"),
    argument("new_environment", nargs="?", default="", metavar="NEWENV", help="default: the same"),
    YES,
)
def _move(context: Context) -> int:
    args, path = context.args, _path(context, "move")
    name = f"{args.name}/{args.environment}"
    more = f" {args.new_environment}" if args.new_environment else ""
    insist(
        context,
        name,
        f"This stops {name}, copies its data, and removes it under its old name once the copy is whole.",
        "move it",
        f"pushlive accessory mv {args.name} {args.environment} {args.new}{more} --yes {name}",
    )
    body = {"to": args.new} | ({"environment": args.new_environment} if args.new_environment else {})
    return session.tell(context, path, body)


@command(
    "print the last lines that one has written",
    *NAMED,
    argument("--lines", type=whole_number, default=200, metavar="N", help="how many (default: 200)"),
)
def _logs(context: Context) -> int:
    path = f"{_path(context, 'output')}?lines={context.args.lines}"
    context.terminal.data(*context.client.lines(path))
    return DONE


@command(
    "run a command in the container of one; without a command, a shell",
    *NAMED,
    words(" (default: sh)"),
    words="NAME ENV -- COMMAND…",
)
def _exec(context: Context) -> int:
    return session.follow(context, _path(context, "exec"), {"command": context.args.words or ["sh"]})


accessory = group(
    "manage databases, caches and brokers: status, start, stop, restart, apply, upgrade, exec, backup, restore, mv, "
    "rm, logs",
    status=_status,
    start=_start,
    stop=_stop,
    restart=_restart,
    apply=_apply,
    upgrade=_upgrade,
    exec=_exec,
    **OF_ACCESSORIES,
    mv=_move,
    rm=_remove,
    logs=_logs,
)
