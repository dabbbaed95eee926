"""Which secrets a configuration names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from pipeline.config.models import Config
from pipeline.config.previews.names import SECRETS as PREVIEWS
from pipeline.config.previews.names import is_preview
from pipeline.config.workload.accessory_rules import pairs
from pipeline.domain.secret_versions import EVERY


class Named(NamedTuple):
    """``owner``: the pipeline or accessory; ``environment``: EVERY for all of them; ``key``: where it is named, as in
    ``pipelines.hello.registry.password``; ``without``: what happens as long as it is not set."""

    owner: str
    environment: str
    name: str
    key: str
    without: str


def named(config: Config) -> Iterator[Named]:
    """Each that a person has to set, by environment. A new key that names one belongs here: a test finds it in the
    models."""
    for name, pipeline in config.pipelines.items():
        if is_preview(name):
            continue  # what it needs is named with its pipeline
        path, no_run = f"pipelines.{name}", "no run will start"
        if pipeline.registry and pipeline.registry.password:
            yield Named(name, EVERY, pipeline.registry.password, f"{path}.registry.password", no_run)
        for environment, own in pipeline.environments.items():
            where = f"{path}.environments.{environment}"
            service = pipeline.render(environment).service
            for secret in service.all_secrets:
                key = "secrets" if secret in service.secrets else "http.basic"
                yield Named(name, environment, secret, f"{where}.{key}", no_run)
            if own and own.metrics and own.metrics.token:
                without = "its answers are not counted, and its releases are not compared"
                yield Named(name, environment, own.metrics.token, f"{where}.metrics.token", without)
        if pipeline.previews:
            for secret in pipeline.render(pipeline.previews.from_).service.all_secrets:
                yield Named(name, PREVIEWS, secret, f"{path}.previews", "no preview will start")
    for accessory, environment in sorted({*pairs(config), *_of_previews(config)}):
        if is_preview(environment):
            continue
        for secret, origin in config.accessories[accessory].secrets.items():
            if origin == "set":
                key, without = f"accessories.{accessory}.secrets", f"it cannot be made in {environment}"
                yield Named(accessory, environment, secret, key, without)


def _of_previews(config: Config) -> Iterator[tuple[str, str]]:
    """(accessory, PREVIEWS) of each that previews use."""
    for pipeline in config.pipelines.values():
        for use in pipeline.render(pipeline.previews.from_).uses.values() if pipeline.previews else ():
            if use.accessory in config.accessories:
                yield use.accessory, PREVIEWS
