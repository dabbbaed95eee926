"""Warnings about ``pipelines.yaml``: what is allowed, but probably not intended."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.config.dockerfile import builder_settings
from pipeline.config.engines import Where
from pipeline.config.models import Config, Pipeline, Service
from pipeline.lib.units import show_size
from pipeline.lib.units import write_duration as time


def warnings(config: Config) -> tuple[str, ...]:
    """One line each: the path, what is unwise, and why. () if there is nothing to warn about."""
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
                f"{path}.source: the same repository and branch as {seen[origin]}; one push starts both "
                "(ignore this if it is intended)"
            )
        seen.setdefault(origin, name)
        if pipeline.registry and tagged.setdefault(pipeline.registry.repository, name) != name:
            lines.append(
                f"{path}.registry: the same repository as {tagged[pipeline.registry.repository]}; each overwrites "
                "the other's tags (r1, r2, …), and a clean-up may remove images that the other still needs"
            )
        lines += _pipeline(path, pipeline, config.budget_of(name).whole)
    return tuple(lines)


def _budget(path: str, deploy: float, whole: float) -> Iterator[str]:
    if deploy > whole:
        yield f"{path}: deploy ({time(deploy)}) is longer than whole ({time(whole)}), so it never warns first"


def _pipeline(path: str, pipeline: Pipeline, whole: float) -> Iterator[str]:
    live = list(pipeline.environments)[-1]
    if pipeline.build.timeout > whole:
        yield (
            f"{path}.build.timeout: {time(pipeline.build.timeout)} is longer than the whole budget "
            f"({time(whole)}); a build that hangs is noticed late"
        )
    for name in builder_settings(pipeline.build.args):
        yield f"{path}.build.args.{name}: is a setting of the builder, not of the Dockerfile; builds refuse it"
    if len(pipeline.environments) == 1:
        yield f"{path}.environments: {live} is the only one; nothing is tested before it is live"
    if pipeline.source.url.startswith("http://"):
        yield f"{path}.source.url: http:// is not encrypted; others on the network can change what is deployed"
    yield from _promotion(path, pipeline)
    if not pipeline.smoke and all(not pipeline.render(name).smoke for name in pipeline.environments):
        yield (
            f"{path}.smoke: there are no smoke checks; a release goes live once `health` answers, "
            "even if everything else is broken"
        )
    for name in pipeline.environments:
        yield from _environment(f"{path}.environments.{name}", pipeline, name, name == live)
    yield from _unlike(path, pipeline, live)


def _promotion(path: str, pipeline: Pipeline) -> Iterator[str]:
    first, *_ = pipeline.environments
    if len(pipeline.environments) > 1 and pipeline.environment(first).promote == "manual":
        yield f"{path}.environments.{first}.promote: every push waits for a person before the first environment"


def _environment(path: str, pipeline: Pipeline, name: str, live: bool) -> Iterator[str]:
    rendered = pipeline.render(name)
    service = rendered.service
    if pipeline.smoke and not rendered.smoke:
        yield f"{path}.smoke: is empty, so the pipeline's checks are not run here"
    if live and service.replicas == 1:
        yield f"{path}.replicas: only one replica is live; if it crashes, nothing answers until it is back"
    if live and service.keep_warm == 0:
        yield f"{path}.keep_warm: 0 in live; a revert has to start the old release first"
    elif pipeline.keeps_warm(name) and 0 < service.keep_warm < service.drain:
        warm = time(service.keep_warm)
        yield f"{path}.drain: {time(service.drain)} is longer than keep_warm ({warm}), which cuts it short"
    if live and service.health.path == "/":
        yield f"{path}.health: `/` often answers before the application is ready; use a path for health checks"
    yield from _service(path, service)
    yield from _timeout(path, service, rendered.engine)
    for number, check in enumerate(rendered.smoke):
        for text in check.unwise(service.port, alone=len(rendered.smoke) == 1):
            yield f"{path}.smoke[{number}]: {text}"


def _service(path: str, service: Service) -> Iterator[str]:
    if service.stop > 30:
        yield f"{path}.stop: {time(service.stop)} is long; an application that ignores SIGTERM delays every clean-up"
    port = service.env.get("PORT", "")
    if port.isdecimal() and port != str(service.port):
        yield f"{path}.env.PORT: is {port[:12]}, but port is {service.port}; many applications listen on PORT"
    if service.memory < 16 * 2**20:
        yield f"{path}.memory: {show_size(service.memory)} is not enough for most applications"


def _timeout(path: str, service: Service, engine: Where) -> Iterator[str]:
    if service.timeout == Service().timeout:
        return
    seconds = time(service.timeout)
    if not engine.kind.proxied:
        yield (
            f"{path}.timeout: {seconds} has no effect on Kubernetes, where the Ingress controller decides; for "
            "ingress-nginx annotate the Ingress: `nginx.ingress.kubernetes.io/proxy-read-timeout: "
            f'"{service.timeout:.0f}"`'
        )
    elif service.timeout > service.drain:
        yield (
            f"{path}.timeout: {seconds} is longer than drain ({time(service.drain)}); a switch cuts off an answer "
            "that takes longer than drain"
        )


def _unlike(path: str, pipeline: Pipeline, live: str) -> Iterator[str]:
    """How earlier environments differ from live."""
    model, engine = pipeline.render(live).service, pipeline.environment(live).engine
    earlier = {name: pipeline.render(name).service for name in list(pipeline.environments)[:-1]}
    if earlier and model.replicas > 1 and all(own.replicas == 1 for own in earlier.values()):
        yield (
            f"{path}.environments.{live}.replicas: {model.replicas} here and 1 in every environment before; "
            "what breaks with several replicas is first noticed in live"
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
            yield f"{path}.environments.{name}: differs from {live}: {what}; what works here may fail there"
