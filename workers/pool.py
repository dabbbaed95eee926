"""RQ workers and the keeper as children of one process that preloads everything once and forks."""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from types import FrameType

import redis
from rq import Worker
from rq.serializers import JSONSerializer

from pipeline.adapters.queue import queue_names
from pipeline.config.settings import Settings
from pipeline.lib.processes import die_with_parent
from pipeline.lib.retry import poll
from pipeline.runtime.bootstrap import redis_url
from workers.jobs import STOPPING, OnlyOurJob

GRACE = 25.0  # seconds that runs get to reach the end of their stage when the service stops
WORKER_TTL = 30  # seconds; bounds how long a dead connection goes unnoticed

log = logging.getLogger("pushlive.workers")


def rq_worker(settings: Settings, name: str, queues: tuple[str, ...]) -> None:
    """Works until it is told to stop."""
    connection = redis.Redis.from_url(redis_url(settings))
    worker = Worker(
        list(queues),
        name=f"{name}-{os.getpid()}-{time.time_ns() % 10**9}",
        connection=connection,
        job_class=OnlyOurJob,
        serializer=JSONSerializer,
        worker_ttl=WORKER_TTL,
        log_job_description=False,
    )
    worker.work(logging_level="WARNING")


class Pool:
    """``children``: what to run under which name; one that ends is started again, not faster than once a second."""

    def __init__(self, children: dict[str, Callable[[], None]]) -> None:
        self._children = children
        self._pids: dict[int, str] = {}
        self._started: dict[str, float] = {}
        self._stop = False

    def run(self) -> int:
        """Until SIGTERM or SIGINT; then everything is handed back, bounded."""
        signal.signal(signal.SIGTERM, self._on_stop)
        signal.signal(signal.SIGINT, self._on_stop)
        for name in self._children:
            self._start(name)
        while not self._stop:
            self._reap()
            time.sleep(0.2)
        self._end()
        return 0

    def _on_stop(self, _signal: int, _frame: FrameType | None) -> None:
        self._stop = True
        STOPPING[0] = 1

    def _start(self, name: str) -> None:
        self._started[name] = time.monotonic()
        pid = os.fork()
        if pid:
            self._pids[pid] = name
            return
        code = 1
        try:
            die_with_parent()
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            self._children[name]()
            code = 0
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            if code:
                sys.excepthook(*sys.exc_info())
            os._exit(code)

    def _reap(self) -> None:
        for pid, name in tuple(self._pids.items()):
            if os.waitpid(pid, os.WNOHANG)[0]:
                del self._pids[pid]
                log.warning("%s (pid %s) ended and is started again", name, pid)
                time.sleep(max(0.0, 1.0 - (time.monotonic() - self._started[name])))
                self._start(name)

    def _end(self) -> None:
        self._signal(signal.SIGTERM)
        poll(self._all_ended, 0.05, timeout=GRACE)
        self._signal(signal.SIGKILL)

    def _all_ended(self) -> bool:
        for pid in tuple(self._pids):
            if os.waitpid(pid, os.WNOHANG)[0]:
                del self._pids[pid]
        return not self._pids

    def _signal(self, number: signal.Signals) -> None:
        for pid in self._pids:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue


def children(
    settings: Settings, keep: Callable[[], None], tell: Callable[[], None]
) -> dict[str, Callable[[], None]]:
    """The workers, one more that is kept free for reverts, the keeper, and the messenger."""
    urgent, work = queue_names(settings.instance)
    found: dict[str, Callable[[], None]] = {"keeper": keep, "messenger": tell}
    found["reverts"] = lambda: rq_worker(settings, "reverts", (urgent,))
    for number in range(settings.workers):
        name = f"worker-{number + 1}"
        found[name] = lambda name=name: rq_worker(settings, name, (urgent, work))  # type: ignore[misc]
    return found
