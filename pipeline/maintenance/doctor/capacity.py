"""``pushlive doctor``: what will be used up within a week, and disks that are full already."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.config.engines import kind_of, machines_of
from pipeline.deploy.services import Services
from pipeline.domain.capacity import words
from pipeline.lib.units import show_size
from pipeline.maintenance.doctor.check import Check, check
from pipeline.store.capacity import Rooms

STANDS = 86400.0  # seconds for which a forecast holds without another look
SEEN = 3600.0  # the same for what is free


def examine(services: Services, engines: frozenset[str], now: float) -> Iterator[Check]:
    """``engines``: the keys of those in use. What is foretold is not broken yet, so it does not make the whole
    examination fail."""
    rooms = Rooms(services.store.facts)
    outlook = rooms.outlook()
    machines = {machines_of(key) for key in engines}
    for key in sorted(machines):
        series = rooms.series(key)
        if series is None or abs(now - series.looked) > SEEN:
            continue
        room, name = series.room, words.machine(key)
        free, least = room.disk_free, services.settings.disk_free
        if (
            free is not None and free < least and not kind_of(key).local
        ):  # this machine's has a line of its own
            text = f"{show_size(free)} of the disk of {name} are free; {show_size(least)} should be."
            yield check(f"disk of {key}", False, text, f"{words.REST}.")
        for said in room.pressure:
            yield check(
                key, False, f"{said}.", "`kubectl describe node` says more. Free some, or add a node."
            )
    if abs(now - outlook.at) > STANDS:
        return
    for one in outlook.shortages:
        if one.engine in machines or one.engine == words.DATA:
            name = f"{one.what} of {words.machine(one.engine)}"
            yield {**check(name, True, words.text(one, now)), "advice": words.advice(one)}
