"""A host name that the file gives to another environment than the one that serves it: an environment or a pipeline was
renamed, or the name was moved. It leads to the old one until the new one's first switch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress

from pipeline.config.models import Config
from pipeline.domain.environment import Environment
from pipeline.errors import ConfigError, DamagedRecord, NotFound
from pipeline.store import Store
from pipeline.store.configurations import Configurations


def elsewhere(
    store: Store, configurations: Configurations, pipeline: str, name: str, hosts: Iterable[str]
) -> tuple[str, ...]:
    """Those of the environment's host names that another one has taken over: the file gives them to it, and it serves
    with them."""
    hosts = tuple(hosts)
    if not hosts:
        return ()
    try:
        config = configurations.current()[1]
    except ConfigError:
        return ()
    owners = {host: owner for host in hosts if (owner := config.owner_of(host))}
    return tuple(
        host
        for host, owner in owners.items()
        if owner != (pipeline, name) and host in serves(store, store.environment(*owner))
    )


def serves(store: Store, environment: Environment | None) -> tuple[str, ...]:
    """The host names of the release that serves there."""
    if environment is None or environment.active is None or environment.serving is None:
        return ()
    with suppress(NotFound, KeyError):
        return store.release(environment.pipeline, environment.serving).environments[environment.name].hosts
    return ()


def moving(store: Store, config: Config) -> Iterator[tuple[str, str, str, str]]:
    """(host, pipeline, environment, id of the one that serves it until then) of each host name that moves with the next
    release of that environment."""
    for pipeline in store.pipelines():
        with suppress(DamagedRecord):
            for environment in store.environments(pipeline).values():
                for host in serves(store, environment):
                    owner = config.owner_of(host)
                    if owner in (None, (environment.pipeline, environment.name)):
                        continue
                    if host not in serves(store, store.environment(*owner)):
                        yield host, *owner, environment.id
