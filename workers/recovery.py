"""The keeper's process: the maintenance jobs, and in threads of their own the sweep and what wakes environments."""

from __future__ import annotations

import logging
import signal
import threading

from pipeline.adapters.haproxy.files import drops_to
from pipeline.config.settings import Settings
from pipeline.errors import PushliveError
from pipeline.lib.text import printable_lines
from pipeline.maintenance.requeue import Requeue
from pipeline.runtime import bootstrap
from workers.waker import Waking

EVERY = 1.0  # seconds

log = logging.getLogger("pushlive.keeper")


def loop(settings: Settings) -> None:
    """Runs until SIGTERM."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    keeper = bootstrap.keeper(settings)
    sweeper = threading.Thread(target=_sweep, args=(bootstrap.requeue(settings), stop), daemon=True)
    sweeper.start()
    waking = Waking(bootstrap.waker(settings), settings.data / "proxy", drops_to(settings))
    threading.Thread(target=waking.loop, args=(stop,), daemon=True, name="wake").start()
    said = ""
    while not stop.wait(EVERY):
        try:
            for text in keeper.tick():
                _report(text)
            said = ""
        except PushliveError as error:
            if str(error) != said:  # once, not every second
                _report(str(error))
            said = str(error)
    try:
        keeper.stop()
    except PushliveError:
        return  # the lease expires


def _report(text: str) -> None:
    """One record for each line, since the log shows a line's end inside a record as ``\\n``."""
    for line in printable_lines(text):
        log.warning("%s", line)


def _sweep(requeue: Requeue, stop: threading.Event) -> None:
    """Wakes workers in time even while the other thread waits for a container to stop."""
    while not stop.wait(EVERY):
        try:
            requeue.run()
        except PushliveError:
            continue  # the other thread reports it
