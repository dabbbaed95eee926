"""``pushlive init``, ``check``, ``plan``: writing a pipelines.yaml, and what is in it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.cli.command import JSON, argument, command
from pipeline.cli.context import DONE, USAGE, Context
from pipeline.cli.terminal import Paint, cleaned, origin_text
from pipeline.errors import ConfigError, PushliveError, RequestError
from pipeline.lib.text import one_line

if TYPE_CHECKING:
    from pipeline.config.lint import Warned
    from pipeline.config.models import Config
    from pipeline.config.place.repository import Place

_FILE = argument("file", nargs="?", default="", help="default: pipelines.yaml")


@command(
    "write a commented pipelines.yaml for this repository",
    argument("--name", default="", help="the pipeline's name (default: the folder's)"),
)
def init(context: Context) -> int:
    from pipeline.config.scaffold import is_application, starter

    file, folder = Path(_default(context)), Path.cwd()
    new = file.parent.is_dir() and not file.exists()
    if new and not context.args.name and not is_application(folder):
        raise RequestError(
            f"{one_line(str(folder))} has no Dockerfile and is not in a git repository. Nothing was written.",
            advice="Run this in the folder of an application, or name the pipeline: `pushlive init --name shop` writes "
            "a file with the defaults.",
        )
    text = starter(folder, context.args.name or None)
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


def _default(context: Context) -> str:
    """The service's file; for one in a repository, its place in a clone."""
    from pipeline.config.place.repository import PREFIX, place

    text = context.environ.get("PUSHLIVE_CONFIG") or "pipelines.yaml"
    if not text.startswith(PREFIX):
        return text
    try:
        return str(getattr(place(text), "path", "pipelines.yaml"))
    except ValueError as error:
        raise ConfigError(f"PUSHLIVE_CONFIG: {error}.") from error


def _file(context: Context) -> str:
    """The file that is named; else the usual one here, or above here in the same repository. Raises ConfigError if it
    is only in a folder below."""
    if context.args.file:
        return str(context.args.file)
    name = _default(context)
    for folder in _upwards():
        if (Path(folder) / name).is_file():
            return os.path.join(folder, name) if folder else name
    below = sorted(path for depth in ("*", "*/*") for path in Path().glob(f"{depth}/pipelines.yaml"))
    if below and not Path(name).exists():
        found = one_line(str(below[0]))
        raise ConfigError(
            f"there is no file {one_line(name)!r} here, but {found}.",
            advice="Give its name: `pushlive check` and `plan` take one. If this is a clone of the configuration's "
            f"repository, set PUSHLIVE_CONFIG to what the service has, such as git:ops/{found}.",
        )
    return name


def _upwards() -> Iterator[str]:
    """This folder, and those above it up to the top of its git repository."""
    folder, here = "", Path.cwd()
    yield folder
    if any((one / ".git").exists() for one in (here, *here.parents)):
        for one in (here, *here.parents):
            if (one / ".git").exists():
                return
            folder = os.path.join(folder, os.pardir)
            yield folder


@dataclass(frozen=True)
class Examined:
    """``problems``: line, path and message of each. Only if there are none: ``warnings``, those that the file accepts,
    and what could not be examined."""

    problems: list[dict[str, Any]]
    warnings: list[str] = field(default_factory=list)
    accepted: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)


def _problems(name: str, text: str) -> list[dict[str, Any]]:
    from pipeline.config import loading, repository_hints

    found = [{"line": p.line, "path": p.path, "message": p.message} for p in loading.problems(text, name)]
    found = found or _own_sources(text)
    if found or not _beside_application(name):
        return found
    config, folder = loading.load(text, name), Path(name).resolve().parent
    pipeline, path = repository_hints.missing_dockerfile(config, folder)
    if pipeline and repository_hints.is_named(config.pipelines[pipeline]):
        return [_missing(text, pipeline, f"there is no {path} in {folder}")]
    return []


def _place() -> Place:
    """Where the service has its configuration, as far as this machine knows."""
    from pipeline.config import settings

    try:
        return settings.load().config
    except PushliveError:
        return Path("pipelines.yaml")


