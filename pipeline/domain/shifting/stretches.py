"""Into which stretches of time a shift is cut. Pure."""

from __future__ import annotations

from pipeline.domain.shifting.records import Shift

LONGEST = 60.0  # seconds, as in the comparison after a switch, unless there were too many of them
FEWEST, MOST = 20, 100  # of a whole shift


def stretch(shift: Shift) -> float:
    """Seconds: how long is counted together."""
    whole = shift.lasts * len(shift.steps)
    return max(1.0, whole / MOST, min(LONGEST, whole / FEWEST))
