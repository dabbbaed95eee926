"""The keeper's loop: sweep, reconcile, tidy. One of all that run acts at a time, by a lease."""

from __future__ import annotations

import logging
import signal
import threading

from pipeline.config.settings import Settings
from pipeline.errors import PushliveError
from pipeline.maintenance.keeper import Keeper
from pipeline.runtime import bootstrap

EVERY = 1.0  # seconds

log = logging.getLogger("pushlive.keeper")


def loop(settings: Settings) -> None:
    """Ticks until SIGTERM."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    keeper = bootstrap.keeper(settings)
    sweeper = threading.Thread(target=_sweep, args=(bootstrap.keeper(settings), stop), daemon=True)
    sweeper.start()
    said = ""
    while not stop.wait(EVERY):
        try:
            for line in keeper.tick():
                log.warning("%s", line)
            said = ""
        except PushliveError as error:
            if str(error) != said:  # once for each change, not every second
                log.warning("%s", error)
            said = str(error)
    try:
        keeper.stop()
    except PushliveError:
        return  # its lease ends by itself


def _sweep(keeper: Keeper, stop: threading.Event) -> None:
    """Rings in time also while the other thread waits for a container that does not end."""
    while not stop.wait(EVERY):
        try:
            keeper.sweep()
        except PushliveError:
            continue  # the other thread says so
