"""Where the spans of runs go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from pipeline.domain.tracing.spans import Span


class SpanSender(Protocol):
    def check(self) -> None:
        """Raises ConfigError if something has to be installed or set first."""

    def send(self, spans: Sequence[Span]) -> None:
        """Sends them at once. May be repeated: who receives them knows them by their ids. Raises TryAgain if they were
        not accepted, RequestError if these never will be, ConfigError as ``check``."""
