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
    NOTHING_BEFORE = "nothing to compare with"
