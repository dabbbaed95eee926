"""For what bears a single copy (`one: true`): what serves is stopped before the next release starts. Requests wait in
the proxy meanwhile.

A worker may die in between. The store still says that the old release serves, so that the run's next worker, or the
keeper, first brings that one back: the engine serves nothing, which is not what the store says.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from pipeline.deploy.environment_record import EnvironmentRecord
from pipeline.deploy.run_context import RunContext
from pipeline.deploy.slot import failed_slot
from pipeline.domain.engine_types import SlotRef, SlotSpec
from pipeline.domain.environment import Environment, Slot, SlotState, other
from pipeline.domain.slots import slot_ref
from pipeline.errors import DamagedRecord, NotFound
from pipeline.lib.units import write_duration
from pipeline.ports.clock import Watch
from pipeline.ports.engine import Engine
from pipeline.store import Store


def alone(store: Store, environment: Environment, slot: Slot, engine: Engine | None = None) -> bool:
    """True if the release in that slot must never run beside another one. If its record is damaged, its containers
    tell, which remember what they were made from; without ``engine`` it is not known then, and False."""
    number = environment.slots[slot].release
    try:
        return _is_alone(store, environment, number)
    except (NotFound, DamagedRecord):
        return engine is not None and _remembered(engine, slot_ref(environment, slot), number)


def instead(store: Store, environment: Environment, release: int) -> bool:
    """True if what serves is stopped before that release starts, and the other way round: one of the two must never run
    beside another one."""
    if environment.active is None:
        return False
    with suppress(NotFound, DamagedRecord):
        if _is_alone(store, environment, release):
            return True
    return alone(store, environment, environment.active)


def _is_alone(store: Store, environment: Environment, release: int) -> bool:
    found = store.release(environment.pipeline, release).environments.get(environment.name)
    return found is not None and found.service.one


def _remembered(engine: Engine, ref: SlotRef, release: int) -> bool:
    """Containers that remember nothing are of a version without this key."""
    found = (one for environment in engine.adoption.survey() for one in environment.slots)
    made = next((one.made for one in found if one.ref == ref and one.release == release), None)
    return made is not None and made.config.service.one


def _is_readable(store: Store, environment: Environment, release: int) -> bool:
    with suppress(NotFound, DamagedRecord):
        return bool(store.release(environment.pipeline, release))
    return False


def exchanging(store: Store, environment: Environment) -> bool:
    """True while a run has stopped what serves, or is about to, and has not started the next release yet."""
    starting = any(record.state == SlotState.STARTING for record in environment.slots.values())
    return starting and any(alone(store, environment, slot) for slot in environment.slots)


class InTurn:
    """For one rollout. ``acting``: the engine, for a change on it; raises LeaseLost unless this worker still has the
    run. ``applies``: the release, or the one that serves, must never run beside another one; once ``begin`` was
    called."""

    def __init__(self, context: RunContext, acting: Callable[[], Engine], record: EnvironmentRecord) -> None:
        self._context, self._acting, self._record = context, acting, record
        self._since: float | None = None
        self._before, self._waits = 0, False
        self.applies = False

    def begin(self, spec: SlotSpec, watch: Watch) -> None:
        """Stops what serves, if the release must not start beside it. Idempotent."""
        environment = self._record.known
        active = environment.active
        serving = bool(active) and alone(self._context.store, environment, active or "", self._acting())
        self.applies = spec.config.service.one or serving
        if not self.applies or active is None or active == spec.ref.slot:
            return
        self._record.take_slot(spec)  # from now on what serves may be stopped, and is not down
        ref, release = slot_ref(environment, active), environment.slots[active].release
        self._before = self._acting().traffic.waited(ref)
        self._since = self._context.clock.monotonic()
        self._waits = self.pause(spec)
        self._context.note(
            f"`one`: r{release} is stopped before r{spec.release} starts; {self._meanwhile(spec)}",
            environment.name,
        )
        if not _is_readable(self._context.store, environment, release):
            text = (
                f"the record of r{release} cannot be read: it does not start again if r{spec.release} fails"
            )
            self._context.note(text, environment.name, "warning")
        self._acting().traffic.drain(ref, spec.config.service.drain, watch)
        self._acting().slots.stop_and_keep(ref)

    def pause(self, spec: SlotSpec) -> bool:
        """Requests wait until the next switch. False if they get a 503 instead."""
        return self._acting().traffic.pause(spec.ref, limit(spec))

    def tell(self, ref: SlotRef) -> None:
        """After the switch: how long visitors have waited."""
        if self._since is None:
            return
        took = f"{self._context.clock.monotonic() - self._since:.1f} s"
        now = self._acting().traffic.waited(ref)
        count = now - self._before if now >= self._before else now  # a proxy that was restarted counts from 0
        what = "request waited" if count == 1 else "requests waited"
        text = (
            f"nothing served for {took}; {count} {what} in the proxy"
            if self._waits
            else (f"nothing served for {took}; visitors got a 503")
        )
        self._context.note(f"`one`: {text}", self._record.name)

    def _meanwhile(self, spec: SlotSpec) -> str:
        if self._waits:
            return f"requests wait in the proxy, each for {write_duration(limit(spec))} at most (`timeout`)"
        return "visitors get a 503 until that is ready: the proxy that runs cannot let them wait"


def limit(spec: SlotSpec) -> float:
    """Seconds that a request waits at most: as long as it waits for an answer of the application."""
    return spec.config.service.timeout


def end_other(engine: Engine, spec: SlotSpec, beside: bool) -> None:
    """Before what should serve is started again: stops what a worker that died has started beside it. ``beside``: what
    is in the other slot must never run beside another release. Idempotent."""
    ref = replace(spec.ref, slot=other(spec.ref.slot))
    if not (spec.config.service.one or beside) or not failed_slot.works(engine, ref):
        return
    if engine.traffic.serving(ref) == ref.slot:
        engine.traffic.pause(ref, limit(spec))
    engine.slots.stop_and_keep(ref)
