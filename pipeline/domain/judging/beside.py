"""Two releases that answer at the same time, each so much of it. Pure.

The share of the new release grows, so most of its requests are later than most of those of the old one. What goes wrong
for both in the later time would be held against the new one if all requests of each were added up. So those of the old
release are weighted as if they were spread over time as the new one's are (direct standardisation). How many requests
that is worth is found from the variance of such a mean: (Σ n)² / Σ (n² / m), with n and m requests of the new and the
old release in each stretch of time (Kish, "Survey Sampling", 1965, section 11.7).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.domain.judging.counts import Minute


@dataclass(frozen=True)
class Base:
    """What the old release answered; no whole numbers, if it was weighted."""

    requests: float
    errors: float


def weights(new: Sequence[int], old: Sequence[int]) -> list[float]:
    """What each request of the old release counts, by stretch, so that all of them together are as many as they are
    worth. ``new``, ``old``: requests of each; 0.0 for a stretch in which the old one had none."""
    pairs = [(n, m) for n, m in zip(new, old, strict=True) if m]
    spread = sum(n * n / m for n, m in pairs)
    scale = sum(n for n, _ in pairs) / spread if spread else 0.0
    return [scale * n / m if m else 0.0 for n, m in zip(new, old, strict=True)]


def weighted(new: Sequence[Minute], old: Sequence[Minute]) -> Base:
    """``old``, over the same stretches as ``new``, as if it were spread over them in the same way."""
    each = weights([one.requests for one in new], [one.requests for one in old])
    requests = sum(weight * one.requests for weight, one in zip(each, old, strict=True))
    return Base(requests, sum(weight * one.errors for weight, one in zip(each, old, strict=True)))
