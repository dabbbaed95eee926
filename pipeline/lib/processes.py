"""What the service's processes share: they end with the one that started them."""

from __future__ import annotations

import ctypes
import signal

SUPERVISED = "--supervised"  # given by `pushlive up`: this process is to end with it
RESTORING = "restoring"  # a file in a data folder that is being restored: nothing may start on it yet
_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """SIGTERM for this process when its parent dies (Linux; elsewhere the sweep copes with leftovers)."""
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    except (OSError, AttributeError):
        return
