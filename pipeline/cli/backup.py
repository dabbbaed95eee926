"""``pushlive backup`` and ``restore``: everything that Pushlive keeps, in one file and back; ``adopt``: without one."""

from __future__ import annotations

import time
from pathlib import Path

from pipeline.cli.command import JSON, argument, command
from pipeline.cli.context import DONE, Context


@command(
    "save everything that Pushlive keeps in one file",
    argument("file", metavar="FILE"),
    argument(
        "--volumes", action="store_true", help="with the data of volumes, and of accessories with a `backup`"
    ),
)
def backup(context: Context) -> int:
    from pipeline.lib.units import show_size
    from pipeline.runtime.backup import backup as save
    from pipeline.runtime.service import load_settings

    saved = save(load_settings(), Path(context.args.file).resolve(), volumes=context.args.volumes)
    context.terminal.data(
        f"Wrote {saved.file}: {saved.files} files, {show_size(saved.size)}.",
        *(f"{note}." for note in saved.notes),
        "It contains tokens, keys and secrets: anyone who can read it can do what this service can. Store it safely.",
    )
    return DONE


@command("fill an empty data folder from a backup", argument("file", metavar="FILE"))
def restore(context: Context) -> int:
    from pipeline.lib.units import show_size
    from pipeline.runtime.backup import restore as load
    from pipeline.runtime.service import load_settings

    settings = load_settings()
    loaded = load(settings, Path(context.args.file).resolve())
    made = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(loaded.made))
    context.terminal.data(
        f"Restored {settings.data} to its state of {made} UTC ({loaded.files} files, {show_size(loaded.size)}).",
        *(f"{note}." for note in loaded.notes),
        "Start the service with `pushlive up`; `pushlive status` then shows which images are missing.",
    )
    return DONE


@command("take up what is running after the store was lost", JSON)
def adopt(context: Context) -> int:
    return context.tell(context.ask("POST", "/api/adopt"))
