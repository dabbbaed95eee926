"""Redirects that would lead a browser round and round (`http.redirects`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pipeline.config.http.redirects import loops
from pipeline.config.models import Config
from pipeline.config.yaml_nodes import Problem, show_path

Line = Callable[..., int]  # the line of a key, or of the last one above it that is there


def problems(config: Config, line: Line) -> Iterator[Problem]:
    """Each with its line."""
    for name, pipeline in config.pipelines.items():
        told = set[str]()
        for environment in pipeline.environments:
            rendered = pipeline.render(environment)
            own = "redirects" in pipeline.environment(environment).http.model_fields_set
            where = ("environments", environment) if own else ("service",)
            for one in loops(rendered.service.http.redirects, rendered.hosts):
                path = ("pipelines", name, *where, "http", "redirects", one)
                if show_path(path) not in told:
                    told.add(show_path(path))
                    yield Problem(line(*path), show_path(path), "leads back to itself; lead it elsewhere")
