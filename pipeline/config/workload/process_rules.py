"""What is wrong with the processes of an environment, once everything that it inherits is known."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pipeline.config.models import Config, Service
from pipeline.config.workload.processes import PLACES, Process
from pipeline.config.yaml_nodes import Problem, show_path

Line = Callable[..., int]  # the line of a key, or of the last one above it that is there


def problems(config: Config, line: Line) -> Iterator[Problem]:
    """Each with its line, where it is written."""
    for name, pipeline in config.pipelines.items():
        for environment in pipeline.environments:
            common = tuple(pipeline.service.processes)
            for below, message in _wrong(pipeline.render(environment).service, common):
                own = pipeline.environment(environment).processes
                inherited = not own or (below and below[0] not in own)
                place = ("service",) if inherited else ("environments", environment)
                path = ("pipelines", name, *place, "processes", *below)
                yield Problem(line(*path), show_path(path), message)


def _wrong(service: Service, common: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    """The keys below ``processes``, and what to do. ``common``: the processes that every environment has."""
    for name, one in service.processes.items():
        if not one.command:
            text = "`command` is missing: for example `command: [./worker]`"
            if common and name not in common:
                text += f". The processes under service are {', '.join(common)}"
            yield (name,), text
        if one.one and one.replicas > 1:
            yield (
                (name, "replicas"),
                "is more than 1, and `one: true` allows a single one; remove one of the two",
            )
        yield from (((name, key), message) for key, message in _cron(one))
    count = service.web_replicas + sum(one.replicas for one in service.processes_in_use.values())
    if service.processes and count > PLACES:
        text = (
            f"{count} containers with the web replicas, and a release has at most {PLACES}; lower `replicas`"
        )
        yield (), text


_ALL_THE_TIME = ("one", "settle", "ready")
_BY_A_SCHEDULE = ("zone", "timeout", "overlap", "missed")


def _cron(process: Process) -> Iterator[tuple[str, str]]:
    """Keys that have no effect with `cron`, or without it."""
    if process.cron and process.replicas > 1:
        yield "replicas", "has no effect with `cron`: each run has one container; remove it"
    useless = _ALL_THE_TIME if process.cron else _BY_A_SCHEDULE
    for key in useless:
        if getattr(process, key) != type(process).model_fields[key].default:
            yield key, f"has no effect {'with' if process.cron else 'without'} `cron`; remove it"
