"""``python -m tests.faults.worker``: the service's workers, with traps on the way of every run."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import workers.__main__
from pipeline.deploy import branch_head
from pipeline.deploy.runner import Runner
from pipeline.runtime import bootstrap
from tests.faults.traps import FOLDER, KEEPER, Traps, put, trapped
from workers import recovery

_runner, _adapters, _loop = bootstrap.runner, bootstrap.adapters, recovery.loop


class _Caught:
    """Gives a job's runner its parts once it is known for which pipeline it works."""

    def __init__(self, *args: Any) -> None:
        self._args = args

    def work(self, pipeline: str, **more: Any) -> Any:
        # Each job has a process of its own, so that this reaches no other job and not the keeper.
        Traps(Path(os.environ[FOLDER])).pass_by(pipeline, "job", "before", 1)
        bootstrap.adapters = lambda settings: trapped(_adapters(settings), pipeline)
        runner: Runner = _runner(*self._args)
        return runner.work(pipeline, **more)


def _kept(settings: Any) -> None:
    """The keeper, which says what its process is."""
    put(Path(os.environ[FOLDER]) / KEEPER, str(os.getpid()))
    _loop(settings)


if __name__ == "__main__":
    # Of a crowd's deliveries many name commits that a forced push has taken away: nobody waits for those for minutes.
    branch_head.APPEARS = 10.0
    bootstrap.runner = _Caught  # type: ignore[assignment, misc]
    recovery.loop = _kept
    sys.exit(workers.__main__.main())
