"""``python -m tests.faults.up``: ``pushlive up``, whose workers are those of ``tests.faults.worker``."""

from __future__ import annotations

import os
import sys

from pipeline.cli.terminal import Terminal
from pipeline.errors import PushliveError
from pipeline.runtime.service import Service, load_settings

if __name__ == "__main__":
    try:
        Service(load_settings(), Terminal(os.environ).data, workers="tests.faults.worker").run()
    except PushliveError as error:
        sys.exit(str(error))
