"""Waiting for what a test needs, never for a time."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

# How many times longer everything may take: `scripts/test` runs suites side by side on few processors.
PATIENCE = float(os.environ.get("PUSHLIVE_TEST_PATIENCE", "1"))

FASTEST, SLOWEST = 0.01, 0.05  # seconds between two looks


def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Polls until the condition holds; raises AssertionError if it does not in time. What takes long is looked at less
    often: a hundred looks a second take the processor from what is waited for."""
    start = time.monotonic()
    while not condition():
        waited = time.monotonic() - start
        assert waited < PATIENCE * seconds, f"not true within {PATIENCE * seconds:g} s"
        time.sleep(min(SLOWEST, max(FASTEST, waited / 20)))
