"""A queue that only records."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class FakeQueue:
    """``notified``: the pipeline and urgency of each notification. Refuses nothing."""

    notified: list[tuple[str, bool]] = field(default_factory=list)

    def notify(self, pipeline: str, *, urgent: bool = False) -> None:
        self.notified.append((pipeline, urgent))
