"""What a release wrote into its containers and that ends with them: said while they are still there."""

from __future__ import annotations

import posixpath

from pipeline.config.workload.volumes import line_for
from pipeline.deploy.run_context import RunContext
from pipeline.domain import slots
from pipeline.domain.environment import Environment, Slot
from pipeline.errors import PushliveError, StoreUnavailable
from pipeline.ports.engine import Engine

SHOWN = 5  # paths


def _advice(path: str) -> str:
    folder = posixpath.dirname(path)
    if folder in ("", "/"):
        return "Let the application write what has to stay into a folder of its own, and name that under `volumes`"
    return f"If it has to stay, write {line_for(folder)} under `service`"


def tell(context: RunContext, engine: Engine, environment: Environment, slot: Slot | None) -> None:
    """Warns of the files in the slot that has just lost the traffic. An engine that does not answer is no reason to
    stop: the traffic has moved."""
    record = environment.slots.get(slot) if slot else None
    if slot is None or record is None or record.release is None:
        return
    try:
        found = engine.slots.written(slots.slot_ref(environment, slot))
    except StoreUnavailable:
        raise
    except PushliveError:
        return
    if found:
        shown = ", ".join(found[:SHOWN]) + (f" and {len(found) - SHOWN} more" if len(found) > SHOWN else "")
        text = (
            f"r{record.release} has written {shown}: that ends with its containers in {slot}, and no other release has "
            f"it. {_advice(found[0])}"
        )
        context.note(text, environment.name, "warning")
