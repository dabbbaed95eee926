"""What the machine behind an environment does not have, and its configuration names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pipeline.config.engines import Where, where_of
from pipeline.config.lint import Warned
from pipeline.config.models import Config
from pipeline.config.workload import binds
from pipeline.config.workload.object_store import INSTALL, is_installed

MISSING = "does not exist"  # of a network that is to be joined
OURS = "belongs to an environment of Pushlive, which only its own containers join"


def networks_on(config: Config, key: str) -> tuple[str, ...]:
    """The networks that environments on the engine with that ``Where.key`` join."""
    named = (name for _, names in _joining(config, key) for name in names)
    return tuple(dict.fromkeys(named))


def networks(config: Config, key: str, reasons: Mapping[str, str]) -> Iterator[Warned]:
    """``reasons``: why some of them cannot be joined."""
    for path, names in _joining(config, key):
        for name in names:
            if why := reasons.get(name):
                make = f": `{_docker(where_of(key))} network create {name}`" if why == MISSING else ""
                yield Warned(f"{path}.networks", f"{name} {why}, so nothing starts there{make}")


def folders(config: Config, allowed: tuple[str, ...]) -> Iterator[Warned]:
    """Folders of the machine that the service's setting PUSHLIVE_BINDS does not allow."""
    for name, pipeline in config.pipelines.items():
        for stage in pipeline.environments:
            for folder, why in binds.refused(pipeline.render(stage).service.binds.values(), allowed):
                yield Warned(
                    f"pipelines.{name}.environments.{stage}.binds",
                    f"{folder}: {why}, so nothing starts there",
                )


def object_store(config: Config) -> Iterator[Warned]:
    """Buckets, if the library for them is not installed here."""
    if is_installed():
        return
    backups = [
        (f"pipelines.{name}.service.volumes.{volume}.backup.to", one.backup.to)
        for name, pipeline in config.pipelines.items()
        for stage in pipeline.environments
        for volume, one in pipeline.render(stage).service.volumes.items()
    ]
    backups += [(f"accessories.{name}.backup.to", one.backup.to) for name, one in config.accessories.items()]
    for path, to in dict(backups).items():
        if to.s3:
            yield Warned(
                path, f"the library for {to} is not installed here, so nothing is sent there. {INSTALL}"
            )


def _joining(config: Config, key: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    for name, pipeline in config.pipelines.items():
        for stage in pipeline.environments:
            if pipeline.environment(stage).engine.key == key:
                path = f"pipelines.{name}.environments.{stage}"
                yield path, pipeline.render(stage).service.networks


def _docker(where: Where) -> str:
    return f"docker -H {where.docker}" if where.docker else "docker"
