"""Which engines are in use, and the address of an environment on each kind of engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pipeline.config import loading
from pipeline.config.address.entries import plain
from pipeline.config.engines import DOCKER, kind_of, where_of
from pipeline.config.models import Config
from pipeline.config.settings import Settings
from pipeline.domain.environment import Environment
from pipeline.domain.naming import own_name, service_name
from pipeline.domain.release import Release
from pipeline.errors import ConfigError, DamagedRecord
from pipeline.store import Store


def in_use(store: Store, config: Config | None) -> frozenset[str]:
    """The keys (``Where.key``) of all engines that the configuration or a record names; Docker if there are none."""
    return frozenset({*_recorded(store), *(_named(config) if config else ())}) or frozenset({DOCKER})


def named_in(file: Path) -> frozenset[str]:
    """The same without the store: Docker, and what the file names."""
    return frozenset({DOCKER, *configured_in(file)})


def configured_in(file: Path) -> frozenset[str]:
    """What the file names; nothing if it cannot be read."""
    try:
        return named_by(file.read_text(encoding="utf-8"))
    except (ConfigError, OSError, UnicodeDecodeError):
        return frozenset()


def named_by(text: str) -> frozenset[str]:
    """What that text names. Raises ConfigError."""
    return frozenset(_named(loading.load(text)))


def _named(config: Config) -> Iterator[str]:
    for pipeline in config.pipelines.values():
        yield from (pipeline.environment(name).engine.key for name in pipeline.environments)


def _recorded(store: Store) -> Iterator[str]:
    for pipeline in store.pipelines():
        try:
            yield from (environment.engine for environment in store.environments(pipeline).values())
        except DamagedRecord:
            yield DOCKER  # what cannot be read may be there


def url(settings: Settings, environment: Environment, hosts: tuple[str, ...]) -> str:
    """Where people reach an environment; "" if it is reachable only inside its cluster."""
    if kind_of(environment.engine).local:
        return f"http://127.0.0.1:{settings.port_range[environment.index]}"
    return next((f"http://{host}" for host in plain(hosts)), "")


def address(settings: Settings, environment: Environment, hosts: tuple[str, ...]) -> str:
    """The same in words, never empty."""
    return url(settings, environment, hosts) or inside(environment)


NO_WEB = "no web process"  # in place of an address


def inside(environment: Environment) -> str:
    """Its Service, as in ``Service hello-live in the namespace shop of prod``, or the machine it runs on."""
    where = where_of(environment.engine)
    pipeline, name = environment.pipeline, environment.name
    return where.kind.inside(where, own_name(pipeline, name), service_name(pipeline, name))


def never_used(environment: Environment) -> bool:
    """True if no release ever served there and no slot is taken, on an engine other than this machine's own: it may be
    one that does not exist, by a mistake in pipelines.yaml."""
    return not (environment.slots or environment.good or kind_of(environment.engine).local)


def refuse_move(environment: Environment, release: Release, key: str) -> None:
    """Raises ConfigError if the environment has slots on another engine: no switch moves traffic between engines."""
    if environment.engine == key or not environment.slots:
        return
    name = environment.name
    raise ConfigError(
        f"{environment.id} runs on {environment.engine}, and {release.name} is configured for {key}: an environment "
        "cannot move to another engine while it serves.",
        advice=f"Add the new one under another name (`{name}2: {{engine: …}}`), move the users there, then remove "
        f"{name} from pipelines.yaml and run `pushlive gc`.",
    )
