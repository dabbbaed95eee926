"""Looks every five minutes at what machines have left, and foretells what will be used up."""

from __future__ import annotations

import shutil
from pathlib import Path

from pipeline.config.engines import DOCKER, machines_of
from pipeline.deploy.services import Services
from pipeline.domain.capacity import trend
from pipeline.domain.capacity.room import HOUR, Room, same_disk, with_takers
from pipeline.domain.capacity.words import DATA
from pipeline.errors import PushliveError, StoreUnavailable
from pipeline.lib import codec
from pipeline.lib.files.sizes import size_of
from pipeline.maintenance.job import Aside, Job
from pipeline.notify import messages
from pipeline.ports.adapters import Adapters
from pipeline.store import Transaction
from pipeline.store.capacity import OUTLOOK, Rooms, read_outlook

OF_ALL = "pipelines.yaml"  # what is about no pipeline
KEPT = 30 * 86400.0  # seconds for which the series of an engine that is no longer in use is kept


class WatchRoom(Job):
    """In a thread: an engine that counts its files must hold up no repair. An engine that does not answer is left out:
    its hours have no figures, and no trend is made of what is not known."""

    def __init__(self, services: Services, adapters: Adapters) -> None:
        self._services, self._store, self._adapters = services, services.store, adapters
        self._rooms = Rooms(services.store.facts)
        self._aside = Aside("room")

    def run(self) -> list[str]:
        if not self._aside.busy:
            self._aside.begin(self._quietly)
        return []

    def _quietly(self) -> None:
        try:
            self.look()
        except PushliveError:  # the store does not answer: every other job reports that
            return

    def look(self) -> None:
        """Raises StoreUnavailable."""
        engines = sorted(self._adapters.engines.in_use())
        in_use = sorted({machines_of(key) for key in engines})
        for machines in in_use:
            self._one_of(machines, [key for key in engines if machines_of(key) == machines])
        self._data_folder()
        now = self._adapters.clock.now()
        if int(self._rooms.outlook().at // HOUR) != int(now // HOUR):
            self._foretell(in_use, now)

    def _one_of(self, machines: str, engines: list[str]) -> None:
        """``engines``: the namespaces of one cluster, whose nodes one of them tells."""
        now = self._adapters.clock.now()
        for key in engines:
            try:
                metering = self._adapters.engines.of(key).metering
                room, size = metering.room(takers=self._is_due(machines, now)), metering.machine_size()
            except StoreUnavailable:
                raise
            except PushliveError:  # reconciliation reports an engine that does not answer
                continue
            self._rooms.add(machines, room, size, now)
            return

    def _is_due(self, key: str, now: float) -> bool:
        """Whether what takes the disk is to be counted once more."""
        known = self._rooms.series(key)
        return known is None or not 0 <= now - known.counted < HOUR

    def _data_folder(self) -> None:
        folder, now = self._services.settings.data, self._adapters.clock.now()
        try:
            disk = shutil.disk_usage(folder)
        except OSError:
            return
        takers = _sizes(folder) if self._is_due(DATA, now) else {}
        self._rooms.add(DATA, Room(disk.used + disk.free, disk.free, takers=takers), None, now)

    def _foretell(self, in_use: list[str], now: float) -> None:
        series = {key: one for key in [*in_use, DATA] if (one := self._rooms.series(key))}
        looked = {key: one.looked for key, one in series.items()}
        folder, here = series.get(DATA), series.get(DOCKER)
        shared = bool(folder and here and same_disk(here.room, folder.room))
        if folder and here and shared:
            del series[DATA]
            series[DOCKER] = with_takers(here, folder)
        reserve = self._services.settings.disk_free
        found = [one for key, each in series.items() for one in trend.shortages(key, each, reserve, now)]
        unused = {key: at for key, at in self._rooms.outlook().looked.items() if key not in looked}
        for key in [key for key, at in unused.items() if now - at > KEPT]:
            self._rooms.forget(key)
            del unused[key]

        def keep(tx: Transaction) -> None:
            before = read_outlook(tx.fact(OUTLOOK))
            kept, fresh = trend.renewed(before, found, {**unused, **looked}, now, shared=shared)
            tx.put_fact(OUTLOOK, codec.dump(kept))
            for one in fresh:
                messages.shortage(tx, one, now)

        self._store.transact(OF_ALL, keep)


def _sizes(folder: Path) -> dict[str, int]:
    """Of the folders in it, in bytes."""
    try:
        return {one.name: size_of(one) for one in folder.iterdir() if one.is_dir() and not one.is_symlink()}
    except OSError:
        return {}
