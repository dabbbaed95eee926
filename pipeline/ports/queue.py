"""The queue that wakes workers."""

from __future__ import annotations

from typing import Protocol


class Queue(Protocol):
    def notify(self, pipeline: str, *, urgent: bool = False) -> None:
        """Wakes a worker for this pipeline. Idempotent. The sweep finds what is due if a notification is lost."""
