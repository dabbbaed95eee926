"""How a command is declared: its help, its arguments and its function stand together in one file."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from pipeline.cli.context import Context

Function = Callable[["Context"], int]
Argument = tuple[tuple[str, ...], dict[str, Any]]


def argument(*names: str, **options: Any) -> Argument:
    """The parameters of ``ArgumentParser.add_argument``."""
    return names, options


def whole_number(text: str) -> int:
    """For ``type=``; the message is for people."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None


def time_span(text: str) -> float:
    """The same for a duration in seconds, which is not 0."""
    from pipeline.lib.units import parse_duration

    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if seconds < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is shorter than a second")
    return seconds


class Given(argparse.Action):
    """An option that must not be empty: a script that lost a value (``--env "$ENV"``) does not mean the default."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,  # noqa: ARG002 - argparse decides what is passed
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,  # noqa: ARG002
    ) -> None:
        if not values:
            raise argparse.ArgumentError(self, "it is empty; leave the option out, or give its value")
        setattr(namespace, self.dest, values)


JSON = argument("--json", action="store_true", help="print the data as JSON")
RUN = argument("run", nargs="*", metavar="RUN", help="hello#42, or hello for its latest run")
PIPELINE = argument("pipeline", nargs="?", default="", help="optional if there is only one")
ENV = argument("--env", action=Given, default="", metavar="NAME", help="the environment (default: live)")
REASON = argument("--reason", default="", metavar="TEXT", help="why; recorded and shown to others")
WAIT = argument(
    "--wait", action=argparse.BooleanOptionalAction, default=True, help="follow the run (the default)"
)


class Command(NamedTuple):
    """``summary`` is a line of `pushlive --help`. ``function`` takes a Context and returns an exit code; a command
    with ``acts`` (its subcommands by name) has none of its own. One that reads its words itself has ``helps``: what
    `--help` says after each of these words, by the word."""

    summary: str
    arguments: tuple[Argument, ...] = ()
    function: Function | None = None
    acts: Mapping[str, Command] = {}
    helps: Mapping[str, Command] = {}
    words: str = ""  # the positional arguments as usage shows them, where argparse would show them wrongly

    @property
    def description(self) -> str:
        """The summary as a sentence."""
        return f"{self.summary[0].upper()}{self.summary[1:]}."

    def fill(self, parser: argparse.ArgumentParser, common: argparse.ArgumentParser) -> None:
        """Adds the arguments and subcommands; each parser leaves its function in ``args.function``."""
        for names, options in self.arguments:
            parser.add_argument(*names, **options)
        if self.words:
            parser.usage = f"{parser.prog} [OPTIONS] {self.words}"
        if self.function:
            parser.set_defaults(function=self.function)
        if self.acts:
            acts = parser.add_subparsers(dest="act", required=True, metavar="|".join(self.acts))
            for name, act in self.acts.items():
                act.fill(
                    acts.add_parser(name, parents=[common], help=act.summary, description=act.description),
                    common,
                )


def command(
    summary: str, *arguments: Argument, words: str = "", helps: Mapping[str, Command] | None = None
) -> Callable[[Function], Command]:
    """Declares the function below as a command."""

    def declare(function: Function) -> Command:
        return Command(summary, arguments, function, helps=helps or {}, words=words)

    return declare


def group(summary: str, **acts: Command) -> Command:
    """Declares a command of several subcommands, such as ``pushlive token create``."""
    return Command(summary, acts=acts)
