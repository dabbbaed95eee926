"""``pushlive follow`` and ``logs``: a run's output, as it comes."""

from __future__ import annotations

import json
import re
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from pipeline.cli.command import ENV, JSON, RUN, Given, argument, command, time_span, whole_number
from pipeline.cli.context import AT_GATE, DONE, FAILED, Context, Detached, Unreachable, UsageError, reference
from pipeline.cli.live_line import Display
from pipeline.cli.terminal import Paint, cleaned, plain
from pipeline.lib.retry import Backoff, Retry
from pipeline.lib.text import one_line
from pipeline.runlog.access.lines import for_people

BACKOFF = Backoff(0.2, ceiling=2.0)
RETRY_FOR = 60.0  # seconds that a broken stream is retried, from its last message on


class End(NamedTuple):
    """A run's result. ``state`` is "ended" or "waiting"."""

    state: str
    outcome: str

    @property
    def code(self) -> int:
        if self.state == "waiting":
            return AT_GATE
        return DONE if self.outcome == "live" else FAILED


@command("watch a run until it ends; the exit code is its result", RUN, JSON)
def follow(context: Context) -> int:
    _, path = context.run_path(context.args.run)
    show = (lambda message: context.terminal.data(json.dumps(message))) if context.json else None
    return watch(context, known(context, path), show=show).code


def known(context: Context, path: str) -> dict[str, Any]:
    """The run at that path as a dictionary, with its ``budget``."""
    answer = context.ask("GET", path)
    return {**answer["run"], "budget": (answer.get("timing") or {}).get("budget")}


@command(
    "print a run's whole log; of an application (`logs hello live`), what it prints",
    argument("run", nargs="*", metavar="RUN", help="hello#42, or hello for its latest run; or hello live"),
    argument("--stage", action=Given, default="", metavar="NAME", help="only build, or one environment"),
    argument("--app", action="store_true", help="the latest output of the running application"),
    argument(
        "-f", "--follow", action="store_true", help="the application's output as it comes, of all containers"
    ),
    argument(
        "--access",
        action="store_true",
        help="the requests to the application, if PUSHLIVE_ACCESS_LOG keeps them",
    ),
    argument(
        "--process", action=Given, default="", metavar="NAME", help="only of that process; web is the web one"
    ),
    argument("--since", type=time_span, default=0.0, metavar="1h", help="only what is not older than that"),
    ENV,
    argument(
        "--lines",
        type=whole_number,
        default=200,
        metavar="N",
        help="of the application: how many (default: 200)",
    ),
    JSON,
)
def logs(context: Context) -> int:
    from urllib.parse import quote

    args = context.args
    _refuse_mixed(args)
    if args.access:
        return _requests(context)
    if args.follow or args.process or args.since or _names_environment(args.run):
        return _containers_output(context)
    if args.app:
        return _output(context)
    _, path = context.run_path(args.run)
    stage = args.stage
    for line in context.client.lines(f"{path}/log" + (f"?stage={quote(stage, safe='')}" if stage else "")):
        _print(context, line)
    return DONE


def _print(context: Context, line: str) -> None:
    """A line as it is, or as an object of its own: what follows may never end."""
    context.terminal.data(json.dumps({"line": line}) if context.json else one_line(line))


def _refuse_mixed(args: Namespace) -> None:
    """Raises UsageError for what would be ignored: the log of a run and an application have options of their own."""
    in_environment = _names_environment(args.run)
    given = {
        "-f": args.follow,
        "--app": args.app,
        "--access": args.access,
        "--process": args.process,
        "--since": args.since,
        "an environment": in_environment,
    }
    of_application = next((name for name, is_given in given.items() if is_given), "")
    if not of_application:
        if args.env:
            raise UsageError(
                "--env is for the output of an application.",
                advice=f"Add --app for that; of a run's log, `--stage {one_line(args.env)}` prints the part.",
            )
        return
    name, number = reference(args.run[:1] if in_environment else args.run)
    if number is not None:
        raise UsageError(
            f"{of_application} is for the output of an application, and {name}#{number} is a run.",
            advice=f"`pushlive follow '{name}#{number}'` watches the run; without its number, this prints the output.",
        )
    if args.stage:
        raise UsageError(
            f"--stage and {of_application} cannot be combined: a stage is a part of a run's log.",
            advice="Without --stage, this prints what the application's containers print.",
        )


def _names_environment(words: list[str]) -> bool:
    """True for ``hello live``."""
    return len(words) == 2 and bool(re.fullmatch(r"[a-z][a-z0-9-]*", words[1]))


def _containers_output(context: Context) -> int:
    """What the application's containers print, each line after its container's label."""
    from urllib.parse import urlencode

    args, words = context.args, list(context.args.run)
    environment = words.pop() if _names_environment(words) else args.env
    name = context.pipeline(reference(words)[0])
    query = {"environment": environment, "process": args.process, "lines": args.lines}
    if args.since:
        query["since"] = round(args.since)
    if not args.follow:
        query["follow"] = "no"
    try:
        for line in context.client.lines(f"/api/pipelines/{name}/output/follow?{urlencode(query)}"):
            if line:  # an empty one only says that nothing comes
                _print(context, line)
    except KeyboardInterrupt:
        if not args.follow:
            raise
    return DONE


