"""``pushlive up``, ``down``, ``web``, ``worker``: the service's processes on this machine."""

from __future__ import annotations

from pipeline.cli.command import argument, command
from pipeline.cli.context import Context


@command(
    "start the service: web, workers and store",
    argument("--config", default="", metavar="FILE", help="default: pipelines.yaml"),
)
def up(context: Context) -> int:
    from pipeline.runtime import supervisor

    return supervisor.up(context.args)


@command(
    "stop the service; applications and proxy keep serving",
    argument("--all", action="store_true", help="also remove the applications and their proxy"),
)
def down(context: Context) -> int:
    from pipeline.runtime import supervisor

    return supervisor.down(bool(context.args.all))


@command("run only the web process, as its container does")
def web(_: Context) -> int:
    from pipeline.runtime import supervisor

    return supervisor.web()


@command("run only the workers, as their container does")
def worker(_: Context) -> int:
    from pipeline.runtime import supervisor

    return supervisor.worker()
