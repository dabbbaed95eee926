"""Python imports this at its start if the folder is on its path: the wall clock is off by what a file says.

``PUSHLIVE_TEST_CLOCK`` names the file; it has seconds. The monotonic clock is as it was, as after a real change.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

_file, _real = os.environ.get("PUSHLIVE_TEST_CLOCK", ""), time.time


def _set() -> float:
    try:
        return _real() + float(Path(_file).read_text())
    except (OSError, ValueError):
        return _real()


if _file:
    time.time = _set
