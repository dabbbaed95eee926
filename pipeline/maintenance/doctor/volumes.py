"""Volumes: whether each has all its files."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.deploy.data.unfinished import at_work, unfinished
from pipeline.errors import DamagedRecord
from pipeline.maintenance.doctor.check import Check, check
from pipeline.store import Store


def examine(store: Store) -> Iterator[Check]:
    """A line for each that does not."""
    try:
        for one in unfinished(store):
            busy = at_work(store, one.ref)
            yield check(f"volume {one.ref}", busy, f"{one.text(at_work=busy)}.", one.advice)
    except DamagedRecord as error:
        yield check("volumes", False, error.message, error.advice)
