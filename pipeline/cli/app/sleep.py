"""``pushlive sleep`` and ``wake``: an environment that no one uses takes no memory and no processor time."""

from __future__ import annotations

from pipeline.cli.command import JSON, argument, command
from pipeline.cli.context import Context, pipeline_name

NAMED = (argument("pipeline", metavar="PIPELINE"), argument("environment", metavar="ENV"))


@command("put an environment to sleep: its containers end until the next request", *NAMED, JSON)
def sleep(context: Context) -> int:
    return _act(context, "sleep")


@command("wake an environment that sleeps, and wait until it serves", *NAMED, JSON)
def wake(context: Context) -> int:
    return _act(context, "wake")


def _act(context: Context, act: str) -> int:
    name, body = pipeline_name(context.args.pipeline), {"environment": context.args.environment}
    return context.tell(context.ask("POST", f"/api/pipelines/{name}/{act}", body))
