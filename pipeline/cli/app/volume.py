"""``pushlive volume``: list, back up, restore and remove the data that outlives releases."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

from pipeline.cli.app.backups import SOURCE, make, restore, whole_file
from pipeline.cli.app.session import tell
from pipeline.cli.command import JSON, Given, argument, command, group
from pipeline.cli.context import DONE, Context, UsageError, pipeline_name
from pipeline.cli.terminal import cleaned, table
from pipeline.errors import RequestError
from pipeline.lib.units import show_size

_END = b"\0" * 1024  # of every whole tar archive
_NAME = argument("volume", metavar="VOLUME", help="as `pushlive volume list` names it: hello/live/data")

YES = argument(
    "--yes", action=Given, default="", metavar="NAME", help="its name once more, instead of being asked"
)


def _path(context: Context) -> str:
    """The API path of the volume that the argument names. Raises UsageError."""
    parts = context.args.volume.split("/")
    if len(parts) != 3 or not all(parts):
        raise UsageError(
            f"{context.args.volume!r} does not name a volume.",
            advice="Write PIPELINE/ENVIRONMENT/NAME, such as hello/live/data; `pushlive volume list` shows them.",
        )
    return "/api/volumes/" + "/".join(quote(part, safe="") for part in parts)


@command(
    "list the volumes, their size and what uses them",
    argument("pipeline", nargs="?", default="", help="only those of this pipeline"),
    argument(
        "--no-sizes", action="store_true", help="do not let the engines count the files, which may take long"
    ),
    JSON,
)
def _list(context: Context) -> int:
    wanted = f"pipeline={quote(pipeline_name(context.args.pipeline))}" if context.args.pipeline else ""
    sizes = "" if context.args.no_sizes else "sizes=1"
    query = "&".join(part for part in (wanted, sizes) if part)
    answer = context.ask("GET", f"/api/volumes{'?' if query else ''}{query}")
    if context.json:
        context.print_json(answer)
        return DONE
    rows = [_row(one) for one in cleaned(answer["volumes"])]
    away = cleaned(answer.get("unanswered") or [])
    if rows:
        head = ("volume", "size", "in use by", "")
        context.terminal.data(*table(head, rows, context.terminal.paint, indent=""))
    elif not away:
        if context.args.pipeline:
            context.insist_on_pipeline(context.args.pipeline)
        context.terminal.say("There are no volumes.")
    for one in away:
        context.terminal.note(f"{one['engine']} does not say which volumes it has: {one['text']}")
    return DONE


def _row(one: dict[str, Any]) -> list[Any]:
    size = "" if one["size"] is None else show_size(int(one["size"]))
    left = f"left behind: {one['left']}" if one["left"] else ""
    left = str(one.get("unfinished") or left)
    name = f"{one['owner']}/{one['environment']}/{one['name']}"
    return [(name, "bold"), size, ", ".join(one["users"]) or "nothing", (left, "yellow")]


@command(
    "write the files of a volume to a tar archive",
    _NAME,
    argument("--to", action=Given, default="", metavar="FILE", help="the archive (default: standard output)"),
    argument("--keep", action="store_true", help="let the service keep it, as it does by `backup.every`"),
)
def _backup(context: Context) -> int:
    if context.args.keep:
        return make(context, _path(context).replace("/volumes/", "/backups/", 1))
    path = f"{_path(context)}/files"
    if not context.args.to:
        if sys.stdout.isatty():
            raise UsageError(
                "a tar archive is not for a terminal.", advice="Give `--to FILE`, or redirect the output."
            )
        _copy(context.client.pieces(path), sys.stdout.buffer)
        return DONE
    target = Path(context.args.to)
    with whole_file(target) as file:
        size = _copy(context.client.pieces(path), file)
    context.terminal.say(f"{context.args.volume}: {show_size(size)} in {target}")
    return DONE


def _copy(pieces: Iterator[bytes], file: IO[bytes]) -> int:
    """Returns the bytes. Raises RequestError if the archive has no end."""
    size, last = 0, b""
    for piece in pieces:
        file.write(piece)
        size, last = size + len(piece), (last + piece)[-len(_END) :]
    file.flush()
    if last != _END:
        raise RequestError(
            "the archive is not complete: the service stopped sending it.",
            advice="The log of the service says why. Try again.",
        )
    return size


@command(
    "replace the files of a volume by those of a tar archive",
    _NAME,
    *SOURCE,
    argument(
        "--stop", action="store_true", help="stop what serves with this volume until its files are replaced"
    ),
    JSON,
)
def _restore(context: Context) -> int:
    path = f"{_path(context)}/files{'?stop=1' if context.args.stop else ''}"
    return restore(context, path)


@command(
    "remove a volume and its files for ever",
    _NAME,
    YES,
    JSON,
)
def _remove(context: Context) -> int:
    path, name = _path(context), context.args.volume
    insist(
        context,
        name,
        f"This removes {name} and all its files. There is no way back but a backup.",
        "remove it",
        f"pushlive volume rm {name} --yes {name}",
    )
    return context.tell(context.ask("DELETE", path))


@command(
    "give a volume another name, after its pipeline or environment was renamed",
    _NAME,
    argument("new", metavar="NEW", help="its new name: shop/live/data"),
    YES,
)
def _move(context: Context) -> int:
    name, new = context.args.volume, context.args.new
    path = f"{_path(context)}/move"
    insist(
        context,
        name,
        f"This copies {name} to {new}, and removes it under its old name once the copy is whole.",
        "move it",
        f"pushlive volume mv {name} {new} --yes {name}",
    )
    return tell(context, path, {"to": new})


def insist(context: Context, name: str, what: str, to: str, command: str) -> None:
    """Asks for the name once more. Raises UsageError unless it is given, there or by `--yes`."""
    typed = context.args.yes
    if not typed and sys.stdin.isatty():
        context.terminal.note(what)
        typed = input(f"Type its name to {to}: ").strip()
    if typed != name:
        raise UsageError(
            f"nothing was done: the name {name} was not given once more.",
            advice=f"`{command}` does it without asking.",
        )


volume = group(
    "keep data across releases: list, backup, restore, mv, rm",
    list=_list,
    backup=_backup,
    restore=_restore,
    mv=_move,
    rm=_remove,
)
