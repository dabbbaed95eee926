"""The workers' processes: RQ workers, keeper and messenger, forked from one process that has imported everything."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable

import redis
from rq.serializers import JSONSerializer

from pipeline.adapters.queue import queue_names
from pipeline.config.settings import Settings
from pipeline.lib.journal.writer import NO_JOURNAL, Journal
from pipeline.lib.retry import Backoff, poll
from pipeline.runtime.bootstrap import journal, redis_url
from pipeline.runtime.supervisor import ForkedChild, Supervisor, stop
from workers.jobs import STOPPING, OnlyOurJob
from workers.rq_worker import PushliveWorker

GRACE = 25.0  # seconds that runs get to reach the end of their stage when the service stops
STORE_WAIT = Backoff(0.1, ceiling=1.0)  # pauses until the store answers at the start
WORKER_TTL = 30  # seconds; bounds how long a dead connection goes unnoticed

log = logging.getLogger("pushlive.workers")


def rq_worker(settings: Settings, name: str, queues: tuple[str, ...]) -> None:
    """Takes jobs from the queues until SIGTERM. Waits for a store that does not answer yet; the keeper reports it."""
    connection = redis.Redis.from_url(redis_url(settings))
    poll(lambda: answers(connection), STORE_WAIT)
    worker = PushliveWorker(
        list(queues),
        name=f"{name}-{os.getpid()}-{time.time_ns() % 10**9}",
        connection=connection,
        job_class=OnlyOurJob,
        serializer=JSONSerializer,
        worker_ttl=WORKER_TTL,
        log_job_description=False,
    )
    worker.work()


def answers(connection: redis.Redis) -> bool:
    """False while the store cannot be reached."""
    try:
        return bool(connection.ping())
    except (redis.ConnectionError, redis.TimeoutError):
        return False


def run(children: list[ForkedChild], told: Journal = NO_JOURNAL) -> None:
    """Keeps the children running until SIGTERM or SIGINT; then gives the runs GRACE seconds."""
    supervisor = Supervisor(lambda text: log.warning("%s", text), journal=told)
    supervisor.catch_signals(_tell_runs)
    for child in children:
        supervisor.start(child)
    supervisor.run()
    stop(children, GRACE)


def _tell_runs() -> None:
    STOPPING[0] = 1


def child(settings: Settings, name: str, function: Callable[[], None]) -> ForkedChild:
    """A process that the journal knows by its name."""

    def named() -> None:
        journal(settings).named(name)
        function()

    return ForkedChild(name, named)


def children(settings: Settings, keep: Callable[[], None], deliver: Callable[[], None]) -> list[ForkedChild]:
    """Keeper, messenger, a worker that is kept free for reverts, and the other workers."""
    urgent, work = queue_names(settings.instance)

    def worker(name: str, *queues: str) -> ForkedChild:
        return child(settings, name, lambda: rq_worker(settings, name, queues))

    return [
        child(settings, "keeper", keep),
        child(settings, "messenger", deliver),
        worker("reverts", urgent),
        *(worker(f"worker-{number + 1}", urgent, work) for number in range(settings.workers)),
    ]
