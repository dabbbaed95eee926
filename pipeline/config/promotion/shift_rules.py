"""Where a release cannot take the traffic over step by step."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pipeline.config.models import Config, Pipeline
from pipeline.config.promotion.shift import Shift
from pipeline.config.yaml_nodes import Problem, show_path

Line = Callable[..., int]  # the line of a key, or of the last one above it that is there


def problems(config: Config, line: Line) -> Iterator[Problem]:
    """Each with its line."""
    for name, pipeline in config.pipelines.items():
        for environment in pipeline.environments:
            if why := _impossible(pipeline, environment):
                path = ("pipelines", name, "environments", environment, "shift")
                yield Problem(line(*path), show_path(path), f"is not possible in {environment}: {why}")


def routes(config: Config, key: str) -> Iterator[tuple[str, str, str, Shift]]:
    """The environments on the engine with that ``Where.key`` whose visitors an HTTPRoute is to divide: the path of the
    key, pipeline, environment."""
    for name, pipeline in config.pipelines.items():
        for environment in pipeline.environments:
            own = pipeline.environment(environment)
            if own.shift.steps and own.shift.route and own.engine.key == key:
                yield f"pipelines.{name}.environments.{environment}.shift", name, environment, own.shift


def _impossible(pipeline: Pipeline, environment: str) -> str:
    own, service = pipeline.environment(environment), pipeline.render(environment).service
    if not own.shift.steps:
        return ""
    if not service.web:
        return "there is no web process, so there are no visitors to divide; remove it"
    if service.one:
        return "with `one: true` two releases never run at once; remove one of the two"
    if own.engine.kind.proxied and own.shift.route:
        return "the proxy divides the visitors on Docker, where there are no HTTPRoutes; remove `route`"
    if not own.engine.kind.proxied and not own.shift.route:
        return (
            "a Service on Kubernetes sends all traffic to one release; name the HTTPRoute by which the visitors come "
            "(`shift: {steps: […], route: NAME}`), or remove it"
        )
    return ""
