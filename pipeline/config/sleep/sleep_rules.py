"""Where nothing can be put to sleep (`sleep_after`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pipeline.config.engines import KUBERNETES
from pipeline.config.models import Config, Pipeline
from pipeline.config.yaml_nodes import Problem, show_path
from pipeline.lib.units import write_duration

Line = Callable[..., int]  # the line of a key, or of the last one above it that is there

SHORTEST = 60.0  # seconds: the keeper looks every few seconds, and people read a page before they click


def problems(config: Config, line: Line) -> Iterator[Problem]:
    """Each with its line."""
    for name, pipeline in config.pipelines.items():
        for environment in pipeline.environments:
            if why := impossible(pipeline, environment):
                path = ("pipelines", name, "environments", environment, "sleep_after")
                yield Problem(line(*path), show_path(path), f"is not possible in {environment}: {why}")


def impossible(pipeline: Pipeline, environment: str) -> str:
    """Why `sleep_after` cannot be there; "" if it can, or is not written."""
    after = pipeline.environment(environment).sleep_after
    if not after:
        return ""
    if environment == next(reversed(pipeline.environments)):
        return (
            "the last environment is live, and its first visitor would wait; write it in the ones before it"
        )
    kind = pipeline.environment(environment).engine.kind
    if kind.proxied and not kind.local:
        return "requests wake only what runs on this machine or on a cluster; remove it"
    service = pipeline.render(environment).service
    if kind is KUBERNETES and service.one:
        return "with `one`, a request could start a pod before the one that goes to sleep has ended; remove one key"
    if not service.web:
        return "there is no web process, so no request would wake it; remove it"
    if after < SHORTEST:
        return f"{write_duration(after)} is too short; write {write_duration(SHORTEST)} or more"
    return ""
