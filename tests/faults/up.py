"""``python -m tests.faults.up``: ``pushlive up``, whose workers are those of ``tests.faults.worker``."""

from __future__ import annotations

import sys

from pipeline.errors import PushliveError
from pipeline.runtime import supervisor


class Service(supervisor.Service):
    def __init__(self, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        self._workers = supervisor.Child("workers", "tests.faults.worker")


if __name__ == "__main__":
    try:
        sys.exit(Service(supervisor._settings()).run())
    except PushliveError as error:
        sys.exit(str(error))
