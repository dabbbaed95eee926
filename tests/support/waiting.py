"""Waiting for what a test needs, never for a time."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

# How many times longer everything may take: `scripts/test` runs suites side by side on few processors.
PATIENCE = float(os.environ.get("PUSHLIVE_TEST_PATIENCE", "1"))


def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Polls until the condition holds; raises AssertionError if it does not in time."""
    end = time.monotonic() + PATIENCE * seconds
    while not condition():
        assert time.monotonic() < end, f"not true within {PATIENCE * seconds:g} s"
        time.sleep(0.01)
