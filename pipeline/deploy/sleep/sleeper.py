"""Puts what serves in an environment to sleep, and wakes it. Under the environment's lease.

The record comes first, in one transaction, and the engine follows: if the process dies in between, the next one that
has the lease, at last the keeper, goes on from the record. So a sleeping environment is what the record says, and never
what an engine happens to have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

from pipeline.deploy.data.unfinished import refuse
from pipeline.deploy.services import Services
from pipeline.deploy.slot.serving import spec_in
from pipeline.domain.engine_types import SlotSpec
from pipeline.domain.environment import Environment, other
from pipeline.domain.events import Event
from pipeline.domain.sleep import rule
from pipeline.domain.sleep.records import idle_fact
from pipeline.domain.slots import slot_ref
from pipeline.domain.volumes import volumes_of
from pipeline.errors import (
    ConfigError,
    EngineAway,
    LeaseLost,
    PushliveError,
    RequestError,
    StoreUnavailable,
    TryAgain,
)
from pipeline.ports.clock import Clock, Deadline
from pipeline.ports.engine import Engine
from pipeline.store import Lease, Transaction

LONGEST_WAIT = 50.0  # seconds that a request waits at most: less than a client's patience, 60 s
MARGIN = 10.0  # seconds of that beside the application's own `ready`
LOOK = 0.1  # seconds between two looks at what has begun
START_MARGIN = 60.0  # seconds that starting may take beside it


@dataclass(frozen=True)
class SleepDrift:
    """As a ``reconciler.Difference``."""

    found: str
    repaired: str
    repair: Callable[[], bool | None]


class Sleeper:
    """``engine``: for changes under ``lease``, the environment's; None for one that only looks."""

    def __init__(self, services: Services, engine: Engine, clock: Clock, lease: Lease | None) -> None:
        self._services, self._store = services, services.store
        self._engine, self._clock, self._lease = engine, clock, lease

    def put(self, environment: Environment, why: str, by: str = "") -> Environment:
        """Puts it to sleep; the record then. ``why``: for people; ``by``: who wants it, "" for `sleep_after`. Raises
        RequestError if it cannot sleep now, and what the engine raises; nothing is changed then."""
        ref = slot_ref(environment, environment.active or "blue")
        if environment.active and not self._spec(environment).web:
            raise RequestError(
                f"{environment.id} cannot be put to sleep: r{environment.serving} has no web process, so no request"
                " would wake it.",
                advice="`pushlive status` shows what runs.",
            )
        self._engine.sleeping.can_sleep(ref)

        def act(transaction: Transaction) -> Environment:
            found = transaction.environment(environment.name)
            if obstacle := rule.obstacle(found):
                raise RequestError(
                    f"{found.id} cannot be put to sleep: {obstacle}.", advice="`pushlive status` shows it."
                )
            found = rule.fallen(found, self._clock.now(), why, by)
            transaction.put_environment(found)
            return found

        asleep = self._store.transact(environment.pipeline, act, fence=self._lease)
        self.settle(asleep)
        return asleep

    def settle(self, environment: Environment) -> None:
        """Ends what a sleeping environment still runs, what was only warm first. New requests wait before anything
        ends, and those that have begun are answered. Idempotent."""
        spec = self._spec(environment)
        if not self._engine.sleeping.awaits_request(spec.ref):
            self._engine.sleeping.await_request(spec.ref, wait_of(spec))
        slot = other(spec.ref.slot)
        if slot not in environment.slots and self._engine.slots.replicas(replace(spec.ref, slot=slot)):
            self._engine.slots.stop(replace(spec.ref, slot=slot))
        if self._drained(spec):  # else it would only have to start again
            self._engine.sleeping.end_sleeping(spec)

    def _drained(self, spec: SlotSpec) -> bool:
        """False as soon as a request waits: it must not wait for the end of others. What is still open after `drain` is
        closed."""
        ref, end = spec.ref, self._clock.monotonic() + spec.config.service.drain
        while self._engine.traffic.open_sessions(ref) and self._clock.monotonic() < end:
            if self._engine.sleeping.is_wanted(ref):
                return False
            self._clock.sleep(LOOK)
        if self._engine.sleeping.is_wanted(ref):
            return False
        self._engine.traffic.drain(ref, 0.0, Deadline(self._clock, MARGIN, "drain"))
        return not self._engine.sleeping.is_wanted(ref)

    def wake(self, environment: Environment, by: str, say: Callable[[Event], None] = lambda _: None) -> None:
        """Starts it, and gives it the requests that wait. ``by``: who or what wakes it. Idempotent; nothing for one
        that does not sleep. Raises what the engine raises: what does not start any more does not sleep either, and
        is repaired and reported as anything that serves."""
        found = self._change(environment, lambda one: rule.waking(one, self._clock.now(), by))
        if found is None or found.asleep is None:
            return
        spec = self._spec(found)
        try:
            refuse(self._store, volumes_of(spec))
            limit = spec.config.service.ready + START_MARGIN
            self._engine.sleeping.wake(spec, Deadline(self._clock, limit, f"Waking {found.id}"))
            self._engine.traffic.switch(spec)
        except (StoreUnavailable, EngineAway, TryAgain, LeaseLost):
            raise  # it goes on once that is over
        except PushliveError:
            self._change(found, rule.awake)
            self._engine.traffic.unroute(spec.ref)  # requests must not wait for what does not come
            raise
        self._change(found, rule.awake)
        self._start_processes(spec, say)

    def _start_processes(self, spec: SlotSpec, say: Callable[[Event], None]) -> None:
        if not spec.config.service.processes_in_use:
            return
        try:
            self._engine.processes.restore_processes(spec)
        except (StoreUnavailable, LeaseLost):
            raise
        except PushliveError as error:
            text = f"the processes do not run yet ({error.message}); the service starts them within seconds"
            say(Event("note", self._clock.now(), text))

    def differences(self, environment: Environment) -> Iterator[SleepDrift]:
        """What is not as the record of a sleeping environment says, with its repair."""
        asleep = environment.asleep
        if asleep is None:
            return
        if asleep.waking:
            yield SleepDrift(
                f"r{asleep.release} is being woken by {asleep.woken}",
                f"r{asleep.release}, which was being woken by {asleep.woken}, serves again",
                partial(self.wake, environment, asleep.woken),
            )
            return
        spec = self._spec(environment)
        settle = partial(self.settle, environment)
        if not self._engine.sleeping.awaits_request(spec.ref):
            yield SleepDrift(
                f"r{asleep.release} sleeps, and its requests do not wait until it was woken",
                f"requests to r{asleep.release}, which sleeps, wait until it was woken",
                settle,
            )
        elif running := self._engine.sleeping.still_awake(spec):
            if self._engine.sleeping.is_wanted(spec.ref):
                return  # it is about to be woken
            yield SleepDrift(
                f"r{asleep.release} sleeps, but {', '.join(running)} runs",
                f"r{asleep.release} sleeps, but {', '.join(running)} ran; it was stopped",
                settle,
            )

    def _change(
        self, environment: Environment, change: Callable[[Environment], Environment]
    ) -> Environment | None:
        """None if there is no such environment any more."""

        def act(transaction: Transaction) -> Environment:
            found = transaction.environment(environment.name)
            changed = change(found)
            if changed != found:
                transaction.put_environment(changed)
                transaction.put_fact(idle_fact(found.id), "")  # being woken is use
            return changed

        return self._store.transact(environment.pipeline, act, fence=self._lease)

    def _spec(self, environment: Environment) -> SlotSpec:
        if environment.active is None:
            raise ConfigError(f"{environment.id} has no release.")
        return spec_in(self._services, environment, environment.active)


def wait_of(spec: SlotSpec) -> float:
    """Seconds that a request which wakes it waits at most."""
    return min(LONGEST_WAIT, spec.config.service.ready + MARGIN)
