"""What the comparison of two releases can say."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True)
class Worse:
    """That a release, which that run brought and which is judged since then, answers worse than the one before it;
    ``text``: in figures, for people, without a full stop."""

    release: int
    run: int
    since: float
    text: str


class Verdict(StrEnum):
    WORSE = "worse"
    NO_WORSE = "no worse"
    TOO_FEW = "not enough traffic to judge"
    TOO_COARSE = "too coarse to judge"
    NOTHING_BEFORE = "nothing to compare with"


def both(errors: Verdict, times: Verdict | None) -> Verdict:
    """The verdict by errors and by the time that answers take, which nobody has measured if it is None: what either
    says decides if it is worse, then if it cannot be said yet. Times in buckets that are too wide say nothing."""
    found = {errors, times}
    order = (Verdict.WORSE, Verdict.TOO_FEW, Verdict.NO_WORSE, Verdict.NOTHING_BEFORE, Verdict.TOO_COARSE)
    return next(one for one in order if one in found)
