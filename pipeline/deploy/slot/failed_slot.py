"""A failed slot is stopped, and kept for inspection until its time is over.

An engine that removes what it stops (Kubernetes) takes the output with it: then the last lines are kept in the store.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from pipeline.config.engines import kind_of
from pipeline.domain.engine_types import SlotRef
from pipeline.domain.environment import Environment, Slot, SlotRecord
from pipeline.domain.slots import slot_ref
from pipeline.ports.engine import Engine
from pipeline.store.facts import Facts

LINES = 1000  # of output that are kept
SIZE = 256 << 10  # characters of them

Masked = Callable[[tuple[str, ...]], tuple[str, ...]]


def works(engine: Engine, ref: SlotRef) -> bool:
    """True if something in the slot runs, or will by itself."""
    replicas = engine.slots.replicas(ref)
    if kind_of(ref.engine).keeps_stopped:
        return any(one.state not in ("exited", "created") for one in replicas)
    return bool(replicas)  # a pod that has exited is started again


def stop(engine: Engine, facts: Facts, environment: Environment, slot: Slot, masked: Masked) -> None:
    """Idempotent. Raises what the engine raises, and StoreUnavailable."""
    ref, record = slot_ref(environment, slot), environment.slots[slot]
    if not kind_of(ref.engine).keeps_stopped and (lines := engine.slots.logs(ref, LINES)):
        kept = {"release": record.release, "run": record.run, "lines": _shortened(masked(lines))}
        facts.set(fact_name(environment, slot), json.dumps(kept))
    engine.slots.stop_and_keep(ref)


def kept_output(facts: Facts, environment: Environment, slot: Slot, record: SlotRecord) -> tuple[str, ...]:
    """The last lines of what that slot printed before it was stopped; () if the engine still has them."""
    kept = json.loads(facts.get(fact_name(environment, slot)) or "{}")
    same = (kept.get("release"), kept.get("run")) == (record.release, record.run)
    return tuple(kept["lines"]) if same else ()


def forget(facts: Facts, environment: Environment, slot: Slot) -> None:
    """The slot is empty. Idempotent."""
    if facts.get(fact_name(environment, slot)):
        facts.set(fact_name(environment, slot), "")


def fact_name(environment: Environment, slot: Slot) -> str:
    """Where the store has that slot's last lines."""
    return f"output:{environment.id}:{slot}"


def _shortened(lines: tuple[str, ...]) -> list[str]:
    """The last lines that have ``SIZE`` characters together."""
    found: list[str] = []
    left = SIZE
    for line in reversed(lines):
        left -= len(line) + 1
        if left < 0:
            break
        found.insert(0, line)
    return found
