"""``pushlive backup`` and ``restore``: everything that Pushlive keeps, in one file and back."""

from __future__ import annotations

from pipeline.cli.command import argument, command
from pipeline.cli.context import Context


@command("save everything that Pushlive keeps in one file", argument("file", metavar="FILE"))
def backup(context: Context) -> int:
    from pipeline.runtime import supervisor

    return supervisor.backup(context.args.file)


@command("fill an empty data folder from a backup", argument("file", metavar="FILE"))
def restore(context: Context) -> int:
    from pipeline.runtime import supervisor

    return supervisor.restore(context.args.file)
