"""``pushlive doctor``: are the traces of runs sent?"""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.maintenance.doctor.check import Check, check
from pipeline.store import Store


def examine(store: Store) -> Iterator[Check]:
    """A line if traces are wanted. That they are not sent keeps no run from going on."""
    if not store.traces.on:
        return
    trouble, waiting = store.traces.trouble(), store.traces.count()
    if trouble:
        yield check("traces", False, f"{waiting} wait to be sent: {trouble}", "Runs go on without them.")
    else:
        yield check("traces", True, f"the traces of runs are sent; {waiting} wait")
