"""``pushlive run`` and ``exec``: a person's command in a container of the release that serves."""

from __future__ import annotations

from pipeline.cli.app import session
from pipeline.cli.command import Argument, argument, command, whole_number
from pipeline.cli.context import Context, UsageError, pipeline_name

PIPELINE = argument("pipeline", metavar="PIPELINE")
ENVIRONMENT = argument("environment", metavar="ENV")


def words(default: str) -> Argument:
    return argument("words", nargs="*", default=[], metavar="COMMAND", help=f"after `--`{default}")


@command(
    "run a command in a fresh container of the release that serves",
    PIPELINE,
    ENVIRONMENT,
    words(""),
    words="PIPELINE ENV -- COMMAND…",
)
def run(context: Context) -> int:
    if not context.args.words:
        raise UsageError("which command?", advice="Give it after `--`: `pushlive run hello qa -- ls -l`.")
    return _follow(context, "run", {"command": context.args.words})


@command(
    "run a command in a container that serves; without one, a shell",
    PIPELINE,
    ENVIRONMENT,
    words(" (default: sh)"),
    argument("--replica", type=whole_number, default=1, metavar="N", help="which of them (default: 1)"),
    argument("--process", default="", metavar="NAME", help="of that process instead of the web one"),
    words="PIPELINE ENV -- COMMAND…",
)
def exec(context: Context) -> int:
    args = context.args
    body = {"command": args.words or ["sh"], "replica": args.replica}
    if args.process:
        body["process"] = args.process
    return _follow(context, "exec", body)


def _follow(context: Context, act: str, body: dict[str, object]) -> int:
    name = pipeline_name(context.args.pipeline)
    path = f"/api/pipelines/{name}/{act}"
    return session.follow(context, path, {**body, "environment": context.args.environment})
