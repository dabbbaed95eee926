"""``pushlive release``: release commands that hang."""

from __future__ import annotations

from pipeline.cli.command import JSON, RUN, command, group
from pipeline.cli.context import Context


@command("end a release command that is no longer waited for; the environment is held", RUN, JSON)
def _abandon(context: Context) -> int:
    _, path = context.run_path(context.args.run)
    if path.endswith("/latest"):  # the run that is named cannot be another one by then
        path = path.removesuffix("latest") + str(int(context.ask("GET", path)["run"]["number"]))
    return context.tell(context.ask("POST", f"{path}/abandon"))


release = group("end a release command that hangs", abandon=_abandon)
