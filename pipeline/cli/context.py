"""What every command shares: exit codes and errors, its context, and how runs and releases are named."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from pipeline.cli.terminal import Terminal, cleaned
from pipeline.errors import ConfigError, NotFound, PushliveError, RequestError, TryAgain

if TYPE_CHECKING:
    from pipeline.cli.client import Client

DONE = 0
FAILED = 1
USAGE = 2
CONFLICT = 3
NOT_FOUND = 4
UNREACHABLE = 5
NOT_ALLOWED = 6
AT_GATE = 7
INTERRUPTED = 130

EXIT_CODES = """\
exit codes:
  0    success; the run is live
  1    the run did not go live, or something else failed
  2    wrong usage, or a problem in the configuration
  3    not possible now
  4    not found
  5    the service cannot be reached
  6    not allowed: no token, a wrong token, or a role that may not do this
  7    the run waits at a gate: for a person, or for the end of a freeze
  130  interrupted; the service continues its work"""


class UsageError(ConfigError):
    """The words of the command are ambiguous or contradict each other."""


class Unreachable(TryAgain):
    """The service does not answer, or answers that it cannot now."""


class NotAllowed(PushliveError):
    """No token, a wrong one, or one whose role is not enough."""


class GoesOn(KeyboardInterrupt):
    """What the service does goes on without the person who follows it."""


class Detached(KeyboardInterrupt):
    """Ctrl-C while following the run of that name: the run continues."""


class Context:
    """What a command is given. The client is made when it is first needed."""

    def __init__(self, args: argparse.Namespace, terminal: Terminal, environ: Mapping[str, str]) -> None:
        self.args = args
        self.terminal = terminal
        self.environ = environ
        self.json = bool(getattr(args, "json", False))
        self._client: Client | None = None

    @property
    def client(self) -> Client:
        if self._client is None:
            from pipeline.cli.client import Client, trace, where

            self._client = Client(where(self.environ), trace=trace(self.environ))
        return self._client

    def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """The answer as received: for ``--json``, or to be cleaned before it is shown."""
        return self.client.call(method, path, body)

    def shown(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """The answer without terminal control characters."""
        return cleaned(self.ask(method, path, body))

    def print_json(self, value: Any) -> None:
        """The only output of ``--json``. Everything but ASCII is escaped, so a terminal obeys nothing in it."""
        import json

        self.terminal.data(json.dumps(value, indent=2))

    def tell(self, answer: Any, otherwise: str = "") -> int:
        """Shows the messages of an answer, or ``otherwise`` if it has none. Returns DONE."""
        if self.json:
            self.print_json(answer)
        else:
            messages = cleaned(answer["messages"])
            self.terminal.say(*(messages or [otherwise] * bool(otherwise)))
        return DONE

    def newest(self, path: str, pipeline: str) -> Any:
        """The newest ``--limit`` entries of a list, for one pipeline or (with "") for all."""
        only = f"pipeline={quote(pipeline)}&" if pipeline else ""
        return self.ask("GET", f"{path}?{only}limit={self.args.limit}")

    def pipeline(self, name: str) -> str:
        """The name, or that of the only pipeline. Raises UsageError if there are several, NotFound if none."""
        if name:
            return name
        entries = self.shown("GET", "/api/status")["pipelines"]
        entries = [entry for entry in entries if not entry.get("preview")] or entries
        there = [entry for entry in entries if not entry.get("removed")] or entries
        names = [str(entry["name"]) for entry in there]
        if len(names) == 1:
            return names[0]
        if not names:
            raise NotFound(
                "the service has no pipelines yet.",
                advice="`pushlive init` writes a pipelines.yaml to start from.",
            )
        raise UsageError("which pipeline?", advice=f"Name one of: {', '.join(names)}.")

    def insist_on_pipeline(self, name: str) -> None:
        """Raises NotFound unless the service knows a pipeline of that name."""
        self.ask("GET", f"/api/status?pipeline={quote(pipeline_name(name))}")

    def run_path(self, words: Sequence[str]) -> tuple[str, str]:
        """The pipeline, and the API path of the run that the words name."""
        name, number = reference(words)
        name = self.pipeline(name)
        return name, f"/api/runs/{name}/{'latest' if number is None else number}"


_NAME = r"[a-z][a-z0-9-]*"
_REFERENCE = re.compile(rf"(?P<name>{_NAME})?\s*(?:#?\s*(?P<number>[0-9]+))?")


def reference(words: Sequence[str]) -> tuple[str, int | None]:
    """``hello#42``, ``hello 42``, ``hello``, ``42`` or nothing → the pipeline ("": the only one) and the
    number (None: the latest run). Raises UsageError."""
    text = " ".join(words).strip()
    match = _REFERENCE.fullmatch(text)
    if not match or text == "#":
        raise UsageError(
            f"{text!r} does not name a run.", advice="Write hello#42, or hello for its latest run."
        )
    return match["name"] or "", int(match["number"]) if match["number"] else None


def pipeline_name(text: str) -> str:
    """A pipeline's name from the command line. Raises UsageError."""
    if text and not re.fullmatch(_NAME, text):
        raise UsageError(
            f"not a valid pipeline name: {text!r}.",
            advice="Names are lower-case letters, digits and hyphens; `pushlive status` lists the pipelines.",
        )
    return text


def release_number(text: str) -> int:
    """``r17`` or ``17`` → 17. Raises UsageError."""
    match = re.fullmatch(r"r?([0-9]{1,9})", text)
    if not match:
        raise UsageError(
            f"{text!r} is not a release.", advice="Write r17; `pushlive runs` lists the releases."
        )
    return int(match[1])


def split_reference(text: str) -> tuple[str, int]:
    """The pipeline and number of a run's id from the service. Raises UsageError."""
    name, number = reference([text])
    if not name or number is None:
        raise UsageError(
            f"the service sent the run id {text!r}, which this command does not know.",
            advice="Use the same version of Pushlive here as the service.",
        )
    return name, number


_CODES: tuple[tuple[type[PushliveError], int], ...] = (
    (NotAllowed, NOT_ALLOWED),
    (ConfigError, USAGE),
    (NotFound, NOT_FOUND),
    (RequestError, CONFLICT),
    (TryAgain, UNREACHABLE),
)


def exit_code(error: PushliveError) -> int:
    """The exit code that scripts see for an error."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), FAILED)
