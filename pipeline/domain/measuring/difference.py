"""How a run differed from the usual, as it is kept in its record. Plain data; seconds are durations."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class StepDifference:
    """A step that took longer or shorter than usual. ``stage`` and ``step`` are "" for the time between the steps;
    ``usual``: the median; ``why``: a clause, "" if it is not known."""

    stage: str
    step: str
    seconds: float
    usual: float
    why: str = ""


@dataclass(frozen=True)
class Difference:
    """A run that took notably longer or shorter than ``runs`` comparable ones before it: their median is ``usual``.
    ``seconds``: from the push to the last environment, without waiting for people or for other runs; ``steps``: those
    that account for the difference, the largest first; ``text``: all of it as one sentence without a full stop."""

    seconds: float
    usual: float
    runs: int
    steps: tuple[StepDifference, ...]
    text: str
