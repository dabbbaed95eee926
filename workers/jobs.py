"""What a worker does when the bell rings. A job names a pipeline, nothing else; the store says what is due."""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable
from socket import gethostname
from typing import Any

from rq.job import Job

from pipeline.adapters.queue import JOB
from pipeline.config import settings
from pipeline.lib.processes import die_with_parent
from pipeline.runtime import bootstrap

# One byte shared with every process forked from the parent: 1 once the service is to stop.
STOPPING = mmap.mmap(-1, 1)


def stopping() -> bool:
    return STOPPING[0] == 1


def work(pipeline: str, urgent: bool = False) -> None:
    """Takes up one run of this pipeline that is due, if there is one."""
    die_with_parent()  # a worker that was killed takes its job along; another takes the run up
    runner = bootstrap.runner(settings.load(), stopping)
    runner.work(pipeline, urgent=urgent, worker=f"{gethostname()}/{os.getpid()}")  # of many machines, or pods


class OnlyOurJob(Job):
    """A job that runs ``work`` and nothing else, whatever it names; callbacks that it names are not called."""

    @property
    def func(self) -> Callable[..., Any]:
        args = self.args
        ours = self.func_name == JOB and not self.instance and not self.kwargs and len(args) == 2
        if not (ours and isinstance(args[0], str) and isinstance(args[1], bool)):
            raise PermissionError(f"job {self.id} in the queue is not one of Pushlive's and is not executed")
        return work

    @property
    def success_callback(self) -> None:
        return None

    @property
    def failure_callback(self) -> None:
        return None

    @property
    def stopped_callback(self) -> None:
        return None
