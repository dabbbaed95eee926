"""What a worker does when it is woken. A job names only a pipeline; the store says what is due."""

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

# One byte that every forked process shares with the parent: 1 once the service is to stop.
STOPPING = mmap.mmap(-1, 1)


def stopping() -> bool:
    return STOPPING[0] == 1


def work(pipeline: str, urgent: bool = False) -> None:
    """Carries one due run of this pipeline, if there is one."""
    die_with_parent()  # the job ends with its killed worker, and another worker takes the run up
    runner = bootstrap.runner(settings.load(), stopping)
    runner.work(
        pipeline, urgent=urgent, worker=f"{gethostname()}/{os.getpid()}"
    )  # unique across machines and pods


class OnlyOurJob(Job):
    """A job that runs only ``work``, whatever function it names, and calls no callbacks."""

    @property
    def func(self) -> Callable[..., Any]:
        args = self.args
        ours = self.func_name == JOB and not self.instance and not self.kwargs and len(args) == 2
        if not (ours and isinstance(args[0], str) and isinstance(args[1], bool)):
            raise PermissionError(f"job {self.id} in the queue is not from Pushlive and is not executed")
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