def _beside_application(name: str) -> bool:
    """Whether the file may be in an application's folder; one of a repository of its own is not."""
    return Path(name).is_file() and isinstance(_place(), Path)


def _own_sources(text: str) -> list[dict[str, Any]]:
    """Pipelines that would be deployed from the configuration's own repository."""
    from pipeline.config import loading
    from pipeline.config.place.repository import deployed_from

    place = _place()
    message = f"{place} has the configuration, so no application is deployed from its repository"
    return [
        {
            "line": loading.line_at(text, "pipelines", name, "source"),
            "path": f"pipelines.{name}.source",
            "message": f"{message}; give the application one of its own",
        }
        for name in deployed_from(loading.load(text), place)
    ]


def _examine(name: str, text: str) -> Examined:
    from pipeline.config import lint, loading, repository_hints

    if found := _problems(name, text):
        return Examined(found)
    config, file = loading.load(text, name), Path(name)
    unfit, not_asked = _beyond_machines(config)
    warned = [*lint.found(config), *unfit]
    if _beside_application(name):
        warned += repository_hints.warnings(config, file.resolve().parent)
    left, accepted = lint.judged(config, warned)
    return Examined([], [*map(str, left), *_machine_warnings()], [*map(str, accepted)], not_asked)


def _beyond_machines(config: Config) -> tuple[list[Warned], list[str]]:
    """What the settings and the engines do not let start, and which engines were not asked."""
    from pipeline.config import settings
    from pipeline.runtime import bootstrap, machines

    try:
        loaded = settings.load()
    except PushliveError:
        return [], []
    return machines.unfit(config, loaded, bootstrap.inspection(loaded))


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
    told = _examine(name, read_config(name))
    found, warnings = told.problems, told.warnings
    if context.json:
        shown = {"problems": found, "warnings": warnings, "accepted": told.accepted, "not_asked": told.left}
        context.print_json({"file": name, **shown})
        return USAGE if found else DONE
    terminal = context.terminal
    terminal.complain(*_problem_lines(name, found, terminal.paint))
    terminal.say(*(paint_warning(text, terminal.paint) for text in warnings))
    terminal.say(*(f"{terminal.paint('·', 'dim')} {one_line(text)}" for text in (*told.accepted, *told.left)))
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
    found, terminal = _problems(name, text), context.terminal
    if found:
        if context.json:
            context.print_json({"problems": found, "warnings": [], "pipelines": {}})
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
    if origin := answer.get("origin"):
        lines.append(paint(f"against {origin_text(origin)}", "dim"))
    lines += [paint_warning(str(text), paint) for text in answer.get("warnings") or []]
    pipelines = answer.get("pipelines") or {}
    for pipeline, environments in pipelines.items():
        if any(environments.values()):
            lines.append(paint(pipeline, "bold"))
        for environment, changes in environments.items():
            for number, change in enumerate(changes):
                lines.append(f"  {paint((environment if number == 0 else '').ljust(10), 'cyan')} {change}")
            if back := (answer.get("reverts") or {}).get(pipeline, {}).get(environment):
                lines.append(f"  {' ' * 10} {paint(f'revert: {back}', 'dim')}")
    if not answer.get("problems") and not any(any(changed.values()) for changed in pipelines.values()):
        lines.append("Nothing would change.")
    return lines


def read_config(path: str) -> str:
    """The text of a pipelines.yaml. Raises ConfigError that names the file."""
    meant = ", not the name of a pipeline" if re.fullmatch("[a-z][a-z0-9-]*", path) else ""
    try:
        return Path(path).read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ConfigError(
            f"there is no file {one_line(path)!r}.",
            advice=f"This is the path of a pipelines.yaml{meant}; `pushlive init` writes one to start from.",
        ) from error
    except IsADirectoryError as error:
        raise ConfigError(
            f"{one_line(path)} is a folder.", advice="Name the file in it, such as pipelines.yaml."
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{one_line(path)} is not text: byte {error.start + 1} is not UTF-8.",
            advice="Name a pipelines.yaml, and save it as UTF-8.",
        ) from error
    except OSError as error:
        raise ConfigError(
            f"cannot read {one_line(path)}: {one_line(error.strerror or str(error))}.",
            advice="Check who owns it and who may read it.",
        ) from error
