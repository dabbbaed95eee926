"""For what bears a single copy (`one: true`): what serves is stopped before the next release starts.

A worker may die in between. The store still says that the old release serves, so that the run's next worker, or the
keeper, first brings that one back: the engine serves nothing, which is not what the store says.
"""

from __future__ import annotations

from dataclasses import replace

from pipeline.deploy.run_context import RunContext
from pipeline.deploy.slot import failed_slot
from pipeline.domain.engine_types import SlotSpec
from pipeline.domain.environment import Environment, other
from pipeline.domain.slots import slot_ref
from pipeline.ports.clock import Watch
from pipeline.ports.engine import Engine


def in_turn(context: RunContext, environment: Environment, spec: SlotSpec) -> bool:
    """True if the release, or the one that serves, must never run beside another one."""
    if spec.config.service.one or environment.active is None:
        return spec.config.service.one
    record = environment.slots[environment.active]
    serving = context.store.release(environment.pipeline, record.release)
    return serving.environments[environment.name].service.one


def end_serving(
    context: RunContext, engine: Engine, environment: Environment, spec: SlotSpec, watch: Watch
) -> None:
    """Stops what serves: the route answers 503 until the next release has the traffic. Idempotent."""
    active = environment.active
    if active is None or active == spec.ref.slot:
        return
    ref, release = slot_ref(environment, active), environment.slots[active].release
    engine.traffic.unroute(ref)
    context.note(
        f"`one`: r{release} is stopped before r{spec.release} starts; visitors get a 503 until that is ready",
        environment.name,
    )
    engine.traffic.drain(ref, spec.config.service.drain, watch)
    engine.slots.stop_and_keep(ref)


def end_other(engine: Engine, spec: SlotSpec, beside: SlotSpec | None) -> None:
    """Before what should serve is started again: stops what a worker that died has started beside it. ``beside``: what
    is in the other slot. Idempotent."""
    ref = replace(spec.ref, slot=other(spec.ref.slot))
    alone = spec.config.service.one or (beside is not None and beside.config.service.one)
    if not alone or not failed_slot.works(engine, ref):
        return
    if engine.traffic.serving(ref) == ref.slot:
        engine.traffic.unroute(ref)
    engine.slots.stop_and_keep(ref)
