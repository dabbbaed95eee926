"""What is allowed in ``pipelines.yaml`` and yet unwise: what a thoughtful colleague would say."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.config.models import Config, Pipeline, Service
from pipeline.lib.units import show_size
from pipeline.lib.units import write_duration as time


def warnings(config: Config) -> tuple[str, ...]:
    """One line each: the path, what is unwise, and why. Empty for a configuration that has thought of all."""
    lines = list(_budget("budget", config.budget.deploy, config.budget.whole))
    seen: dict[tuple[str, str], str] = {}
    tagged: dict[str, str] = {}
    for name, pipeline in config.pipelines.items():
        path = f"pipelines.{name}"
        if pipeline.budget:
            lines += _budget(f"{path}.budget", pipeline.budget.deploy, pipeline.budget.whole)
        origin = (pipeline.source.url or config.repository_of(name), pipeline.source.branch)
        if origin in seen:
            lines.append(
                f"{path}.source: the same repository and branch as {seen[origin]}; one push starts both, "
                "which is fine if that is meant"
            )
        seen.setdefault(origin, name)
        if pipeline.registry and tagged.setdefault(pipeline.registry.repository, name) != name:
            lines.append(
                f"{path}.registry: the same repository as {tagged[pipeline.registry.repository]}; each overwrites "
                "the other's tags (r1, r2, …), and a clean-up there may take what the other still needs"
            )
        lines += _pipeline(path, pipeline, config.budget_of(name).whole)
    return tuple(lines)


def _budget(path: str, deploy: float, whole: float) -> Iterator[str]:
    if deploy > whole:
        yield f"{path}: deploy ({time(deploy)}) is longer than whole ({time(whole)}); it never warns first"


def _pipeline(path: str, pipeline: Pipeline, whole: float) -> Iterator[str]:
    live = list(pipeline.environments)[-1]
    if pipeline.build.timeout > whole:
        yield (
            f"{path}.build.timeout: {time(pipeline.build.timeout)} is more than the whole budget "
            f"({time(whole)}); a hanging build is found out late"
        )
    if len(pipeline.environments) == 1:
        yield f"{path}.environments: {live} is the only one; nothing is tried anywhere before it is live"
    if pipeline.source.url.startswith("http://"):
        yield f"{path}.source.url: http:// is not encrypted; anybody on the way can change what is deployed"
    yield from _promotion(path, pipeline)
    if not pipeline.smoke and all(not pipeline.render(name).smoke for name in pipeline.environments):
        yield (
            f"{path}.smoke: there are no smoke checks; a release goes live once `health` answers, "
            "whatever else is broken"
        )
    for name in pipeline.environments:
        yield from _environment(f"{path}.environments.{name}", pipeline, name, name == live)
    yield from _unlike(path, pipeline, live)


def _promotion(path: str, pipeline: Pipeline) -> Iterator[str]:
    first, *_ = pipeline.environments
    if len(pipeline.environments) > 1 and pipeline.environment(first).promote == "manual":
        yield f"{path}.environments.{first}.promote: a person has to let in every push, even here"


def _environment(path: str, pipeline: Pipeline, name: str, live: bool) -> Iterator[str]:
    rendered = pipeline.render(name)
    service = rendered.service
    if pipeline.smoke and not rendered.smoke:
        yield f"{path}.smoke: is empty, so the pipeline's checks are not made here"
    if live and service.replicas == 1:
        yield f"{path}.replicas: one replica is live; when it crashes, nothing answers until it is back"
    if live and service.keep_warm == 0:
        yield f"{path}.keep_warm: 0 in live; a revert is no single switch, it has to start the old release"
    elif service.keep_warm and service.drain > service.keep_warm:
        warm = time(service.keep_warm)
        yield f"{path}.drain: {time(service.drain)} is longer than keep_warm ({warm}), which ends it"
    if live and service.health == "/":
        yield f"{path}.health: `/` often answers before the application is ready; a path of its own says more"
    yield from _service(path, service)
    for number, check in enumerate(rendered.smoke):
        for text in check.unwise(service.port, alone=len(rendered.smoke) == 1):
            yield f"{path}.smoke[{number}]: {text}"


def _service(path: str, service: Service) -> Iterator[str]:
    if service.stop > 30:
        yield f"{path}.stop: {time(service.stop)} is long; what ignores SIGTERM holds up every clean-up"
    port = service.env.get("PORT", "")
    if port.isdecimal() and port != str(service.port):
        yield f"{path}.env.PORT: is {port[:12]} but port is {service.port}; applications often listen on PORT"
    if service.memory < 16 * 2**20:
        yield f"{path}.memory: {show_size(service.memory)} is hardly enough for any application"


def _unlike(path: str, pipeline: Pipeline, live: str) -> Iterator[str]:
    """For information: where what comes before live is unlike live."""
    model, engine = pipeline.render(live).service, pipeline.environment(live).engine
    earlier = {name: pipeline.render(name).service for name in list(pipeline.environments)[:-1]}
    if earlier and model.replicas > 1 and all(own.replicas == 1 for own in earlier.values()):
        yield (
            f"{path}.environments.{live}.replicas: {model.replicas} here and 1 everywhere before; "
            "what breaks with several replicas is found out in live"
        )
    for name, own in earlier.items():
        different = []
        if own.memory != model.memory:
            different.append(f"memory {show_size(own.memory)} instead of {show_size(model.memory)}")
        if own.cpu != model.cpu:
            different.append(f"cpu {own.cpu:g} instead of {model.cpu:g}")
        if own.command != model.command:
            different.append("another command")
        if own.security != model.security:
            different.append(f"security {own.security} instead of {model.security}")
        if (kind := pipeline.environment(name).engine.kind.name) != engine.kind.name:
            different.append(f"on {kind} instead of {engine.kind.name}")
        if different:
            what = ", ".join(different)
            yield f"{path}.environments.{name}: unlike {live}: {what}; what works here may fail there"
