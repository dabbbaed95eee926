"""The bell: an RQ job that names a pipeline. It wakes a worker; what is due is in the store."""

from __future__ import annotations

import redis
from rq import Queue
from rq.serializers import JSONSerializer

JOB = "workers.jobs.work"
JOB_TIMEOUT = 6 * 3600  # seconds: far outside, our own deadlines are inside
FORGET = 600  # seconds after which an unanswered ring means nothing: the sweep has rung again


def queue_names(instance: str) -> tuple[str, str]:
    """(for reverts, for everything)."""
    return f"{instance}-urgent", f"{instance}-work"


class RqQueue:
    """``ports.Bell``. A ring that is lost is no harm, so a store that does not answer is not an error here."""

    def __init__(self, url: str, instance: str) -> None:
        connection = redis.Redis.from_url(url, socket_timeout=5, socket_connect_timeout=5)
        urgent, work = queue_names(instance)
        self._queues = {
            True: Queue(urgent, connection=connection, serializer=JSONSerializer),
            False: Queue(work, connection=connection, serializer=JSONSerializer),
        }

    def notify(self, pipeline: str, *, urgent: bool = False) -> None:
        try:
            self._queues[urgent].enqueue(
                JOB, pipeline, urgent, job_timeout=JOB_TIMEOUT, result_ttl=0, failure_ttl=FORGET, ttl=FORGET
            )
        except redis.RedisError:
            return
