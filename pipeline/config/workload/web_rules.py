"""What a pipeline without a web process cannot have."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pipeline.config.checks import RunCheck
from pipeline.config.models import Config, Pipeline
from pipeline.config.yaml_nodes import Path, Problem, show_path

Line = Callable[..., int]  # the line of a key, or of the last one above it that is there

_USELESS = {
    "port": "nothing listens",
    "health": "nothing answers requests; `ready` of a process says when it is ready",
    "liveness": "nothing answers requests; a process that ends is started again",
    "replicas": "they are those of the web process; write `replicas` of a process",
    "one": "processes have a key `one` of their own",
    "command": "it is the web process's; write `command` of a process",
    "drain": "there are no connections to wait for",
    "keep_warm": "processes never run in a slot that does not serve",
    "timeout": "there are no visitors",
    "http": "there are no visitors",
    "host": "nothing takes requests",
    "hosts": "nothing takes requests",
}


def problems(config: Config, line: Line) -> Iterator[Problem]:
    """Each with its line, where it is written."""
    for name, pipeline in config.pipelines.items():
        without = [one for one in pipeline.environments if not pipeline.render(one).service.web]
        for path, message in _wrong(pipeline, without):
            whole = ("pipelines", name, *path)
            yield Problem(line(*whole), show_path(whole), message)


def _wrong(pipeline: Pipeline, without: list[str]) -> Iterator[tuple[Path, str]]:
    for environment in without:
        service = pipeline.render(environment).service
        if not (service.processes_in_use or service.cron_in_use):
            yield (
                ("environments", environment),
                "nothing would run: `web: false`, and no process that runs here; write one under `processes`",
            )
        own = pipeline.environment(environment)
        yield from _useless(("environments", environment), own.model_fields_set)
        yield from _checks(("environments", environment, "smoke"), own.smoke or ())
    if without and len(without) == len(pipeline.environments):
        yield from _useless(("service",), pipeline.service.model_fields_set)
        yield from _checks(("smoke",), pipeline.smoke)
    elif without and any(
        not isinstance(check, RunCheck) for one in without for check in pipeline.render(one).smoke
    ):
        yield (
            ("environments", without[0]),
            "there is no web process here, and a check asks one; write `smoke: []`, or `run` checks",
        )


def _useless(above: Path, written: set[str]) -> Iterator[tuple[Path, str]]:
    for key, why in _USELESS.items():
        if key in written:
            yield (*above, key), f"has no effect with `web: false`: {why}; remove it"


def _checks(above: Path, checks: object) -> Iterator[tuple[Path, str]]:
    for number, check in enumerate(checks if isinstance(checks, tuple) else ()):
        if not isinstance(check, RunCheck):
            yield (
                (*above, number),
                f"{check.show()}: with `web: false` nothing answers it; write a `run` check, or remove it",
            )
