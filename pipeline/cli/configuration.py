"""``pushlive init``, ``check``, ``plan``: writing a pipelines.yaml, and what is in it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.cli.command import JSON, argument, command
from pipeline.cli.context import DONE, USAGE, Context
from pipeline.cli.terminal import Paint, cleaned
from pipeline.errors import ConfigError, PushliveError, RequestError
from pipeline.lib.text import one_line

if TYPE_CHECKING:
    from pipeline.config.lint import Warned
    from pipeline.config.models import Config

_FILE = argument("file", nargs="?", default="", help="default: pipelines.yaml")


@command(
    "write a commented pipelines.yaml for this repository",
    argument("--name", default="", help="the pipeline's name (default: the folder's)"),
)
def init(context: Context) -> int:
    from pipeline.config.scaffold import starter

    file = Path(context.environ.get("PUSHLIVE_CONFIG") or "pipelines.yaml")
    text = starter(Path.cwd(), context.args.name or None)
    try:
        with file.open("x", encoding="utf-8") as opened:
            opened.write(text)
    except FileExistsError as error:
        raise RequestError(
            f"{file} already exists and was not changed.",
            advice="Check it with `pushlive check`, or move it away to start again.",
        ) from error
    except OSError as error:
        raise ConfigError(f"cannot write {file}: {error.strerror}.") from error
    context.terminal.say(
        f"Wrote {file}. `pushlive check` checks it; `pushlive up` starts the service with it."
    )
    return DONE


def _file(context: Context) -> str:
    return str(context.args.file or context.environ.get("PUSHLIVE_CONFIG") or "pipelines.yaml")


def _examine(name: str, text: str) -> tuple[list[dict[str, Any]], list[str], list[str]]:
    """Every problem (line, path, message); if there are none, every warning, and those that the file accepts."""
    from pipeline.config import lint, loading, repository_hints

    found = [{"line": p.line, "path": p.path, "message": p.message} for p in loading.problems(text, name)]
    if found:
        return found, [], []
    config, file = loading.load(text, name), Path(name)
    warned = [*lint.found(config), *_beyond_machine(config)]
    if file.is_file():
        folder = file.resolve().parent
        pipeline, path = repository_hints.missing_dockerfile(config, folder)
        if pipeline and repository_hints.is_named(config.pipelines[pipeline]):
            return [_missing(text, pipeline, f"there is no {path} in {folder}")], [], []
        warned += repository_hints.warnings(config, folder)
    left, accepted = lint.judged(config, warned)
    return [], [*map(str, left), *_machine_warnings()], [*map(str, accepted)]


def _beyond_machine(config: Config) -> list[Warned]:
    """What the settings and this machine's Engine do not let start; of the Engine nothing if it does not answer."""
    import ipaddress

    from pipeline.config import lint, settings
    from pipeline.runtime import bootstrap

    try:
        loaded = settings.load()
    except PushliveError:
        return []
    refused = list(lint.devices(config, loaded.devices))
    try:
        engine = bootstrap.inspection(loaded).docker()
    except PushliveError:
        return refused
    networks = 1 << max(0, 26 - ipaddress.IPv4Network(loaded.subnets).prefixlen)
    places = min(len(loaded.port_range), networks)
    return [*refused, *lint.beyond_machine(config, engine.cores, engine.memory, places, _most_processes())]


def _most_processes() -> int:
    """How many processes this machine's kernel can have; 0 if the Engine is on another one."""
    import os

    if not os.environ.get("DOCKER_HOST", "unix://").startswith("unix://"):
        return 0
    try:
        return int(Path("/proc/sys/kernel/pid_max").read_text())
    except (OSError, ValueError):
        return 0


def _missing(text: str, pipeline: str, why: str) -> dict[str, Any]:
    """The problem of a Dockerfile that is named and is not there."""
    from pipeline.config import loading

    line = loading.line_at(text, "pipelines", pipeline, "build", "dockerfile")
    return {
        "line": line,
        "path": f"pipelines.{pipeline}.build.dockerfile",
        "message": f"{why}; commit it, or correct it here",
    }


