"""The messenger's loop: a process of its own, so that a receiver that hangs holds up nothing but its own messages."""

from __future__ import annotations

import logging
import signal
import threading
from concurrent.futures import Future, ThreadPoolExecutor

from pipeline.config.settings import Settings
from pipeline.errors import PushliveError
from pipeline.notify.delivery import Delivery
from pipeline.runtime import bootstrap

EVERY = 0.5  # seconds
AT_ONCE = 16  # receivers that are sent to at the same time

log = logging.getLogger("pushlive.messages")


def loop(settings: Settings) -> None:
    """Until SIGTERM."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    rounds = Rounds(bootstrap.messenger(settings))
    said = ""
    while not stop.wait(EVERY):
        problem = rounds.go()
        if problem and problem != said:  # once for each change
            log.warning("%s", problem)
        said = problem
    rounds.end()


class Rounds:
    """Hands each receiver that is due to a thread, unless one is at it."""

    def __init__(self, messenger: Delivery) -> None:
        self._messenger = messenger
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="messages")
        self._busy: dict[str, Future[None]] = {}

    def go(self) -> str:
        """One round; what went wrong on our side since the last one, or ""."""
        problem = self._finished()
        try:
            due = self._messenger.due()
        except PushliveError as error:
            return str(error)
        for box in due:
            if box.id not in self._busy:
                self._busy[box.id] = self._threads.submit(self._messenger.deliver, box.id)
        return problem

    def _finished(self) -> str:
        problem = ""
        for box, future in tuple(self._busy.items()):
            if future.done():
                del self._busy[box]
                try:
                    future.result()
                except PushliveError as error:
                    problem = str(error)
        return problem

    def end(self) -> None:
        """Waits for nobody: what was not taken is sent again by the next messenger."""
        self._threads.shutdown(wait=False, cancel_futures=True)
