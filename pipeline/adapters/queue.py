"""The queue: an RQ job that names a pipeline. It wakes a worker, which finds in the store what is due."""

from __future__ import annotations

import redis
from rq import Queue
from rq.serializers import JSONSerializer

JOB = "workers.jobs.work"
JOB_TIMEOUT = 6 * 3600  # seconds: much more than our own deadlines, which end a run before
FORGET = 600  # seconds after which a job that no worker took is dropped: the sweep has queued it again


def queue_names(instance: str) -> tuple[str, str]:
    """The names of two queues: for reverts, and for all other work."""
    return f"{instance}-urgent", f"{instance}-work"


class RqQueue:
    """``ports.Queue``. A lost notification does no harm, so it is not an error if the store does not answer."""

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
