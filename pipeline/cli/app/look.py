"""``pushlive stats`` and ``open``: what containers use, and where the application is."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from pipeline.cli.command import JSON, PIPELINE, argument, command
from pipeline.cli.context import DONE, Context, pipeline_name
from pipeline.cli.terminal import Cell, cleaned, table
from pipeline.errors import NotFound, RequestError
from pipeline.lib.units import show_size

ENVIRONMENT = argument(
    "environment", nargs="?", default="", metavar="ENV", help="default: the last environment"
)


@command("show what the containers that serve use now", PIPELINE, ENVIRONMENT, JSON)
def stats(context: Context) -> int:
    name = context.pipeline(pipeline_name(context.args.pipeline))
    path = f"/api/pipelines/{name}/usage?environment={quote(context.args.environment)}"
    answer = context.ask("GET", path)
    if context.json:
        context.print_json(answer)
        return DONE
    rows: list[tuple[Cell, ...]] = [
        (str(one["name"]), f"{100 * one['cpu']:.1f} %", show_size(one["memory"]), _limit(one))
        for one in cleaned(answer["containers"])
    ]
    head = ("container", "cpu", "memory", "limit")
    context.terminal.data(*table(head, rows, context.terminal.paint, right=(1, 2, 3), indent=""))
    return DONE


@command(
    "start what serves again, one replica after another, without losing a request",
    argument("pipeline", metavar="PIPELINE"),
    argument("environment", metavar="ENV"),
)
def restart(context: Context) -> int:
    from pipeline.cli.app.session import tell

    name = pipeline_name(context.args.pipeline)
    return tell(context, f"/api/pipelines/{name}/restart", {"environment": context.args.environment})


def _limit(one: dict[str, Any]) -> str:
    return show_size(one["limit"]) if one["limit"] else ""


@command("print where an environment is, and open it in a browser", PIPELINE, ENVIRONMENT, JSON)
def open(context: Context) -> int:
    import webbrowser

    name, wanted = context.pipeline(pipeline_name(context.args.pipeline)), context.args.environment
    (entry,) = context.shown("GET", f"/api/status?pipeline={name}")["pipelines"]
    environments = {str(one["name"]): one for one in entry["environments"]}
    if wanted and wanted not in environments:
        raise NotFound(f"{name} has no environment {wanted!r}.", advice=f"It has: {', '.join(environments)}.")
    chosen = environments[wanted or next(reversed(environments))]
    url = str(chosen.get("url") or "")
    if not chosen.get("web", True):
        raise RequestError(
            f"{name}/{chosen['name']} has no web process, so there is nothing to open.",
            advice=f"`pushlive logs {name} {chosen['name']}` prints what its processes say.",
        )
    if chosen.get("release") is None:
        raise RequestError(f"nothing serves in {name}/{chosen['name']}.", advice="Push first.")
    if not url.startswith(("http://", "https://")):
        raise RequestError(
            f"{name}/{chosen['name']} has no address that a browser reaches.",
            advice="It gets one with `host:` in pipelines.yaml.",
        )
    if context.json:
        context.print_json({"pipeline": name, "environment": str(chosen["name"]), "url": url})
        return DONE
    context.terminal.data(url)
    if context.terminal.out.isatty() and (context.environ.get("DISPLAY") or context.environ.get("BROWSER")):
        webbrowser.open(url)
    return DONE
