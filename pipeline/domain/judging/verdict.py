"""What the comparison of two releases can say."""

from __future__ import annotations

from enum import StrEnum


class Verdict(StrEnum):
    WORSE = "worse"
    NO_WORSE = "no worse"
    TOO_FEW = "not enough traffic to judge"
    NOTHING_BEFORE = "nothing to compare with"
