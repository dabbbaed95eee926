"""The messenger's loop. It runs in a process of its own, so that a receiver that hangs delays only its own messages."""

from __future__ import annotations

import logging
import signal
import threading
from concurrent.futures import Future, ThreadPoolExecutor

from pipeline.config.settings import Settings
from pipeline.errors import PushliveError
from pipeline.notify.delivery import Delivery
from pipeline.notify.traces import TraceDelivery
from pipeline.runtime import bootstrap
from workers.problems import Once

EVERY = 0.5  # seconds
CONCURRENT = 16  # receivers that are sent to at the same time

log = logging.getLogger("pushlive.messages")


def loop(settings: Settings) -> None:
    """Runs until SIGTERM."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    traces = threading.Thread(target=_traces, args=(bootstrap.trace_messenger(settings), stop), daemon=True)
    traces.start()
    rounds = Rounds(bootstrap.messenger(settings))
    said = Once(log)
    while not stop.wait(EVERY):
        said(rounds.run())
    rounds.stop()


def _traces(delivery: TraceDelivery, stop: threading.Event) -> None:
    """In a thread of its own: what receives traces may hang."""
    said = Once(log)
    while not stop.wait(EVERY):
        try:
            said(delivery.deliver())
        except PushliveError:
            continue  # the store's: the other loop reports it


class Rounds:
    """Gives each receiver that is due to a thread, unless a thread is still sending to it."""

    def __init__(self, delivery: Delivery) -> None:
        self._delivery = delivery
        self._threads = ThreadPoolExecutor(CONCURRENT, thread_name_prefix="messages")
        self._busy: dict[str, Future[None]] = {}

    def run(self) -> str:
        """One round. Returns what failed on our side since the last one, "" if nothing did."""
        problem = self._finished()
        try:
            due = self._delivery.due()
        except PushliveError as error:
            return str(error)
        for receiver in due:
            if receiver.id not in self._busy:
                self._busy[receiver.id] = self._threads.submit(self._delivery.deliver, receiver.id)
        return problem

    def _finished(self) -> str:
        problem = ""
        for receiver, future in tuple(self._busy.items()):
            if future.done():
                del self._busy[receiver]
                try:
                    future.result()
                except PushliveError as error:
                    problem = str(error)
        return problem

    def stop(self) -> None:
        """Does not wait: a message that was not accepted yet is sent again by the next messenger."""
        self._threads.shutdown(wait=False, cancel_futures=True)
