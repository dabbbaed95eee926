"""``pushlive backups``, and the backups of accessories."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

from pipeline.cli.command import JSON, Given, argument, command
from pipeline.cli.context import DONE, Context, UsageError
from pipeline.cli.terminal import cleaned, table
from pipeline.errors import ConfigError, RequestError
from pipeline.lib.text import one_line
from pipeline.lib.units import show_age, show_size, write_duration

_PIECE = 64 << 10
NAMED = (
    argument("name", metavar="NAME", help="as under `accessories` in pipelines.yaml"),
    argument("environment", metavar="ENV", help="e.g. live"),
)
SOURCE = (
    argument(
        "--from",
        dest="source",
        action=Given,
        default="",
        metavar="FILE",
        help="a file here, or s3://… in a bucket of `backup.to`; default: standard input",
    ),
    argument(
        "--kept",
        action=Given,
        default="",
        metavar="FILE",
        help="one that the service keeps, or has in its bucket; latest: the newest",
    ),
)


@command(
    "list the backups of volumes and accessories: the last good one, what is kept, what is wrong",
    argument("owner", nargs="?", default="", metavar="NAME", help="only those of this pipeline or accessory"),
    JSON,
)
def backups(context: Context) -> int:
    wanted = context.args.owner
    answer = context.ask("GET", f"/api/backups?of={quote(wanted, safe='')}" if wanted else "/api/backups")
    rows = [one for one in answer["backups"] if wanted in ("", one["owner"])]
    if context.json:
        context.print_json({**answer, "backups": rows})
        return DONE
    found = cleaned(rows)
    if not found:
        if wanted:
            _insist_on_owner(context, wanted)
        of = f" of {one_line(wanted)}" if wanted else ""
        context.terminal.say(f"Nothing{of} has a `backup` key in pipelines.yaml.")
        return DONE
    now, paint = context.client.now(), context.terminal.paint
    head = ("of", "last good one", "size", "every", "kept", "")
    context.terminal.data(*table(head, [_row(one, now) for one in found], paint, indent=""))
    for one in found if wanted else ():
        here = {kept["file"] for kept in one["kept"]}
        for kept in one["kept"]:
            context.terminal.data(f"  {kept['file']}  {show_size(kept['size'])}")
        for copy in one.get("copies", ()):
            if copy["file"] not in here:
                context.terminal.data(f"  {copy['file']}  {show_size(copy['size'])}  in {one['to']}")
    for trouble in dict.fromkeys(filter(None, (one.get("copies_problem") for one in found))):
        context.terminal.say(paint(trouble, "red"))
    return DONE


def _insist_on_owner(context: Context, name: str) -> None:
    """Raises NotFound unless there is a pipeline or an accessory of that name."""
    accessories = context.ask("GET", "/api/accessories")["accessories"]
    if name not in {one["name"] for one in accessories}:
        context.insist_on_pipeline(name)


def _row(one: dict[str, Any], now: float) -> list[Any]:
    good = one["good"]
    every = write_duration(one["every"]) if one["every"] else "when asked"
    return [
        (named(one), "bold"),
        f"{show_age(now - good['at'])} ago" if good else "none",
        show_size(good["size"]) if good else "",
        every,
        str(len(one["kept"])),
        (one["problem"], "red"),
    ]


def named(one: dict[str, Any]) -> str:
    """What a backup is of, as its commands name it."""
    whole = f"{one['owner']}/{one['environment']}"
    return whole if one["kind"] == "accessory" else f"{whole}/{one['name']}"


@command(
    "back one up by its `backup.run`; the backup is kept by the service",
    *NAMED,
    argument("--to", action=Given, default="", metavar="FILE", help="write it to this file as well"),
    JSON,
)
def _back_up_accessory(context: Context) -> int:
    name, environment = _words(context)
    return make(context, f"/api/backups/{name}/{environment}/data")


def make(context: Context, path: str) -> int:
    """One now, and a copy of it in ``--to``."""
    made = context.client.send("POST", path, iter(()))
    if context.args.to:
        _download(context, f"{path}/{quote(made['file'])}", Path(context.args.to), int(made["size"]))
    return context.tell(made)


def _download(context: Context, path: str, target: Path, size: int) -> None:
    with whole_file(target) as file:
        for piece in context.client.pieces(path):
            file.write(piece)
        if file.tell() != size:
            raise RequestError(
                "the backup is not complete: the service stopped sending it.",
                advice="The service keeps it: `pushlive backups` lists it.",
            )


@contextmanager
def whole_file(target: Path) -> Iterator[IO[bytes]]:
    """A file that has this name once all of it is written, readable for its owner alone. Raises ConfigError if it
    cannot be."""
    part = target.with_name(f".{target.name}.part")
    try:
        with open(part, "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            yield file
        part.replace(target)
    except OSError as error:
        raise ConfigError(f"cannot write {target}: {error.strerror or error}.") from error
    finally:
        with suppress(OSError):
            part.unlink()


@command(
    "restore the data of one from a backup, by its `backup.restore` or by replacing its files",
    *NAMED,
    *SOURCE,
    JSON,
)
def _restore_accessory(context: Context) -> int:
    name, environment = _words(context)
    return restore(context, f"/api/accessories/{name}/{environment}/data")


def restore(context: Context, path: str) -> int:
    """From ``--from``, ``--kept`` or standard input."""
    source, kept = context.args.source, context.args.kept
    if source and kept:
        raise UsageError("both `--from` and `--kept` are given.", advice="Give one of them.")
    if source.startswith("s3://"):  # the service reads it, with its own key
        source, kept = "", source
    if kept:
        join = "&" if "?" in path else "?"
        return context.tell(context.client.send("PUT", f"{path}{join}kept={quote(kept, safe='')}", iter(())))
    if not source:
        if sys.stdin.isatty():
            raise UsageError("no backup was given.", advice="Give `--from FILE` or `--kept latest`.")
        return context.tell(context.client.send("PUT", path, _read(sys.stdin.buffer)))
    try:
        with open(source, "rb") as file:
            return context.tell(context.client.send("PUT", path, _read(file)))
    except OSError as error:
        raise ConfigError(f"cannot read {source}: {error.strerror or error}.") from error


def _read(file: IO[bytes]) -> Iterator[bytes]:
    while piece := file.read(_PIECE):
        yield piece


def _words(context: Context) -> tuple[str, str]:
    words = (context.args.name, context.args.environment)
    for word in words:
        if not re.fullmatch(r"[a-z][a-z0-9-]*", word):
            raise UsageError(
                f"{word!r} is not the name of an accessory or an environment.",
                advice="`pushlive accessory status` lists them.",
            )
    return words


OF_ACCESSORIES = {"backup": _back_up_accessory, "restore": _restore_accessory}
