"""``pushlive deploy``, ``promote``, ``revert``, ``retry``, ``cancel``: what starts, continues or ends a run."""

from __future__ import annotations

import time
from argparse import Namespace
from typing import Any

from pipeline.cli.command import ENV, JSON, PIPELINE, REASON, RUN, WAIT, Given, argument, command
from pipeline.cli.configuration import read_config
from pipeline.cli.context import (
    AT_GATE,
    DONE,
    Context,
    UsageError,
    pipeline_name,
    reference,
    release_number,
    split_reference,
)
from pipeline.cli.follow import End, known, messages, watch
from pipeline.cli.status import waits
from pipeline.cli.terminal import cleaned
from pipeline.errors import RequestError
from pipeline.lib.text import one_line
from pipeline.lib.units import show_duration


@command(
    "deploy a commit, a release or a changed configuration without a push",
    PIPELINE,
    argument(
        "--commit", action=Given, default="", metavar="SHA", help="this commit instead of the branch's head"
    ),
    argument(
        "--release",
        action=Given,
        default="",
        metavar="r17",
        help="the image of this release, through all stages",
    ),
    argument(
        "--config",
        action=Given,
        default="",
        metavar="FILE",
        help="this pipelines.yaml, with the current image",
    ),
    argument(
        "--rebuild",
        action="store_true",
        help="build again from the newest base images, without reusing an image or the cache",
    ),
    WAIT,
    JSON,
)
def deploy(context: Context) -> int:
    args = context.args
    _refuse_mixed(args)
    body: dict[str, Any] = {"commit": args.commit} if args.commit else {}
    if args.release:
        body["release"] = release_number(args.release)
    if args.config:
        body["config"] = read_config(args.config)
    if args.rebuild:
        body["rebuild"] = True
    name = context.pipeline(pipeline_name(args.pipeline))
    answer = context.ask("POST", f"/api/pipelines/{name}/deploy", body)
    return context.tell(answer) if answer.get("unchanged") else finish(context, answer)


def _refuse_mixed(args: Namespace) -> None:
    """Raises UsageError for options of which one would be ignored."""
    if args.commit and args.release:
        raise UsageError(
            "--commit and --release cannot be combined.", advice="A release already has its commit."
        )
    if args.commit and args.config:
        raise UsageError(
            "--commit and --config cannot be combined.",
            advice="--config takes the image of a release: `--release rN`.",
        )
    if args.rebuild and (args.release or args.config):
        other = "--release" if args.release else "--config"
        raise UsageError(f"--rebuild and {other} cannot be combined.", advice="A release is never rebuilt.")


@command(
    "repeat a run that has ended, such as a failed one",
    RUN,
    argument(
        "--over",
        action=Given,
        default="",
        metavar="RUN",
        help="although that newer run serves or is on its way",
    ),
    WAIT,
    JSON,
)
def retry(context: Context) -> int:
    name, path = context.run_path(context.args.run)
    body = {"over": _newer(name, context.args.over)} if context.args.over else None
    return finish(context, context.ask("POST", f"{_numbered(context, path)}/retry", body))


def _newer(pipeline: str, text: str) -> int:
    """The number in ``--over hello#43``. Raises UsageError."""
    name, number = reference([text])
    if number is None or name not in ("", pipeline):
        raise UsageError(f"--over {text!r} is not a run of {pipeline}.", advice=f"Write '{pipeline}#43'.")
    return number


@command("end a run; what is live stays live", RUN, JSON)
def cancel(context: Context) -> int:
    _, path = context.run_path(context.args.run)
    answer = context.ask("POST", f"{path}/cancel")  # the service refuses `latest` if several have not ended
    if context.json:
        context.print_json(answer)
    else:
        context.terminal.say(f"Cancelling {one_line(str(answer['run']))}; what is live stays live.")
        for text in answer.get("messages") or ():
            context.terminal.say(one_line(str(text)))
    return DONE


def _numbered(context: Context, path: str) -> str:
    """The path with a number for ``latest``, so that the command cannot hit a run that arrives meanwhile."""
    if not path.endswith("/latest"):
        return path
    return path.removesuffix("latest") + str(int(context.ask("GET", path)["run"]["number"]))


