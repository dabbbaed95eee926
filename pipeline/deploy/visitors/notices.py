"""The notice that visitors of an environment get, brought to what its record says.

It needs no lease: the record is read again after each change, so that of two processes the one that is late repairs
what it has spoiled.
"""

from __future__ import annotations

from pipeline.domain.environment import SLOTS, Environment
from pipeline.domain.slots import slot_ref
from pipeline.domain.visitors.maintenance import notice_of
from pipeline.ports.traffic import Traffic
from pipeline.store import Store

_LOOKS = 5  # each further one finds a record that was changed meanwhile


def differs(traffic: Traffic, environment: Environment) -> bool:
    """True if visitors get another notice than the record says, or none. Raises what the engine raises."""
    ref = slot_ref(environment, environment.active or SLOTS[0])
    return not traffic.has_notice(ref, notice_of(environment.maintenance))


def settle(store: Store, traffic: Traffic, pipeline: str, name: str) -> bool:
    """Gives visitors the notice of the record, or none; True if that was a change. Idempotent. Raises what the engine
    raises."""
    changed = False
    for _ in range(_LOOKS):
        found = store.environment(pipeline, name)
        if found is None or not differs(traffic, found):
            break
        ref = slot_ref(found, found.active or SLOTS[0])
        traffic.set_notice(ref, notice_of(found.maintenance))
        changed = True
    return changed
