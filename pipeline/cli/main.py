"""``pushlive``: the command line, a thin client of the HTTP API.

It starts in tens of milliseconds: this module imports nothing heavy, and only the file of the chosen command.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from pipeline.cli import context as context_module
from pipeline.cli.command import Command
from pipeline.cli.terminal import Terminal
from pipeline.errors import PushliveError
from pipeline.lib.processes import until_pipe_closes
from pipeline.lib.text import one_line, printable_lines

# In the order of `pushlive --help`: a group, its commands, and the file of this package that declares each.
GROUPS: dict[str, dict[str, str]] = {
    "starting": {
        "init": "configuration",
        "check": "configuration",
        "plan": "configuration",
        "up": "service",
        "down": "service",
    },
    "going live": {
        "deploy": "deploy",
        "set": "app.setting",
        "promote": "deploy",
        "revert": "deploy",
        "retry": "deploy",
        "cancel": "deploy",
        "release": "app.release",
    },
    "inspecting": {
        "status": "status",
        "runs": "status",
        "show": "show",
        "follow": "follow",
        "logs": "follow",
        "timings": "app.timings",
        "report": "app.report",
        "cost": "app.cost",
        "parity": "app.parity",
        "capacity": "app.capacity",
        "cron": "app.cron",
        "evidence": "app.evidence",
    },
    "inside": {
        "exec": "app.run",
        "run": "app.run",
        "cp": "app.files",
        "restart": "app.look",
        "sleep": "app.sleep",
        "wake": "app.sleep",
        "stats": "app.look",
        "open": "app.look",
    },
    "maintaining": {
        "hold": "policy",
        "resume": "policy",
        "freeze": "policy",
        "thaw": "policy",
        "maintenance": "policy",
        "preview": "app.preview",
        "withdraw": "policy",
        "unquarantine": "policy",
        "doctor": "doctor",
        "secret": "secret",
        "accessory": "app.accessory",
        "volume": "app.volume",
        "backups": "app.backups",
        "gc": "doctor",
        "backup": "backup",
        "restore": "backup",
        "adopt": "backup",
        "audit": "audit",
        "token": "token",
        "web": "service",
        "worker": "service",
    },
}
COMMANDS: dict[str, str] = {name: file for group in GROUPS.values() for name, file in group.items()}
_INTRO = "git push, and five minutes later it is live; when it goes wrong, it is back in a second."
_REST = f"""
names:
  hello#42     run 42 of the pipeline hello; `hello` alone means its latest run
  r17          a release
  The pipeline's name is optional if there is only one.

