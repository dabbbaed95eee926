"""Commands that work on this machine: starting and ending the service, and looking at pipelines.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.cli.act import read_config
from pipeline.cli.context import DONE, USAGE, Context
from pipeline.cli.terminal import Paint, cleaned
from pipeline.errors import ConfigError, PushliveError, RequestError
from pipeline.lib.text import one_line


def up(context: Context) -> int:
    from pipeline.runtime import supervisor

    return supervisor.up(context.args)


def web(_: Context) -> int:
    from pipeline.runtime import supervisor

    return supervisor.web()


def worker(_: Context) -> int:
    from pipeline.runtime import supervisor

    return supervisor.worker()


def down(context: Context) -> int:
    from pipeline.runtime import supervisor

    return supervisor.down(bool(context.args.all))


def backup(context: Context) -> int:
    from pipeline.runtime import supervisor

    return supervisor.backup(context.args.file)


def restore(context: Context) -> int:
    from pipeline.runtime import supervisor

    return supervisor.restore(context.args.file)


def init(context: Context) -> int:
    from pipeline.config.scaffold import starter

    file = Path(context.environ.get("PUSHLIVE_CONFIG") or "pipelines.yaml")
    text = starter(Path.cwd(), context.args.name or None)
    try:
        with file.open("x", encoding="utf-8") as opened:
            opened.write(text)
    except FileExistsError as error:
        raise RequestError(
            f"{file} is here already and was not touched.",
            advice="`pushlive check` looks at it; to start over, move it away first.",
        ) from error
    except OSError as error:
        raise ConfigError(f"{file} cannot be written: {error.strerror}.") from error
    context.terminal.say(
        f"{file} written. `pushlive check` looks at it, `pushlive up` starts the service with it."
    )
    return DONE


def _file(context: Context) -> str:
    return str(context.args.file or context.environ.get("PUSHLIVE_CONFIG") or "pipelines.yaml")


def _examine(name: str, text: str) -> tuple[list[dict[str, Any]], list[str]]:
    """Every problem (line, path, message), and where there is none, every warning."""
    from pipeline.config import lint, loading

    found = [{"line": p.line, "path": p.path, "message": p.message} for p in loading.problems(text, name)]
    if found:
        return found, []
    return [], [*lint.warnings(loading.load(text, name)), *_machine_warnings()]


def _machine_warnings() -> list[str]:
    """What this machine's Engine cannot do for the configuration; nothing where there is none to ask."""
    from pipeline.config import settings
    from pipeline.runtime import bootstrap

    try:
        why_not = bootstrap.builder(settings.load()).why_uncapped()
    except PushliveError:
        return []
    return [why_not] if why_not else []


def check(context: Context) -> int:
    name = _file(context)
    found, warnings = _examine(name, read_config(name))
    if context.json:
        context.print_json({"file": name, "problems": found, "warnings": warnings})
        return USAGE if found else DONE
    terminal = context.terminal
    terminal.complain(*_problem_lines(name, found, terminal.paint))
    terminal.say(*(paint_warning(text, terminal.paint) for text in warnings))
    if not found and not warnings and not _pipelines(name):
        terminal.say(
            f"{paint_warning('', terminal.paint)}{one_line(name)} has no pipeline in it; `pushlive init` writes one."
        )
    elif not found:
        rest = f", {_count(len(warnings), 'warning')}" if warnings else ""
        terminal.say(f"{terminal.paint('✓', 'green')} {one_line(name)} has no problem{rest}.")
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


def plan(context: Context) -> int:
    name = _file(context)
    text = read_config(name)
    found, warnings = _examine(name, text)
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
    """What would change, by pipeline and environment."""
    lines = [paint(f"✗ {text}", "red") for text in answer.get("problems") or []]
    lines += [paint_warning(str(text), paint) for text in answer.get("warnings") or []]
    for pipeline, places in (answer.get("pipelines") or {}).items():
        if any(places.values()):
            lines.append(paint(pipeline, "bold"))
        for place, changes in places.items():
            for number, change in enumerate(changes):
                lines.append(f"  {paint((place if number == 0 else '').ljust(10), 'cyan')} {change}")
    if not answer.get("problems") and not any(
        any(p.values()) for p in (answer.get("pipelines") or {}).values()
    ):
        lines.append("Nothing would change.")
    return lines