@command(
    "let the run that waits at a gate continue",
    RUN,
    argument(
        "--force",
        action="store_true",
        help="although its release was taken back in an environment before; needs --reason",
    ),
    REASON,
    WAIT,
    JSON,
)
def promote(context: Context) -> int:
    """Promotes only the run, gate and release that it shows."""
    if context.args.force and not context.args.reason.strip():
        raise UsageError("--force needs a reason.", advice="Add `--reason TEXT`; it is recorded and shown.")
    run = _waiting(context)
    name = f"{run['pipeline']}#{run['number']}"
    if run.get("state") != "waiting":
        state = one_line(str(run.get("outcome") or run.get("state")))
        raise RequestError(
            f"{one_line(name)} is not waiting at a gate; it is {state}.",
            advice="`pushlive status` shows what is waiting.",
        )
    path = f"/api/runs/{run['pipeline']}/{run['number']}/events"
    # The stream of a waiting run ends at once: skip the events so far, they have been shown.
    past = (
        [message for message in messages(context, path, "") if "id" in message] if context.args.wait else []
    )
    body = {"run": run["number"], "environment": run["gate"], "release": run.get("release")}
    body |= {"force": True} if context.args.force else {}
    body |= {"reason": context.args.reason} if context.args.reason else {}
    answer = context.ask("POST", f"/api/pipelines/{run['pipeline']}/promote", body)
    said = cleaned(run)
    if not context.json:
        release = f"r{said['release']} " if said.get("release") else ""
        context.terminal.say(
            f"{one_line(name)} → {said['gate']}: {release}{said['commit'][:7]} {said['message']}",
            *(f"! {text}" for text in said.get("returning") or ()),
        )
    return finish(context, answer, after=str(past[-1]["id"]) if past else "", run=run)


def _waiting(context: Context) -> dict[str, Any]:
    name, number = reference(context.args.run)
    name = context.pipeline(name)
    if number is not None:
        return known(context, f"/api/runs/{name}/{number}")
    status = context.ask("GET", f"/api/status?pipeline={name}")
    entries = [entry for entry in status["pipelines"] if entry.get("name") == name]
    waiting: list[dict[str, Any]] = [run for entry in entries for run in waits(entry)]
    if not waiting:
        raise RequestError(
            f"no run of {name} is waiting at a gate.", advice=f"`pushlive runs {name}` lists its runs."
        )
    if len(waiting) > 1:
        commands = (
            f"`pushlive promote '{one_line(run['id'])}'` (to {one_line(run['gate'])})" for run in waiting
        )
        raise RequestError(f"{len(waiting)} runs of {name} wait.", advice=f"Name one: {', '.join(commands)}.")
    return waiting[0]


@command(
    "put the previous good release back, now",
    argument(
        "run",
        nargs="?",
        default="",
        metavar="RUN",
        help="hello; or hello#42, to take back its release only if it serves",
    ),
    argument("--to", action=Given, default="", metavar="r17", help="go back to this release"),
    argument(
        "--from", action=Given, default="", dest="shown", metavar="r18", help="only if this release serves"
    ),
    argument(
        "--back",
        action="store_true",
        help="undo the release commands after that release first, with their `back`",
    ),
    argument(
        "--across",
        action=Given,
        default="",
        metavar="r18",
        help="although the release command of this release says `reversible: false`",
    ),
    ENV,
    REASON,
    WAIT,
    JSON,
)
def revert(context: Context) -> int:
    args, began = context.args, time.monotonic()
    name, number = reference([args.run])
    numbers = (("to", args.to), ("from", args.shown), ("across", args.across))
    body: dict[str, Any] = {key: release_number(text) for key, text in numbers if text}
    body |= {"run": number} if number is not None else {}
    body |= {"back": True} if args.back else {}
    body |= {key: text for key, text in (("environment", args.env), ("reason", args.reason)) if text}
    name = context.pipeline(name)
    answer = context.ask("POST", f"/api/pipelines/{name}/revert", body)
    return finish(context, answer, began=began)


def finish(
    context: Context,
    answer: dict[str, Any],
    *,
    after: str = "",
    run: dict[str, Any] | None = None,
    began: float = 0.0,
) -> int:
    """Follows the run that was started, unless ``--no-wait``. ``--json`` prints its data at the end."""
    name, number = split_reference(str(answer["run"]))
    if not context.args.wait:
        if context.json:
            context.print_json(answer)
        else:
            context.terminal.say(_accepted(f"{name}#{number}", one_line(str(answer.get("waits") or ""))))
        return AT_GATE if answer.get("waits") else DONE
    path = f"/api/runs/{name}/{number}"
    if run is None:
        run = known(context, path) if context.terminal.live else {"pipeline": name, "number": number}
    end = watch(context, run, after=after, show=(lambda _: None) if context.json else None)
    if context.json:
        context.print_json(context.ask("GET", path))
    elif began:
        _report_time(context, name, number, end, time.monotonic() - began)
    return end.code


def _accepted(name: str, waits: str) -> str:
    """``waits``: what a run that was promoted waits for yet, "" for any other."""
    follow = f"`pushlive follow '{name}'`"
    return f"{name} still waits: {waits}." if waits else f"{name} accepted. Follow it with {follow}."


def _report_time(context: Context, name: str, number: int, end: End, seconds: float) -> None:
    if end.code == DONE:
        context.terminal.say(f"{name}#{number} reverted in {show_duration(seconds)}.")
    else:
        how = one_line(end.outcome or end.state)
        context.terminal.complain(
            f"{name}#{number} did not revert ({how}) after {show_duration(seconds)}.",
            f"  `pushlive show '{name}#{number}'` says why; `pushlive status` shows what is live.",
        )
