"""RQ's worker, which says in its log what matters to people, in their words."""

from __future__ import annotations

import logging
import os
import signal
from typing import Any

from rq import Worker
from rq.job import Job

log = logging.getLogger("pushlive.workers")


class PushliveWorker(Worker):
    """Of RQ's own lines only those about an exception in a job are left: what dies is found by its lease, and RQ's
    notes of jobs that it calls abandoned come minutes after their runs have gone on."""

    def work(self, *arguments: Any, **more: Any) -> bool:
        logging.getLogger("rq.registry").setLevel(logging.ERROR)
        return bool(super().work(*arguments, **{**more, "logging_level": "ERROR"}))

    def handle_work_horse_killed(self, job: Job, retpid: int, ret_val: int, rusage: Any) -> None:  # noqa: ARG002
        log.warning(
            "the process %s, which worked for %s, %s. Another one goes on with its run within seconds.",
            retpid,
            job.args[0] if job.args else "a pipeline",
            _ending(ret_val),
        )


def _ending(status: int) -> str:
    """``status``: as of waitpid."""
    if not os.WIFSIGNALED(status):
        return f"exited with code {os.waitstatus_to_exitcode(status)}"
    try:
        return f"was ended by {signal.Signals(os.WTERMSIG(status)).name}"
    except ValueError:
        return f"was ended by signal {os.WTERMSIG(status)}"
