"""``pushlive``: the command line, a thin client of the HTTP API.

It starts in tens of milliseconds: this module imports nothing heavy, and each command only its own module.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

from pipeline.cli import context as context_module
from pipeline.cli.terminal import Terminal
from pipeline.errors import PushliveError
from pipeline.lib.text import one_line, printable_lines

Argument = tuple[tuple[str, ...], dict[str, Any]]


def _arg(*names: str, **options: Any) -> Argument:
    return names, options


class Command(NamedTuple):
    """``where`` is module:function; the function takes a Context and returns an exit code."""

    group: str
    summary: str
    where: str
    arguments: tuple[Argument, ...] = ()


_JSON = _arg("--json", action="store_true", help="print the data as JSON")
_RUN = _arg("run", nargs="*", metavar="RUN", help="hello#42, or hello for its latest run")
_PIPELINE = _arg("pipeline", nargs="?", default="", help="may be left out when there is only one")
_ENV = _arg("--env", default="", metavar="NAME", help="the environment (default: live)")
_FILE = _arg("file", nargs="?", default="", help="default: pipelines.yaml")
_REASON = _arg("--reason", default="", metavar="TEXT", help="kept with it, and shown to others")
_WAIT = _arg(
    "--wait", action=argparse.BooleanOptionalAction, default=True, help="follow the run (this is the default)"
)

_DAILY, _LOOK, _START, _CARE = "going live", "looking", "starting", "taking care"

COMMANDS: dict[str, Command] = {
    "init": Command(
        _START,
        "write a commented pipelines.yaml for the repository here",
        "local:init",
        (_arg("--name", default="", help="the pipeline's name (default: the folder's)"),),
    ),
    "check": Command(_START, "every problem in pipelines.yaml, with its line", "local:check", (_FILE, _JSON)),
    "plan": Command(
        _START, "what a changed pipelines.yaml would change, and where", "local:plan", (_FILE, _JSON)
    ),
    "up": Command(
        _START,
        "start the service: web, workers and store",
        "local:up",
        (_arg("--config", default="", metavar="FILE", help="default: pipelines.yaml"),),
    ),
    "down": Command(
        _START,
        "end the service; applications and proxy serve on",
        "local:down",
        (_arg("--all", action="store_true", help="end the applications and their proxy too"),),
    ),
    "deploy": Command(
        _DAILY,
        "deploy without a push: a commit, a release, or a changed configuration",
        "act:deploy",
        (
            _PIPELINE,
            _arg("--commit", default="", metavar="SHA", help="this commit instead of the branch's head"),
            _arg("--release", default="", metavar="r17", help="this release's image, through all stages"),
            _arg("--config", default="", metavar="FILE", help="this pipelines.yaml, with the same image"),
            _arg("--rebuild", action="store_true", help="build anew, whatever could be reused"),
            _WAIT,
            _JSON,
        ),
    ),
    "promote": Command(_DAILY, "let the run that waits at a gate go on", "act:promote", (_RUN, _WAIT, _JSON)),
    "revert": Command(
        _DAILY,
        "put the previous good release back, now",
        "act:revert",
        (
            _PIPELINE,
            _arg("--to", default="", metavar="r17", help="this release"),
            _ENV,
            _REASON,
            _WAIT,
            _JSON,
        ),
    ),
    "retry": Command(_DAILY, "run a failed run's commit again", "act:retry", (_RUN, _WAIT, _JSON)),
    "cancel": Command(_DAILY, "end a run; what serves goes on serving", "act:cancel", (_RUN, _JSON)),
    "status": Command(
        _LOOK, "what serves where, and whether it can be reverted", "status:status", (_PIPELINE, _JSON)
    ),
    "runs": Command(
        _LOOK,
        "the latest runs",
        "status:runs",
        (_PIPELINE, _arg("--limit", type=int, default=20, metavar="N", help="how many (default: 20)"), _JSON),
    ),
    "show": Command(
        _LOOK, "a run: its steps and times, checks, and why it failed", "show:show", (_RUN, _JSON)
    ),
    "follow": Command(
        _LOOK, "watch a run until it ends; exits by its result", "follow:follow", (_RUN, _JSON)
    ),
    "logs": Command(
        _LOOK,
        "a run's whole log; --app: what the application itself printed",
        "follow:logs",
        (
            _RUN,
            _arg("--stage", default="", metavar="NAME", help="only build, or one environment"),
            _arg("--app", action="store_true", help="the application's own last output, where it runs"),
            _ENV,
            _arg("--lines", type=int, default=200, metavar="N", help="with --app: how many (default 200)"),
        ),
    ),
    "hold": Command(
        _CARE, "let nothing into an environment by itself", "act:hold", (_PIPELINE, _ENV, _REASON, _JSON)
    ),
    "resume": Command(_CARE, "lift a hold", "act:resume", (_PIPELINE, _ENV, _JSON)),
    "unquarantine": Command(
        _CARE,
        "let a reverted or failed release into live again",
        "act:unquarantine",
        (_arg("words", nargs="+", metavar="PIPELINE rN", help="for example hello r17"), _ENV, _JSON),
    ),
    "doctor": Command(
        _CARE,
        "look at every part, and say what to mend",
        "care:doctor",
        (_arg("--fix", action="store_true", help="mend what is not as the store says"), _JSON),
    ),
    "secret": Command(_CARE, "secrets: set, list, versions, rm PIPELINE NAME", "secret:secret"),
    "gc": Command(_CARE, "remove what nothing needs any more", "care:gc", (_JSON,)),
    "backup": Command(
        _CARE, "everything that is kept, in one file", "local:backup", (_arg("file", metavar="FILE"),)
    ),
    "restore": Command(
        _CARE,
        "an empty data folder, filled from a backup",
        "local:restore",
        (_arg("file", metavar="FILE"),),
    ),
    "audit": Command(
        _CARE,
        "who did what, from where and why; --verify: is the record whole",
        "audit:audit",
        (
            _arg("pipeline", nargs="?", default="", help="only this one's (default: everything)"),
            _arg("--limit", type=int, default=50, metavar="N", help="how many (default: 50)"),
            _arg("--verify", action="store_true", help="walk the whole chain; exits by the result"),
            _arg("--head", default="", metavar="HASH", help="with --verify: this noted hash must be in it"),
            _JSON,
        ),
    ),
    "token": Command(_CARE, "access tokens: create NAME, list, revoke NAME", "care:token"),
    "web": Command(_CARE, "only the web part, as in its container", "local:web"),
    "worker": Command(_CARE, "only the workers, as in their container", "local:worker"),
}

_INTRO = "git push, and five minutes later it is live; when it goes wrong, it is back in a second."
_REST = f"""
names:
  hello#42     run 42 of the pipeline hello; `hello` alone is its latest run
  r17          a release
  With a single pipeline its name may be left out everywhere.