def _requests(context: Context) -> int:
    """The access log of an environment."""
    from urllib.parse import urlencode

    args, words = context.args, list(context.args.run)
    for name, given in (("--process", args.process), ("--since", args.since), ("--app", args.app)):
        if given:
            raise UsageError(
                f"{name} and --access cannot be combined: it is for the application's own output."
            )
    environment = words.pop() if _names_environment(words) else args.env
    name = context.pipeline(reference(words)[0])
    query = urlencode(
        {"environment": environment, "lines": args.lines, "follow": "yes" if args.follow else "no"}
    )
    try:
        for line in context.client.lines(f"/api/pipelines/{name}/access?{query}"):
            if line:  # an empty one only says that nothing comes
                context.terminal.data(line if context.json else one_line(for_people(line)))
    except KeyboardInterrupt:
        if not args.follow:
            raise
    return DONE


def _output(context: Context) -> int:
    """The output of the application's running containers."""
    from urllib.parse import urlencode

    pipeline = context.pipeline(reference(context.args.run)[0])
    query = urlencode({"environment": context.args.env, "lines": context.args.lines})
    for line in context.client.lines(f"/api/pipelines/{pipeline}/output?{query}"):
        _print(context, line)
    return DONE


def watch(
    context: Context,
    run: dict[str, Any],
    *,
    after: str = "",
    show: Callable[[dict[str, Any]], None] | None = None,
) -> End:
    """Follows a run until it ends or waits for a person. ``run``: the run, or as much of it as is known;
    ``after``: the id of the last event that was shown already; ``show``: called with each message instead of
    printing it. Ctrl-C raises Detached; the run continues."""
    name = one_line(f"{run['pipeline']}#{run['number']}")
    path = f"/api/runs/{run['pipeline']}/{run['number']}/events"
    display = Display(context.terminal, cleaned(run), context.client.now)
    shown = False
    try:
        with display:
            for message in messages(context, path, after):
                if show:
                    show(message)
                elif "event" in message:
                    shown = _show(context, display, cleaned(message)) or shown
                if "end" in message:
                    end = End(str(message["end"].get("state")), str(message["end"].get("outcome") or ""))
                    break
            else:
                raise AssertionError("messages() ends with an end or an error")
    except KeyboardInterrupt:
        raise Detached(name) from None
    if not show and not shown:
        context.terminal.say(*_summary(name, end, context.terminal.paint))
    return end


class Garbled(Unreachable):
    """The stream does not hold events; a retry would not help."""

    def __init__(self) -> None:
        super().__init__("the answer is not a stream of events.", advice="Check PUSHLIVE_URL.")


def messages(context: Context, path: str, after: str) -> Iterator[dict[str, Any]]:
    """The stream's messages, its end included. A broken stream is resumed where it broke off. Raises Unreachable
    if that fails for RETRY_FOR seconds, or if the stream cannot be opened at all."""
    opened = False
    retry: Retry | None = None
    while True:
        failure = Unreachable(
            "the events ended before the run did.", advice="`pushlive runs` shows how it continues."
        )
        try:
            for number, line in enumerate(context.client.lines(path + (f"?after={after}" if after else ""))):
                opened = True
                if line.strip():
                    message = _decoded(line)
                    after = str(message.get("id") or after)
                    yield message
                    if "end" in message:
                        return
                if number:  # the first line only opens the stream
                    retry = None
        except Garbled:
            raise
        except Unreachable as error:
            if not opened:
                raise
            failure = error
        if retry is None:
            retry = Retry(BACKOFF, timeout=RETRY_FOR)
            context.terminal.note("… connection lost; reconnecting (the run continues)")
        pause = retry.pause()
        if pause is None:
            raise failure
        time.sleep(pause)


def _decoded(line: str) -> dict[str, Any]:
    try:
        message = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise Garbled from error
    if not isinstance(message, dict):
        raise Garbled
    if "error" in message:  # the service lost its store meanwhile
        raise Unreachable(str(message["error"]), advice=str(message.get("advice") or ""))
    return message


def _show(context: Context, display: Display, message: dict[str, Any]) -> bool:
    """Shows one event; True if it shows the run's result."""
    event = message["event"]
    kind = str(event.get("kind", ""))
    lines = [str(line) for line in message.get("lines", [])]
    display.tell(event, [styled(line, kind, event, context.terminal.paint) for line in lines])
    return kind in ("end", "gate") and bool(lines)


def styled(line: str, kind: str, event: dict[str, Any], paint: Paint) -> str:
    """The line in the colour of its kind: output is dim, what needs a person stands out."""
    if paint is plain:
        return line
    if line[:1] in ("┌", "├", "└", "│"):
        return paint(line[:1], "red") + (paint(line[1:], "bold") if line[0] in "┌├" else line[1:])
    styles = {
        "line": "dim",
        "vertex": "dim",
        "note": "dim",
        "warning": "yellow",
        "gate": "yellow",
        "check": "red",
    }
    if kind == "end":
        failed = bool((event.get("data") or {}).get("failure"))
        return paint(line, "red bold" if failed else "bold")
    if kind == "stage" and (stage := str(event.get("stage", ""))) and line.startswith(stage):
        return paint("✓ ", "green") + paint(stage, "bold") + line[len(stage) :]
    # Lines of a stage are aligned with its name, which follows a check mark once it is done.
    return ("  " if event.get("stage") else "") + paint(line, styles.get(kind, ""))


def _summary(name: str, end: End, paint: Paint) -> list[str]:
    if end.state == "waiting":
        # A promotion, the end of a hold, a reason: not everyone may give it, and the run knows which it is.
        return [paint(f"{name} waits; `pushlive show '{name}'` says for what", "yellow")]
    return [paint(f"{name} {end.outcome}", "green bold" if end.code == DONE else "red bold")]