environment:
  PUSHLIVE_URL    the service (default: http://127.0.0.1:7070)
  PUSHLIVE_TOKEN  your token; default: the local service's own, or ~/.config/pushlive/token
  NO_COLOR        no colours

{context_module.EXIT_CODES}
"""


def load(name: str) -> Command:
    """The command of that name, from the file that declares it."""
    from importlib import import_module

    found: Command = getattr(import_module(f"pipeline.cli.{COMMANDS[name]}"), name)
    return found


class _WrongWords(SystemExit):
    """The words are not those of the command. It has been said on standard error."""

    def __init__(self, message: str, advice: str) -> None:
        super().__init__(context_module.USAGE)
        self.message, self.advice = message, advice


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        text, advice = f"{one_line(message)}.", f"See `{self.prog} --help`."
        sys.stderr.write(f"{self.prog}: {text}\n{advice}\n")
        raise _WrongWords(text, advice)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """Refuses what is not known here, so that the message names the command and not the program alone."""
        args, command = self._split(list(args or []))
        found, rest = super().parse_known_args(args, namespace)
        if command:
            found.words = [*found.words, *(command if found.words else command[1:])]
        if rest:
            named = len(rest) == 1 and not rest[0].startswith("-") and "--env" in self._option_string_actions
            more = f"; an environment is named by `--env {rest[0]}`" if named else ""
            self.error(f"unknown {'argument' if len(rest) == 1 else 'arguments'}: {' '.join(rest)}{more}")
        return found, rest

    def _split(self, args: list[str]) -> tuple[list[str], list[str]]:
        """What is ours, and from the first ``--`` on a container's command. argparse would drop each ``--`` in that,
        and not find it after an option: ``exec hello qa --replica 2 -- npm test -- --watch``."""
        takes = any(one.dest == "words" and one.metavar == "COMMAND" for one in self._actions)
        at = args.index("--") if takes and "--" in args else len(args)
        return args[:at], args[at:]


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        from importlib.metadata import PackageNotFoundError, version

        try:
            text = version("pushlive")
        except PackageNotFoundError:
            text = "(from a checkout)"
        print(f"pushlive {text}")
        parser.exit(context_module.DONE)


class _TopParser(_Parser):
    """Loads every command's file only when the list of commands is printed."""

    def format_help(self) -> str:
        groups = []
        for group, names in GROUPS.items():
            lines = [f"  {name:<14}{load(name).summary}" for name in names]
            groups.append("\n".join([f"{group}:", *lines]))
        self.description = "\n\n".join([_INTRO, *groups]) + "\n"
        return super().format_help()


def _parser(chosen: str, word: str = "") -> argparse.ArgumentParser:
    """``word``: of the command, if `--help` is about that alone."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "-q", "--quiet", action="store_true", default=argparse.SUPPRESS, help="print only results and errors"
    )
    parser: _Parser = _TopParser(
        prog="pushlive",
        usage="pushlive [--quiet] COMMAND …",
        epilog=_REST,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[common],
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    commands: Any = parser.add_subparsers(
        dest="command",
        metavar="COMMAND",
        required=True,
        prog="pushlive",
        parser_class=_Parser,
        help=argparse.SUPPRESS,
    )
    if chosen:
        command = load(chosen)
        command, prog = command.helps.get(word, command), f"pushlive {chosen} {word}".rstrip()
        made = commands.add_parser(chosen, prog=prog, description=command.description, parents=[common])
        command.fill(made, common)
    return parser


def _explained(chosen: str, words: Sequence[str]) -> str:
    """The word of the command that `--help` is about, as in `evidence verify --help`; "" for the command itself."""
    if not chosen or not {"-h", "--help"} & set(words):
        return ""
    return next((one for one in words if one in load(chosen).helps), "")


def _unknown(word: str, words: Sequence[str]) -> int:
    import difflib

    swapped = [name for name in COMMANDS if sorted(name) == sorted(word)]  # letters in another order
    near = swapped or difflib.get_close_matches(word, COMMANDS, n=1, cutoff=0.5)
    advice = f"Did you mean `pushlive {near[0]}`?" if near else "`pushlive --help` lists the commands."
    message = f"there is no command {one_line(word)!r}."
    sys.stderr.write(f"pushlive: {message} {advice}\n")
    _as_data(words, message, advice, context_module.USAGE)
    return context_module.USAGE


def _as_data(words: Sequence[str], message: str, advice: str, code: int) -> None:
    """With --json, whatever the command, an error is a line of JSON on standard output too, as programs read that
    alone: the keys of the API's errors, and the exit code."""
    import json

    own = (
        words[: words.index("--")] if "--" in words else words
    )  # the rest are those of a container's command
    if "--json" in own:
        sys.stdout.write(json.dumps({"error": message, "advice": advice, "exit": code}) + "\n")
        sys.stdout.flush()


def _report(terminal: Terminal, command: str, error: PushliveError, words: Sequence[str]) -> int:
    message, code = str(error.message).strip(), context_module.exit_code(error)
    first, *rest = printable_lines(message)
    mark = terminal.paint(f"pushlive {command}:", "red") if terminal.live else f"pushlive {command}:"
    advice = printable_lines(error.advice.strip()) if error.advice else []
    terminal.complain(f"{mark} {first}", *rest, *(f"  {line}" for line in advice))
    _as_data(words, message, error.advice.strip(), code)
    return code


def _refused_here(error: OSError) -> PushliveError:
    where = f"{error.filename}: " if error.filename else ""
    return PushliveError(
        f"{where}{error.strerror or error}.", advice="Check this file, its folder and the free space here."
    )


def _interrupted(terminal: Terminal, interrupt: KeyboardInterrupt) -> int:
    if isinstance(interrupt, context_module.Detached):
        terminal.complain(
            f"Detached; {interrupt} continues. Follow it again with `pushlive follow '{interrupt}'`."
        )
    elif isinstance(interrupt, context_module.GoesOn):
        terminal.complain(
            "Interrupted; the service goes on with it. The same command again says how it stands."
        )
    else:
        terminal.complain("Interrupted.")
    return context_module.INTERRUPTED


def main(argv: Sequence[str] | None = None, environ: Mapping[str, str] | None = None) -> int:
    """Runs one command and returns its exit code; `pushlive --help` lists the codes."""
    words = list(sys.argv[1:] if argv is None else argv)
    return until_pipe_closes(lambda: _run(words, os.environ if environ is None else environ))


def _run(words: list[str], environ: Mapping[str, str]) -> int:
    chosen = next((word for word in words if not word.startswith("-")), "")
    if chosen and chosen not in COMMANDS:
        return _unknown(chosen, words)
    try:
        word = _explained(chosen, words)
        args = _parser(chosen, word).parse_args([chosen, "--help"] if word else words or ["--help"])
    except _WrongWords as wrong:
        _as_data(words, wrong.message, wrong.advice, context_module.USAGE)
        return context_module.USAGE
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else context_module.USAGE
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a terminal that cannot show ━ still gets the words
            stream.reconfigure(errors="replace")
    terminal = Terminal(environ, quiet=getattr(args, "quiet", False))
    try:
        code: int = args.function(context_module.Context(args, terminal, environ))
        return code
    except PushliveError as error:
        return _report(terminal, chosen, error, words)
    except BrokenPipeError:
        raise
    except OSError as error:  # a file or the disk here; what a service does not answer has errors of its own
        return _report(terminal, chosen, _refused_here(error), words)
    except KeyboardInterrupt as interrupt:
        return _interrupted(terminal, interrupt)
