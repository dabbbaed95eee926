"""Which environments give way to a cap, in which order, and how they are put to sleep."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pipeline.config.cost.cap_rules import yielding
from pipeline.config.models import Config
from pipeline.deploy.heartbeat import holding
from pipeline.deploy.services import Services
from pipeline.deploy.sleep.sleeper import Sleeper
from pipeline.domain.environment import Environment
from pipeline.domain.sleep import rule
from pipeline.errors import LeaseLost, PushliveError, StoreUnavailable
from pipeline.ports.clock import Clock
from pipeline.ports.engine import Engines
from pipeline.store.costs.caps import BY_CAP

PutToSleep = Callable[[Environment, str], bool]
"""Puts an environment to sleep for that reason, written for people; False if it cannot be now."""

Yields = tuple[tuple[tuple[str, str], float], ...]  # the same, each with what its sleep saves
Order = tuple[tuple[str, str], ...]  # pipeline and environment


def order(config: Config, environments: Mapping[tuple[str, str], Environment]) -> Order:
    """What could give way: named in `costs.give_way`, something serves there, and it is awake."""
    return tuple(
        one
        for one in yielding(config)
        if (found := environments.get(one)) and found.active and not found.asleep
    )


def may_sleep(config: Config, name: tuple[str, str]) -> bool:
    """Whether the file lets that environment sleep at all."""
    pipeline, environment = name
    return bool(config.pipelines[pipeline].environment(environment).sleep_after)


def able(config: Config, yields: Yields) -> Yields:
    """Those that may sleep."""
    return tuple(one for one in yields if may_sleep(config, one[0]))


class GivingWay:
    """Puts to sleep what gives way, under its lease."""

    def __init__(self, services: Services, engines: Engines, clock: Clock) -> None:
        self._services, self._store = services, services.store
        self._engines, self._clock = engines, clock

    def put_to_sleep(self, environment: Environment, why: str) -> bool:
        """See ``PutToSleep``. Waits for no one: where a run is at work, nothing sleeps. Raises StoreUnavailable."""
        lease = self._store.leases.take(f"env:{environment.id}", BY_CAP)
        if lease is None:
            return False
        try:
            with holding(self._store, lease) as held:
                found = self._store.environment(environment.pipeline, environment.name)
                if found is None or rule.obstacle(found):
                    return False
                engine = held.fenced(self._engines.of(found.engine))
                Sleeper(self._services, engine, self._clock, held).put(found, why, BY_CAP)
                return True
        except StoreUnavailable:
            raise
        except (PushliveError, LeaseLost):  # what it began, the keeper settles by the record
            return False
