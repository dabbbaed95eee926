"""Counters that another program keeps."""

from __future__ import annotations

from typing import Protocol

from pipeline.lib.secret import Secret


class Figures(Protocol):
    def counters(self, url: str, query: str, token: Secret | None) -> dict[str, float]:
        """The value of each series that the query gives, by its labels. ``url``: the Prometheus. Read-only, bounded in
        time and size. Raises TryAgain if it does not answer, or not with that."""
        ...


class NoFigures:
    """None are asked for."""

    def counters(self, url: str, query: str, token: Secret | None) -> dict[str, float]:  # noqa: ARG002
        return {}
