"""A clock that a test moves."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class FakeClock:
    """Time passes only by sleeping. Refuses nothing."""

    at: float = 1_800_000_000.0
    passed: float = 0.0

    def now(self) -> float:
        return self.at + self.passed

    def monotonic(self) -> float:
        return self.passed

    def sleep(self, seconds: float) -> None:
        self.passed += max(0.0, seconds)

    def jump(self, seconds: float) -> None:
        """The wall clock is set; monotonic time goes on."""
        self.at += seconds
