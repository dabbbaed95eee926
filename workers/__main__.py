"""``python -m workers``: the workers, keeper and messenger, until SIGTERM."""

from __future__ import annotations

import logging
import sys

from pipeline.config import settings
from pipeline.errors import PushliveError
from pipeline.lib import logs
from pipeline.lib.processes import SUPERVISED, die_with_parent, share_with_forks
from pipeline.runtime import bootstrap
from pipeline.runtime.preload import preload
from pipeline.runtime.running_code import running_code
from workers import access_log, messages, pool, recovery


def main() -> int:
    logs.configure(logging.WARNING)
    try:
        loaded = settings.load()
    except PushliveError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 2
    if SUPERVISED in sys.argv:
        die_with_parent()
    running_code()  # before anything that is imported next
    preload("pipeline", "workers")
    share_with_forks()
    journal = bootstrap.process_of_service(loaded, "workers")
    journal.write("process_started", "the workers")
    children = pool.children(loaded, lambda: recovery.loop(loaded), lambda: messages.loop(loaded))
    if loaded.access_log != "off":
        children.append(pool.child(loaded, "access", lambda: access_log.loop(loaded)))
    pool.run(children, journal)
    journal.write("process_stopped", "the workers")
    return 0


if __name__ == "__main__":
    sys.exit(main())
