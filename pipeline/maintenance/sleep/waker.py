"""Wakes what sleeps once a request wants it. Called from threads of its own: a keeper's round would be too late."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from pipeline.deploy.heartbeat import holding
from pipeline.deploy.services import Services
from pipeline.deploy.sleep.sleeper import Sleeper
from pipeline.domain.environment import Environment
from pipeline.domain.sleep.rule import REQUEST
from pipeline.domain.slots import slot_ref
from pipeline.errors import DamagedRecord, LeaseLost, PushliveError, RequestError, StoreUnavailable, TryAgain
from pipeline.ports.adapters import Adapters
from pipeline.store import Lease

LEASE_WITHIN = 50.0  # seconds for a run or the keeper to leave the environment; the requests wait no longer
LOOK = 0.02  # seconds between two attempts


class Waker:
    """For any number of threads."""

    def __init__(self, services: Services, adapters: Adapters) -> None:
        self._services, self._store, self._adapters = services, services.store, adapters

    def asleep(self) -> tuple[Environment, ...]:
        """Every environment that sleeps, or is being woken."""
        return tuple(self._asleep())

    def _asleep(self) -> Iterator[Environment]:
        for pipeline in self._store.pipelines():
            with suppress(DamagedRecord):
                for environment in self._store.environments(pipeline).values():
                    if environment.asleep:
                        yield environment

    def at(self, index: int) -> Environment | None:
        """The one with that index that sleeps."""
        return next((one for one in self._asleep() if one.index == index), None)

    def wanted(self) -> tuple[Environment, ...]:
        """Those that sleep and have a request that waits, as far as their engines tell, and those that are being woken:
        who began that may have ended."""
        return tuple(one for one in self._asleep() if self._is_wanted(one))

    def _is_wanted(self, environment: Environment) -> bool:
        ref = slot_ref(environment, environment.active or "blue")
        try:
            wanted = self._adapters.engines.of(environment.engine).sleeping.is_wanted(ref)
        except StoreUnavailable:
            raise
        except PushliveError:
            return False  # its engine does not answer, so nothing could be started there
        return wanted or bool(environment.asleep and environment.asleep.waking)

    def wake(self, environment: Environment, by: str = REQUEST) -> bool:
        """Returns once it serves; False if it did not sleep any more. Raises what the engine raises, RequestError if
        a run is at work there for too long."""
        lease = self._lease(environment)
        if lease is None:
            return False
        try:
            with holding(self._store, lease) as held:
                found = self._store.environment(environment.pipeline, environment.name)
                if found is None or found.asleep is None:
                    return False
                engine = held.fenced(self._adapters.engines.of(found.engine))
                Sleeper(self._services, engine, self._adapters.clock, held).wake(found, by)
                return True
        except LeaseLost as error:
            raise TryAgain(f"another process has taken over {environment.id}.") from error

    def _lease(self, environment: Environment) -> Lease | None:
        """None if it does not sleep any more. Whatever has the lease may be about to wake it."""
        clock = self._adapters.clock
        until = clock.monotonic() + LEASE_WITHIN
        while True:
            if lease := self._store.leases.take(f"env:{environment.id}", "wake"):
                return lease
            found = self._store.environment(environment.pipeline, environment.name)
            if found is None or found.asleep is None:
                return None
            if clock.monotonic() >= until:
                raise RequestError(
                    f"{environment.id} cannot be woken: a run is at work there.",
                    advice="`pushlive status` shows which one; try again once it has ended.",
                )
            clock.sleep(LOOK)