def _machine_warnings() -> list[str]:
    """What this machine's Engine cannot do for the configuration; nothing if no Engine answers."""
    from pipeline.config import settings
    from pipeline.runtime import bootstrap

    try:
        why_not = bootstrap.builder(settings.load()).why_uncapped()
    except PushliveError:
        return []
    return [why_not] if why_not else []


@command("report every problem in pipelines.yaml, with its line", _FILE, JSON)
def check(context: Context) -> int:
    name = _file(context)
    found, warnings, accepted = _examine(name, read_config(name))
    if context.json:
        context.print_json({"file": name, "problems": found, "warnings": warnings, "accepted": accepted})
        return USAGE if found else DONE
    terminal = context.terminal
    terminal.complain(*_problem_lines(name, found, terminal.paint))
    terminal.say(*(paint_warning(text, terminal.paint) for text in warnings))
    terminal.say(*(f"{terminal.paint('·', 'dim')} {one_line(text)}" for text in accepted))
    if not found and not warnings and not _pipelines(name):
        terminal.say(
            paint_warning(f"{name} has no pipelines; `pushlive init` writes a file with one.", terminal.paint)
        )
    elif not found:
        rest = f", {_count(len(warnings), 'warning')}" if warnings else ""
        rest += "; `accept` in the file takes one that is intended, with the reason" if warnings else ""
        terminal.say(f"{terminal.paint('✓', 'green')} {one_line(name)} has no problems{rest}.")
    return USAGE if found else DONE


def _pipelines(name: str) -> tuple[str, ...]:
    from pipeline.config import loading

    return tuple(loading.load(read_config(name), name).pipelines)


def _problem_lines(name: str, found: list[dict[str, Any]], paint: Paint) -> list[str]:
    if not found:
        return []
    lines = []
    for problem in found:
        place = paint(f"{one_line(name)}:{problem['line']}:", "bold")
        path = f"{one_line(problem['path'])}: " if problem["path"] else ""
        lines.append(f"{place} {path}{one_line(problem['message'])}")
    return [*lines, f"{_count(len(found), 'problem')} in {one_line(name)}."]


def paint_warning(text: str, paint: Paint) -> str:
    return f"{paint('!', 'yellow')} {one_line(text)}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


@command("show what a changed pipelines.yaml would change", _FILE, JSON)
def plan(context: Context) -> int:
    name = _file(context)
    text = read_config(name)
    found, warnings, _ = _examine(name, text)
    terminal = context.terminal
    if found:
        if context.json:
            context.print_json({"problems": found, "warnings": warnings, "pipelines": {}})
        terminal.complain(*_problem_lines(name, found, terminal.paint))
        return USAGE
    answer = context.ask("POST", "/api/plan", {"config": text})
    if context.json:
        context.print_json(answer)
    else:
        terminal.data(*plan_lines(cleaned(answer), terminal.paint))
    return USAGE if answer.get("problems") else DONE


def plan_lines(answer: dict[str, Any], paint: Paint) -> list[str]:
    """The changes by pipeline and environment."""
    lines = [paint(f"✗ {text}", "red") for text in answer.get("problems") or []]
    lines += [paint_warning(str(text), paint) for text in answer.get("warnings") or []]
    pipelines = answer.get("pipelines") or {}
    for pipeline, environments in pipelines.items():
        if any(environments.values()):
            lines.append(paint(pipeline, "bold"))
        for environment, changes in environments.items():
            for number, change in enumerate(changes):
                lines.append(f"  {paint((environment if number == 0 else '').ljust(10), 'cyan')} {change}")
    if not answer.get("problems") and not any(any(changed.values()) for changed in pipelines.values()):
        lines.append("Nothing would change.")
    return lines


def read_config(path: str) -> str:
    """The text of a pipelines.yaml. Raises ConfigError that names the file."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ConfigError(
            f"there is no file {one_line(path)!r}.",
            advice="`pushlive init` writes a pipelines.yaml to start from.",
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {one_line(path)}: {one_line(str(error))}.") from error
