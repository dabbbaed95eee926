"""``pushlive preview``: environments of their own for branches and pull requests."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from pipeline.cli.command import JSON, WAIT, Given, argument, command, group
from pipeline.cli.context import DONE, Context, pipeline_name
from pipeline.cli.deploy import finish
from pipeline.cli.terminal import cleaned, table
from pipeline.lib.units import show_time

_NAME = argument(
    "preview", metavar="PREVIEW", help="as `pushlive preview list` names it, or hello#12 for a pull request"
)


@command(
    "list the previews, their addresses and how long they stay",
    argument("pipeline", nargs="?", default="", help="only those of this pipeline"),
    JSON,
)
def _list(context: Context) -> int:
    name = pipeline_name(context.args.pipeline)
    answer = context.ask("GET", f"/api/previews{f'?pipeline={quote(name)}' if name else ''}")
    if context.json:
        context.print_json(answer)
        return DONE
    rows = [_row(one) for one in cleaned(answer["previews"])]
    if not rows:
        context.terminal.say("There are no previews.")
        return DONE
    head = ("preview", "of", "commit", "address", "")
    context.terminal.data(*table(head, rows, context.terminal.paint, indent=""))
    return DONE


def _row(one: dict[str, Any]) -> list[Any]:
    of = f"#{one['request']} {one['branch']}" if one["request"] else one["branch"]
    state = f"until {show_time(one['until'])}" if one["until"] else f"is being removed: {one['reason']}"
    if one["state"] == "waiting":
        state = f"waits for a yes: `pushlive preview allow {one['name']}`"
    return [(one["name"], "bold"), of, one["commit"][:7], one["address"], state]


@command("make a preview of a branch, or deploy its head again", argument("pipeline", help="its pipeline"),
         argument("branch", help="the branch, such as feature/login"), WAIT, JSON)  # fmt: skip
def _add(context: Context) -> int:
    body = {"pipeline": pipeline_name(context.args.pipeline), "branch": context.args.branch}
    return finish(context, context.ask("POST", "/api/previews", body))


@command(
    "let a commit of another repository be built and deployed as a preview",
    _NAME,
    argument(
        "--commit", action=Given, default="", metavar="SHA", help="only if the branch is at this commit"
    ),
    WAIT,
    JSON,
)
def _allow(context: Context) -> int:
    body = {"commit": context.args.commit} if context.args.commit else {}
    return finish(context, context.ask("POST", f"{_path(context)}/allow", body))


@command("remove a preview with its data", _NAME, JSON)
def _rm(context: Context) -> int:
    return context.tell(context.ask("DELETE", _path(context)))


def _path(context: Context) -> str:
    return f"/api/previews/{quote(context.args.preview, safe='')}"


preview = group("environments of their own for branches and pull requests",
                list=_list, add=_add, allow=_allow, rm=_rm)  # fmt: skip
