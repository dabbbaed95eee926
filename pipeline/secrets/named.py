"""Which secrets a configuration names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from pipeline.config.models import Config
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
        path, no_run = f"pipelines.{name}", "no run will start"
        if pipeline.registry and pipeline.registry.password:
            yield Named(name, EVERY, pipeline.registry.password, f"{path}.registry.password", no_run)
        for environment, own in pipeline.environments.items():
            where = f"{path}.environments.{environment}"
            for secret in pipeline.render(environment).service.secrets:
                yield Named(name, environment, secret, f"{where}.secrets", no_run)
            if own and own.metrics and own.metrics.token:
                without = "its answers are not counted, and its releases are not compared"
                yield Named(name, environment, own.metrics.token, f"{where}.metrics.token", without)
    for accessory, environment in sorted(set(pairs(config))):
        for secret, origin in config.accessories[accessory].secrets.items():
            if origin == "set":
                key, without = f"accessories.{accessory}.secrets", f"it cannot be made in {environment}"
                yield Named(accessory, environment, secret, key, without)
