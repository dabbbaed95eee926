"""``pushlive set``: single values of an environment, deployed as one release and written into pipelines.yaml."""

from __future__ import annotations

import sys
from typing import Any

from pipeline.cli.command import ENV, JSON, WAIT, argument, command
from pipeline.cli.context import DONE, FAILED, Context, UsageError
from pipeline.cli.deploy import finish
from pipeline.cli.terminal import Paint, cleaned


@command(
    "change values of an environment, such as replicas=3, and deploy that",
    argument(
        "words", nargs="+", metavar="[PIPELINE [ENV]] KEY=VALUE…", help="replicas=3, env.GREETING=hello"
    ),
    ENV,
    argument("--yes", action="store_true", help="without being asked"),
    WAIT,
    JSON,
    words="[PIPELINE [ENV]] KEY=VALUE…",
)
def set(context: Context) -> int:
    args = context.args
    names, values = _parts(args.words)
    name = context.pipeline(names[0] if names else "")
    environment = names[1] if len(names) > 1 else args.env
    body: dict[str, Any] = {"values": values} | ({"environment": environment} if environment else {})
    path = f"/api/pipelines/{name}/set"
    answer = context.ask("POST", path, body)
    if not context.json:
        context.terminal.data(*lines(name, cleaned(answer), context.terminal.paint))
    if not answer["changes"]:
        if context.json:
            context.print_json(answer)
        return DONE
    if not (args.yes or _agrees(context)):
        return FAILED
    answer = context.ask("POST", path, {**body, "seen": answer["config"]})
    if answer["run"]:
        return finish(context, answer)
    if context.json:
        context.print_json(answer)
    else:
        context.terminal.say("It is in force; no release is needed for it.")
    return DONE


def _parts(words: list[str]) -> tuple[list[str], dict[str, str]]:
    """Names, and values by key. Raises UsageError."""
    names = [word for word in words if "=" not in word]
    values = dict(word.split("=", 1) for word in words if "=" in word)
    if not values or "" in values or len(names) > 2 or "=" in "".join(words[: len(names)]):
        raise UsageError(
            "name a pipeline, an environment, and then each key with its value.",
            advice="For example: `pushlive set shop live replicas=3`.",
        )
    if len(values) + len(names) < len(words):
        raise UsageError("a key is given twice.", advice="Give each key once.")
    return names, values


def lines(name: str, answer: dict[str, Any], paint: Paint) -> list[str]:
    where = f"{name}/{answer['environment']}"
    if not answer["changes"]:
        return [f"Nothing would change in {where}."]
    found = [paint(where, "bold"), *(f"  {change}" for change in answer["changes"])]
    if not answer["writes"]:
        text = f"  ! the service cannot write {answer['file']}: put it in there too, or the next push takes it back"
        found.append(paint(text, "yellow"))
    return found


def _agrees(context: Context) -> bool:
    """Raises UsageError where no one can be asked."""
    if context.json or not sys.stdin.isatty():
        raise UsageError("nothing was changed: no one was asked.", advice="Add `--yes`.")
    return input("Deploy this? [y/N] ").strip().lower() in ("y", "yes")
