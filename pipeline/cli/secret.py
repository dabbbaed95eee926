"""``pushlive secret``: set, list and revoke secrets. A value comes from standard input or a hidden prompt, never from
an argument, which would be in the shell's history and the process list."""

from __future__ import annotations

import sys
from typing import Any
from urllib.parse import quote, urlencode

from pipeline.cli.command import JSON, Given, argument, command, group, whole_number
from pipeline.cli.context import DONE, Context, UsageError, pipeline_name
from pipeline.cli.terminal import age, cleaned, table
from pipeline.errors import ConfigError
from pipeline.lib.text import one_line

_READ = (
    64 << 10
) + 3  # bytes: one more than any valid value with its newline, so that one too large is noticed
_WORDS = argument(
    "words",
    nargs="+",
    metavar="PIPELINE NAME",
    help="the pipeline (or accessory) and the secret, e.g. hello DATABASE_URL",
)
_ENV = argument(
    "--env", action=Given, default="", metavar="NAME", help="for this environment (default: for all)"
)


def _path(context: Context) -> tuple[str, str, str]:
    """The API path of the secret, the pipeline and the secret's name. An extra word may be a value, so the error
    does not repeat it."""
    *before, name = context.args.words
    if len(before) > 1 or "=" in name:
        raise UsageError(
            "a secret's value is never an argument.",
            advice=f"Write `pushlive secret {context.args.act} PIPELINE NAME`; `set` reads the value from standard "
            "input or asks for it. A value that you typed here is in your shell's history: choose another one.",
        )
    pipeline = context.pipeline(pipeline_name(before[0] if before else ""))
    return f"/api/pipelines/{pipeline}/secrets/{quote(name, safe='')}", pipeline, name


@command(
    "set a secret to the value on standard input, or one typed at a hidden prompt",
    _WORDS,
    _ENV,
    JSON,
    words="[PIPELINE] NAME",
)
def _set(context: Context) -> int:
    path, _, name = _path(context)
    body = {"value": _value(name), "environment": context.args.env}
    return context.tell(context.ask("PUT", path, body))


def _value(name: str) -> str:
    """Without the one newline at the end that `echo` and editors add."""
    if sys.stdin.isatty():
        from getpass import getpass

        return getpass(f"{one_line(name)} (not shown): ")
    raw = sys.stdin.buffer.read(_READ)
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        if len(raw) == _READ:  # perhaps cut inside a character; the service refuses it as too large
            return raw.decode(errors="replace")
        raise ConfigError(
            "standard input is not UTF-8 text.", advice="Encode the value, for example in base64."
        ) from error
    return text.removesuffix("\n").removesuffix("\r")


@command(
    "list the secrets with their versions and who set them, never a value",
    argument("words", nargs="*", metavar="PIPELINE", help="optional if there is only one"),
    JSON,
)
def _list(context: Context) -> int:
    words = context.args.words
    if len(words) > 1:
        raise UsageError("too many arguments.", advice="Write `pushlive secret list PIPELINE`.")
    pipeline = context.pipeline(pipeline_name(words[0] if words else ""))
    return _table(context, f"/api/pipelines/{pipeline}/secrets", f"{pipeline} has no secrets.")


@command("list the versions of a secret", _WORDS, _ENV, JSON, words="[PIPELINE] NAME")
def _versions(context: Context) -> int:
    path, _, name = _path(context)
    query = f"?{urlencode({'environment': context.args.env})}" if context.args.env else ""
    return _table(context, path + query, f"{one_line(name)} has no versions there.")


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
    return [
        (str(one["name"]), "bold"),
        str(one["environment"] or "all"),
        f"v{one['version']}",
        when,
        str(one["by"]),
        (revoked, "yellow"),
    ]


@command(
    "revoke a secret, or one of its versions; the value is deleted at once",
    _WORDS,
    _ENV,
    argument("--version", type=whole_number, metavar="N", help="only this version (default: all)"),
    JSON,
    words="[PIPELINE] NAME",
)
def _remove(context: Context) -> int:
    path, *_ = _path(context)
    asked = {"environment": context.args.env, "version": context.args.version}
    query = urlencode({key: value for key, value in asked.items() if value not in ("", None)})
    return context.tell(context.ask("DELETE", f"{path}?{query}" if query else path))


secret = group(
    "manage secrets: set, list, versions, rm", set=_set, list=_list, versions=_versions, rm=_remove
)
