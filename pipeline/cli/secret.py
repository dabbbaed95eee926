"""``pushlive secret``: set, list, versions, rm. A value comes from standard input or a hidden prompt, never from an
argument: those are in the shell's history and in the process list."""

from __future__ import annotations

import argparse
import sys
from typing import Any
from urllib.parse import quote, urlencode

from pipeline.cli.context import DONE, Context, UsageError, pipeline_name
from pipeline.cli.terminal import age, cleaned, table
from pipeline.errors import ConfigError
from pipeline.lib.text import one_line

_READ = (64 << 10) + 3  # bytes: one more than any value with its newline, so that too large is seen as such


def parser(parser: argparse.ArgumentParser, quiet: argparse.ArgumentParser) -> None:
    """Fills the command's parser with its four acts."""
    acts = parser.add_subparsers(dest="act", required=True, metavar="set|list|versions|rm")
    about = {
        "set": "Set a secret to the value on standard input, or one typed at a hidden prompt.",
        "list": "The secrets' names, and who set which version when; never a value.",
        "versions": "Every version that is kept of one secret.",
        "rm": "Revoke a secret, or one version of it: its value is forgotten at once.",
    }
    for act, text in about.items():
        own = acts.add_parser(act, parents=[quiet], description=text)
        if act == "list":
            own.add_argument(
                "words", nargs="*", metavar="PIPELINE", help="may be left out when there is only one"
            )
        else:
            own.add_argument("words", nargs="+", metavar="PIPELINE NAME", help="e.g. hello DATABASE_URL")
        if act != "list":
            own.add_argument(
                "--env", default="", metavar="NAME", help="for this environment (default: for every one)"
            )
        if act == "rm":
            own.add_argument("--version", type=int, metavar="N", help="this version alone (default: all)")
        own.add_argument("--json", action="store_true", help="print the data as JSON")


def secret(context: Context) -> int:
    acts = {"set": _set, "list": _list, "versions": _versions, "rm": _remove}
    return acts[context.args.act](context)


def _path(context: Context) -> tuple[str, str, str]:
    """The path of the secret that the words name, the pipeline and the name. A word too many may be a value: it
    is not repeated."""
    *before, name = context.args.words
    if len(before) > 1 or "=" in name:
        raise UsageError(
            "a secret's value is never an argument.",
            advice=f"Write `pushlive secret {context.args.act} PIPELINE NAME`; the value comes on standard input or "
            "is asked for. If you have written one, it is in your shell's history now: choose another.",
        )
    pipeline = context.pipeline(pipeline_name(before[0] if before else ""))
    return f"/api/pipelines/{pipeline}/secrets/{quote(name, safe='')}", pipeline, name


def _set(context: Context) -> int:
    path, _, name = _path(context)
    body = {"value": _value(name), "environment": context.args.env}
    return context.tell(context.ask("PUT", path, body))


def _value(name: str) -> str:
    """Without the one newline at its end that `echo` and editors put there."""
    if sys.stdin.isatty():
        from getpass import getpass

        return getpass(f"{one_line(name)} (not shown): ")
    raw = sys.stdin.buffer.read(_READ)
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        if len(raw) == _READ:  # cut in the middle of a character; the service says that it is too large
            return raw.decode(errors="replace")
        raise ConfigError(
            "what came on standard input is not UTF-8 text.", advice="Give it in base64."
        ) from error
    return text.removesuffix("\n").removesuffix("\r")


def _list(context: Context) -> int:
    words = context.args.words
    if len(words) > 1:
        raise UsageError("too many words.", advice="Write `pushlive secret list PIPELINE`.")
    pipeline = context.pipeline(pipeline_name(words[0] if words else ""))
    return _table(context, f"/api/pipelines/{pipeline}/secrets", f"{pipeline} has no secrets.")


def _versions(context: Context) -> int:
    path, _, name = _path(context)
    query = f"?{urlencode({'environment': context.args.env})}" if context.args.env else ""
    return _table(context, path + query, f"{one_line(name)} has no version there.")


def _table(context: Context, path: str, none: str) -> int:
    answer = context.ask("GET", path)
    if context.json:
        context.print_json(answer)
        return DONE
    now = context.client.now()
    rows = [_row(one, now) for one in cleaned(answer["secrets"])]
    if not rows:
        context.terminal.say(none)
        return DONE
    head = ("name", "environment", "version", "set", "by", "")
    context.terminal.data(*table(head, rows, context.terminal.paint, indent=""))
    return DONE


def _row(one: dict[str, Any], now: float) -> list[Any]:
    revoked = f"revoked by {one['revoked_by']}" if one["revoked"] else ""
    when = f"{age(now - float(one['created']))} ago"
    place = str(one["environment"] or "every one")
    return [
        (str(one["name"]), "bold"),
        place,
        f"v{one['version']}",
        when,
        str(one["by"]),
        (revoked, "yellow"),
    ]


def _remove(context: Context) -> int:
    path, *_ = _path(context)
    asked = {"environment": context.args.env, "version": context.args.version}
    query = urlencode({key: value for key, value in asked.items() if value not in ("", None)})
    return context.tell(context.ask("DELETE", f"{path}?{query}" if query else path))
