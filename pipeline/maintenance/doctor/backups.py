"""Backups: whether there is a good one of everything that has a schedule, and how old it is."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.deploy.data.backup_places import configured, named, state_of
from pipeline.deploy.services import Services
from pipeline.domain.volumes import VolumeRef
from pipeline.errors import PushliveError
from pipeline.lib.units import show_age, show_size
from pipeline.maintenance.doctor.check import Check, check


def examine(services: Services, now: float) -> Iterator[Check]:
    """A line for each that was tried, or should have been."""
    try:
        _, config = services.configurations.current()
    except PushliveError:
        return  # said elsewhere
    for ref, said in sorted(configured(config).items()):
        state = state_of(services.store, ref)
        name = f"backup {named(ref)}"
        if problem := state.problem(said, now):
            yield check(name, False, f"{problem}", f"{_command(ref)} makes one now, and says what is wrong.")
        elif state.good:
            text = f"the last good one is {show_age(now - state.good.at)} old, {show_size(state.good.size)}"
            yield check(name, True, text)


def _command(ref: VolumeRef) -> str:
    if ref.kind == "accessory":
        return f"`pushlive accessory backup {ref.owner} {ref.environment}`"
    return f"`pushlive volume backup {ref} --keep`"
