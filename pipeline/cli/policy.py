"""``pushlive hold``, ``resume``, ``freeze``, ``thaw``, ``withdraw``, ``unquarantine``: what may enter environments; and
``maintenance``: what visitors get in place of their answers."""

from __future__ import annotations

from typing import Any

from pipeline.cli.command import ENV, JSON, PIPELINE, REASON, Given, argument, command, group
from pipeline.cli.context import Context, UsageError, pipeline_name, reference, release_number

HELD_BY = argument(
    "--held-by", action=Given, default="", metavar="NAME", help="only if that one holds it now"
)


@command("keep automatic runs out of an environment", PIPELINE, ENV, REASON, HELD_BY, JSON)
def hold(context: Context) -> int:
    name = context.pipeline(pipeline_name(context.args.pipeline))
    return _post(context, f"/api/pipelines/{name}/hold", _body(context, reason=context.args.reason))


@command("lift a hold", PIPELINE, ENV, HELD_BY, JSON)
def resume(context: Context) -> int:
    name = context.pipeline(pipeline_name(context.args.pipeline))
    return _post(context, f"/api/pipelines/{name}/resume", _body(context))


NAME = argument("pipeline", nargs="?", default="", metavar="NAME", help="default: every pipeline")
WHERE = argument("where", nargs="?", default="", metavar="ENV", help="default: every environment")
EVERYWHERE = argument(
    "--env", action=Given, default="", metavar="NAME", help="the same as ENV, without naming a pipeline"
)
ENDS = (
    argument("--until", action=Given, default="", metavar="TIME", help='"2026-12-01 08:00", or 08:00'),
    argument("--for", dest="lasting", action=Given, default="", metavar="2h", help="how long"),
    argument("--zone", action=Given, default="", metavar="ZONE", help="of --until (default: UTC)"),
)
WHY = argument("--reason", action=Given, required=True, metavar="TEXT", help="why; shown to those who wait")


@command(
    "keep pushes and deploys out of environments until a thaw or a time",
    NAME,
    WHERE,
    EVERYWHERE,
    WHY,
    *ENDS,
    JSON,
)
def freeze(context: Context) -> int:
    return _post(context, "/api/freeze", _places(context) | _end(context))


def _end(context: Context) -> dict[str, str]:
    args = context.args
    found = {"until": args.until, "for": args.lasting, "zone": args.zone}
    return {key: text for key, text in found.items() if text}


@command("lift freezes by hand, and windows that are open now", NAME, WHERE, EVERYWHERE, WHY, JSON)
def thaw(context: Context) -> int:
    return _post(context, "/api/thaw", _places(context))


NAMED = (argument("pipeline", metavar="PIPELINE"), argument("environment", metavar="ENV"))
MESSAGE = argument("--message", action=Given, required=True, metavar="TEXT", help="what visitors read")


@command(
    "show visitors of an environment a message until it is ended or a time", *NAMED, MESSAGE, *ENDS, JSON
)
def _on(context: Context) -> int:
    body = {"environment": context.args.environment, "message": context.args.message}
    return _post(context, _maintenance(context, "on"), body | _end(context))


@command("show visitors the application again", *NAMED, JSON)
def _off(context: Context) -> int:
    return _post(context, _maintenance(context, "off"), {"environment": context.args.environment})


def _maintenance(context: Context, act: str) -> str:
    return f"/api/pipelines/{pipeline_name(context.args.pipeline)}/maintenance/{act}"


maintenance = group("show visitors a message in place of an environment", on=_on, off=_off)


def _places(context: Context) -> dict[str, Any]:
    args = context.args
    if args.where and args.env and args.where != args.env:
        raise UsageError("ENV and --env name two environments.", advice="Leave out one of them.")
    body = {"pipeline": pipeline_name(args.pipeline), "environment": args.where or args.env}
    return {"reason": args.reason} | {key: text for key, text in body.items() if text}


def _body(context: Context, **more: str) -> dict[str, Any]:
    texts = {"environment": context.args.env, "held_by": context.args.held_by, **more}
    return {key: text for key, text in texts.items() if text}


@command(
    "take back your approval of a run that is not in yet",
    argument("run", nargs="*", metavar="RUN", help="hello#42, or hello for the one that you approved"),
    argument("--env", action=Given, default="", metavar="NAME", help="the environment it was for"),
    REASON,
    JSON,
)
def withdraw(context: Context) -> int:
    args = context.args
    name, number = reference(args.run)
    texts = {"environment": args.env, "reason": args.reason}
    body: dict[str, Any] = {key: text for key, text in texts.items() if text}
    body |= {"run": number} if number is not None else {}
    return _post(context, f"/api/pipelines/{context.pipeline(name)}/withdraw", body)


@command(
    "let a release that was reverted or failed go live again",
    argument("words", nargs="+", metavar="PIPELINE rN", help="for example hello r17"),
    ENV,
    REASON,
    JSON,
    words="[PIPELINE] rN",
)
def unquarantine(context: Context) -> int:
    *names, release = context.args.words
    if len(names) > 1:
        raise UsageError("too many arguments.", advice="Write `pushlive unquarantine hello r17`.")
    body: dict[str, Any] = {"release": release_number(release)}
    body |= {"reason": context.args.reason} if context.args.reason else {}
    name = context.pipeline(pipeline_name(names[0] if names else ""))
    if context.args.env:
        body["environment"] = context.args.env
    return _post(context, f"/api/pipelines/{name}/unquarantine", body)


def _post(context: Context, path: str, body: dict[str, Any]) -> int:
    return context.tell(context.ask("POST", path, body))
