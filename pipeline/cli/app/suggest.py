"""``pushlive cost --suggest`` and ``--apply``: what could be smaller, as a change of pipelines.yaml."""

from __future__ import annotations

import sys
from typing import Any

from pipeline.cli.context import DONE, FAILED, Context, UsageError, pipeline_name
from pipeline.cli.terminal import cleaned

PATH = "/api/cost/suggest"


def suggest(context: Context) -> int:
    """The diff is the result, for `git apply`; what each change saves and risks is beside it."""
    args = context.args
    body: dict[str, Any] = {"without_redundancy": True} if args.without_redundancy else {}
    if args.pipeline:
        body["pipeline"] = pipeline_name(args.pipeline)
    answer = context.ask("POST", PATH, body)
    if not context.json:
        _show(context, answer)
    if not (args.apply and answer["changes"]):
        if context.json:
            context.print_json(answer)
        return DONE
    if not (args.yes or _agrees(context)):
        return FAILED
    answer = context.ask("POST", PATH, {**body, "seen": answer["suggestion"]})
    if context.json:
        context.print_json(answer)
        return DONE
    found = cleaned(answer)
    context.terminal.say(f"{found['file']} is changed.", *(f"{run} deploys it." for run in found["runs"]))
    context.terminal.say(*found["messages"])
    return DONE


def _show(context: Context, answer: dict[str, Any]) -> None:
    found, terminal = cleaned(answer), context.terminal
    if found["said"]:
        terminal.say(found["said"])
    terminal.note(*(one["text"] for one in found["changes"]))
    terminal.note(*(f"Left to you: {one}" for one in found["refused"]))
    terminal.data(*(cleaned(line) for line in answer["diff"].splitlines()))
    if found["changes"] and not found["writes"]:
        terminal.note(
            f"The service cannot write {found['file']}: commit this change where the file comes from, and the next "
            "push of the application brings it."
        )


def _agrees(context: Context) -> bool:
    """Raises UsageError where no one can be asked."""
    if context.json or not sys.stdin.isatty():
        raise UsageError("nothing was changed: no one was asked.", advice="Add `--yes`.")
    return input("Write this and deploy it? [y/N] ").strip().lower() in ("y", "yes")
