"""Room for what is to be started: what is only kept warm for an instant revert gives way, the least important first."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace

from pipeline.config.engines import kind_of
from pipeline.config.models import Pipeline
from pipeline.deploy.heartbeat import HeldLease, LeaseHeartbeat
from pipeline.deploy.run_context import RunContext
from pipeline.domain.engine_types import SlotSpec
from pipeline.domain.environment import Environment, Slot, SlotRecord, SlotState
from pipeline.domain.slots import slot_ref
from pipeline.errors import (
    ConfigError,
    DamagedRecord,
    DoesNotFit,
    EngineFailed,
    LeaseLost,
    NotFound,
    RequestError,
)
from pipeline.lib.retry import poll
from pipeline.ports.clock import Watch
from pipeline.ports.engine import Engines
from pipeline.store import Transaction
from pipeline.store.configurations import Configurations

LEASE_TIMEOUT = 2.0  # seconds: the keeper or a run may be at work in that environment
FREED_WITHIN = 15.0  # seconds until a cluster counts what was stopped as gone


@dataclass(frozen=True)
class Warm:
    """A warm slot. ``rank``: smaller for one that gives way before others."""

    environment: Environment
    slot: Slot
    record: SlotRecord
    rank: tuple[bool, int, float]


class Room:
    """For one run. ``configurations``: which environments are live, and which come before it."""

    def __init__(self, context: RunContext, engines: Engines, configurations: Configurations) -> None:
        self._context, self._engines, self._configurations = context, engines, configurations
        self._store, self._clock = context.store, context.clock

    def fit(self, spec: SlotSpec, watch: Watch) -> None:
        """Returns once the slot fits on its engine. Raises DoesNotFit if it does not although nothing is warm there any
        more, and what the watch raises."""
        tried: set[tuple[str, Slot]] = set()
        while True:
            try:
                self._engines.of(spec.ref.engine).slots.fits(spec)
                return
            except DoesNotFit:
                left = [one for one in self._warm(spec) if (one.environment.id, one.slot) not in tried]
                if not left:
                    raise
                least = min(left, key=lambda one: one.rank)
                tried.add((least.environment.id, least.slot))
                self._end(least, spec, watch)

    # ── what is warm ─────────────────────────────────────────────────────────

    def _warm(self, spec: SlotSpec) -> Iterator[Warm]:
        """The warm slots of other environments on the same engine."""
        for pipeline in self._store.pipelines():
            with suppress(DamagedRecord):
                for environment in self._store.environments(pipeline).values():
                    own = (environment.pipeline, environment.name) == (
                        spec.ref.pipeline,
                        spec.ref.environment,
                    )
                    if own or environment.engine != spec.ref.engine:
                        continue
                    for slot, record in environment.slots.items():
                        if record.state == SlotState.WARM:
                            yield Warm(environment, slot, record, self._rank(environment, record))

    def _rank(self, environment: Environment, record: SlotRecord) -> tuple[bool, int, float]:
        """Live gives way last, and an earlier environment before a later one; one that is no longer in the file before
        all others; among equals, the one whose time ends first."""
        names = list(found.environments) if (found := self._pipeline(environment.pipeline)) else []
        if environment.name not in names:
            return False, -1, record.until
        place = names.index(environment.name)
        return place == len(names) - 1, place, record.until

    def _pipeline(self, name: str) -> Pipeline | None:
        try:
            return self._configurations.current()[1].pipelines.get(name)
        except ConfigError:
            return None

    # ── giving way ───────────────────────────────────────────────────────────

    def _end(self, one: Warm, spec: SlotSpec, watch: Watch) -> None:
        """Stops the slot under its environment's lease, if it is still as it was found."""
        watch.check()
        key = f"env:{one.environment.id}"
        lease = poll(
            lambda: self._store.leases.take(key, self._context.run.id),
            0.05,
            self._clock,
            timeout=LEASE_TIMEOUT,
        )
        if lease is None:
            return
        with LeaseHeartbeat(self._store) as heartbeat:
            held = heartbeat.hold(lease)
            found = self._store.environment(one.environment.pipeline, one.environment.name)
            if found is None or found.slots.get(one.slot) != one.record or found.active == one.slot:
                return
            try:
                self._stop(one, held, watch)
            except (EngineFailed, RequestError, LeaseLost) as error:
                self._context.note(
                    f"{_named(one)} could not give way: {error}", spec.ref.environment, "warning"
                )
                return
        self._say(one, spec)
        if not kind_of(spec.ref.engine).keeps_stopped:
            self._await_freed(spec, watch)

    def _stop(self, one: Warm, lease: HeldLease, watch: Watch) -> None:
        engine, ref = self._engines.of(one.environment.engine), slot_ref(one.environment, one.slot)
        engine = lease.fenced(engine)
        engine.traffic.drain(ref, self._drain_left(one), watch)
        self._context.still_ours()
        engine.slots.stop(ref)

        def empty(transaction: Transaction) -> None:
            found = transaction.environment(one.environment.name)
            kept = {slot: record for slot, record in found.slots.items() if slot != one.slot}
            transaction.put_environment(replace(found, slots=kept))

        self._store.transact(one.environment.pipeline, empty, fence=lease)

    def _drain_left(self, one: Warm) -> float:
        """Seconds that requests which began before the switch may still take."""
        with suppress(NotFound, KeyError):
            release = self._store.release(one.environment.pipeline, one.record.release)
            drain = release.environments[one.environment.name].service.drain
            return max(0.0, one.record.since + drain - self._clock.now())
        return 0.0

    def _say(self, one: Warm, spec: SlotSpec) -> None:
        text = f"{_named(one)} was only kept warm and was stopped to make room"
        if one.record.until > self._clock.now():
            text += ": a revert to it starts it again first"
        self._context.note(text, spec.ref.environment)

    def _await_freed(self, spec: SlotSpec, watch: Watch) -> None:
        def fits() -> bool:
            watch.check()
            try:
                self._engines.of(spec.ref.engine).slots.fits(spec)
            except DoesNotFit:
                return False
            return True

        poll(fits, 0.5, self._clock, timeout=FREED_WITHIN)


def _named(one: Warm) -> str:
    return f"{one.environment.id} r{one.record.release} ({one.slot})"
