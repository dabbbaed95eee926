"""What is kept although it is old: all that a release needs that may have to be started again. Pure rules."""

from __future__ import annotations

from collections.abc import Iterable

from pipeline.domain.environment import Environment
from pipeline.domain.run import Run
from pipeline.domain.slots import revert_target


def needed(environments: Iterable[Environment], open_runs: Iterable[Run]) -> frozenset[int]:
    """The releases that are in a slot, that a revert goes back to, and those of runs that have not ended: their images
    and the versions of their secrets are kept, whatever is newer."""
    found: set[int | None] = set()
    for environment in environments:
        found |= {record.release for record in environment.slots.values()}
        found.add(revert_target(environment))
    for run in open_runs:
        found |= {run.release, run.from_release}
    return frozenset(number for number in found if number)
