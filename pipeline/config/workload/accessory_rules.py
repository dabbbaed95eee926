"""What `accessories` and `uses` have to fit together: names that exist, engines, references in `env`."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pipeline.config.models import Config, Pipeline, Rendered
from pipeline.config.workload.accessory import MOST
from pipeline.config.workload.references import problem, references
from pipeline.config.yaml_nodes import Problem, show_path

Line = Callable[..., int]  # the line of a key, or of the last one above it that is there


def problems(config: Config, line: Line) -> Iterator[Problem]:
    """Each with its line."""
    yield from _names(config, line)
    for name, pipeline in config.pipelines.items():
        for environment in pipeline.environments:
            rendered = pipeline.render(environment)
            yield from _uses(config, name, pipeline, environment, rendered, line)
            yield from _env(config, name, pipeline, environment, rendered, line)
    yield from _engines(config, line)
    yield from _ports_on_a_cluster(config, line)


def _names(config: Config, line: Line) -> Iterator[Problem]:
    for name, one in config.accessories.items():
        path = ("accessories", name)
        if name in config.pipelines:
            yield Problem(
                line(*path), show_path(path), "a pipeline has this name too; give the accessory another one"
            )
        for variable in (*one.env, *one.secrets):
            if variable.startswith("PUSHLIVE_"):
                where = (*path, "env" if variable in one.env else "secrets", variable)
                text = "names that begin with PUSHLIVE_ are reserved for Pushlive; choose another name"
                yield Problem(line(*where), show_path(where), text)
    full: dict[str, tuple[str, str]] = {}
    for name, environment in pairs(config):
        other = full.setdefault(f"{name}-{environment}", (name, environment))
        if other != (name, environment):
            text = f"{name} in {environment} and {other[0]} in {other[1]} would be one container; rename one of them"
            yield Problem(line("accessories", name), show_path(("accessories", name)), text)


def pairs(config: Config) -> Iterator[tuple[str, str]]:
    """(accessory, environment) of each that is used."""
    for pipeline in config.pipelines.values():
        for environment in pipeline.environments:
            for use in pipeline.render(environment).uses.values():
                if use.accessory in config.accessories:
                    yield use.accessory, environment


def _uses(
    config: Config, name: str, pipeline: Pipeline, environment: str, rendered: Rendered, line: Line
) -> Iterator[Problem]:
    for host, use in rendered.uses.items():
        own = host in pipeline.environment(environment).uses
        path = ("pipelines", name, *(("environments", environment) if own else ()), "uses", host)
        if use.accessory and use.accessory not in config.accessories:
            known = ", ".join(config.accessories) or "none"
            text = f"there is no accessory {use.accessory}; under `accessories` there is {known}"
            yield Problem(line(*path), show_path(path), text)
    if len(rendered.uses) > MOST:
        path = ("pipelines", name, "uses")
        text = f"{environment} would use {len(rendered.uses)}; an environment can use {MOST}"
        yield Problem(line(*path), show_path(path), text)


def _env(
    config: Config, name: str, pipeline: Pipeline, environment: str, rendered: Rendered, line: Line
) -> Iterator[Problem]:
    for variable, text in rendered.service.env.items():
        own = variable in pipeline.environment(environment).env
        inside = ("environments", environment) if own else ("service",)
        path = ("pipelines", name, *inside, "env", variable)
        for one in references(text, rendered.uses):
            use = rendered.uses[one.use]
            if use.accessory and use.accessory not in config.accessories:
                continue  # said already
            found = problem(one, use, config.accessories.get(use.accessory))
            if found:
                yield Problem(line(*path), show_path(path), found)


def _engines(config: Config, line: Line) -> Iterator[Problem]:
    """An accessory is in one place for each environment."""
    first: dict[tuple[str, str], tuple[str, str]] = {}
    for name, pipeline in config.pipelines.items():
        for environment in pipeline.environments:
            rendered = pipeline.render(environment)
            for use in rendered.uses.values():
                if not use.accessory:
                    continue
                mine = (rendered.engine.key, name)
                engine, other = first.setdefault((use.accessory, environment), mine)
                if engine != rendered.engine.key:
                    path = ("pipelines", name, "environments", environment)
                    text = (
                        f"uses {use.accessory}, which is on {engine} for {other}/{environment}, and runs on "
                        f"{rendered.engine.key}; an accessory is reached only on its own engine. Use the same "
                        "engine, or an accessory of its own"
                    )
                    yield Problem(line(*path), show_path(path), text)


def _ports_on_a_cluster(config: Config, line: Line) -> Iterator[Problem]:
    """A Service passes on only the ports that it names."""
    told: set[str] = set()
    for name, pipeline in config.pipelines.items():
        for environment in pipeline.environments:
            rendered = pipeline.render(environment)
            if rendered.engine.kind.proxied:
                continue
            for use in rendered.uses.values():
                one = config.accessories.get(use.accessory)
                if one is None or one.port or use.accessory in told:
                    continue
                told.add(use.accessory)
                path = ("accessories", use.accessory)
                text = (
                    f"has no `port`, and runs on a cluster for {name}/{environment}, where it is reached only by ports "
                    "that are named; write the one on which it listens, such as `port: 5432`"
                )
                yield Problem(line(*path), show_path(path), text)