environment:
  PUSHLIVE_URL    the service (default: http://127.0.0.1:7070)
  PUSHLIVE_TOKEN  who you are; else the local service's own token, or ~/.config/pushlive/token
  NO_COLOR        no colours

{context_module.EXIT_CODES}
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        sys.stderr.write(f"{self.prog}: {one_line(message)}.\nSee `{self.prog} --help`.\n")
        raise SystemExit(context_module.USAGE)


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        from importlib.metadata import PackageNotFoundError, version

        try:
            text = version("pushlive")
        except PackageNotFoundError:
            text = "(from a checkout)"
        print(f"pushlive {text}")
        parser.exit(context_module.DONE)


def _help() -> str:
    groups = []
    for group in (_START, _DAILY, _LOOK, _CARE):
        lines = [f"  {name:<14}{c.summary}" for name, c in COMMANDS.items() if c.group == group]
        groups.append("\n".join([f"{group}:", *lines]))
    return "\n\n".join([_INTRO, *groups]) + "\n"


def _parser(chosen: str) -> argparse.ArgumentParser:
    quiet = argparse.ArgumentParser(add_help=False)
    quiet.add_argument(
        "-q", "--quiet", action="store_true", default=argparse.SUPPRESS, help="only results and errors"
    )
    parser: argparse.ArgumentParser = _Parser(
        prog="pushlive",
        usage="pushlive [--quiet] COMMAND …",
        description=_help(),
        epilog=_REST,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[quiet],
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    commands = parser.add_subparsers(
        dest="command", metavar="COMMAND", required=True, prog="pushlive", help=argparse.SUPPRESS
    )
    # Only the chosen command's parser is filled: the others would cost a third of the start.
    if command := COMMANDS.get(chosen):
        own = commands.add_parser(chosen, description=command.summary.capitalize() + ".", parents=[quiet])
        for names, options in command.arguments:
            own.add_argument(*names, **options)
        if chosen == "token":
            _token_parser(own, quiet)
        if chosen == "secret":
            from pipeline.cli import secret

            secret.parser(own, quiet)
    return parser


def _token_parser(parser: argparse.ArgumentParser, quiet: argparse.ArgumentParser) -> None:
    acts = parser.add_subparsers(dest="act", required=True, metavar="create|list|revoke")
    create = acts.add_parser("create", parents=[quiet], description="Create a token and print it, once.")
    create.add_argument("name", help="whose it is, or what for")
    create.add_argument("--role", default="developer", choices=("viewer", "developer", "maintainer"))
    create.add_argument(
        "--expires", default="365d", metavar="TIME", help="for how long: 12h, 90d, never (default: 365d)"
    )
    listing = acts.add_parser("list", parents=[quiet], description="The tokens, their roles and ends.")
    revoke = acts.add_parser("revoke", parents=[quiet], description="End a token.")
    revoke.add_argument("name")
    for own in (create, listing, revoke):
        own.add_argument("--json", action="store_true", help="print the data as JSON")


def _unknown(word: str) -> int:
    import difflib

    near = difflib.get_close_matches(word, COMMANDS, n=1, cutoff=0.5)
    advice = f"Did you mean `pushlive {near[0]}`?" if near else "`pushlive --help` lists the commands."
    sys.stderr.write(f"pushlive: there is no command {one_line(word)!r}. {advice}\n")
    return context_module.USAGE


def _perform(command: Command, context: context_module.Context) -> int:
    from importlib import import_module

    module, _, function = command.where.partition(":")
    code: int = getattr(import_module(f"pipeline.cli.{module}"), function)(context)
    return code


def _told(terminal: Terminal, command: str, error: PushliveError) -> int:
    first, *rest = printable_lines(str(error.message).strip())
    mark = terminal.paint(f"pushlive {command}:", "red") if terminal.live else f"pushlive {command}:"
    advice = printable_lines(error.advice.strip()) if error.advice else []
    terminal.complain(f"{mark} {first}", *rest, *(f"  {line}" for line in advice))
    return context_module.exit_code(error)


def _closed() -> int:
    """The reader of our output went away (``| head``): nothing more is written, and that is no news."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 128 + 13


def _interrupted(terminal: Terminal, interrupt: KeyboardInterrupt) -> int:
    if isinstance(interrupt, context_module.Detached):
        terminal.complain(f"detached; {interrupt} goes on. `pushlive follow '{interrupt}'` watches it again.")
    else:
        terminal.complain("interrupted.")
    return context_module.INTERRUPTED


def main(argv: Sequence[str] | None = None, environ: Mapping[str, str] | None = None) -> int:
    """Runs one command and returns its exit code; the codes are in ``pushlive --help``."""
    words = list(sys.argv[1:] if argv is None else argv)
    environ = os.environ if environ is None else environ
    chosen = next((word for word in words if not word.startswith("-")), "")
    if chosen and chosen not in COMMANDS:
        return _unknown(chosen)
    try:
        args = _parser(chosen).parse_args(words or ["--help"])
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else context_module.USAGE
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a terminal that cannot show ━ still gets the words
            stream.reconfigure(errors="replace")
    terminal = Terminal(environ, quiet=getattr(args, "quiet", False))
    try:
        return _perform(COMMANDS[chosen], context_module.Context(args, terminal, environ))
    except PushliveError as error:
        return _told(terminal, chosen, error)
    except BrokenPipeError:
        return _closed()
    except KeyboardInterrupt as interrupt:
        return _interrupted(terminal, interrupt)


if __name__ == "__main__":
    sys.exit(main())
